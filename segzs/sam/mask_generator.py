"""Everything mode: a mask of every object of an encoded image, from a grid of point prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from segzs.checks import check_number
from segzs.errors import PromptError
from segzs.masks import RLE, Mask, iou, nms
from segzs.prompts import Prompt
from segzs.sam.bitmaps import nms_bitmaps
from segzs.sam.decode import chunk, decode_low_res, full_size, stability_score
from segzs.sam.encode import EncodedImage
from segzs.sam.model import SamModel
from segzs.sam.proposals import decode_proposals, has_point_head, propose
from segzs.sam.waves import is_explained, is_near, point_grid

Progress = Callable[[float], object]

ISLAND_RATIO = 0.05
HOLE_RATIO = 0.01
MAX_SPECK_AREA = 0.002
"""As a share of the image. A larger part or hole may be an object of its own and is kept."""
MAX_POINTS_PER_SIDE = 256
MAX_TILES_PER_SIDE = 16


@dataclass(frozen=True)
class GeneratorOptions:
    """What everything mode prompts and keeps; None takes the model's own value.

    Args:
        points_per_side: points on each side of the grid of point prompts.
        predicted_iou_threshold: drop masks with a lower predicted IoU.
        stability_score_threshold: drop masks with a lower stability score.
        nms_threshold: of two masks with a larger IoU than this, drop the one with the lower predicted IoU.
        min_area: drop smaller masks, in image pixels.
        max_masks: keep at most so many, the best.
        adaptive: prompt every second point of every second row, and then only points on or next to a mask, but not
            between coarse points that agree; False prompts all points.
        tiles: also search so many overlapping tiles a side, each at the model's full resolution.
        merge: join touching masks with the same name. Only `Segmenter` does this, which names masks.

    Raises:
        PromptError: an option is out of range.
    """

    points_per_side: int | None = None
    predicted_iou_threshold: float | None = None
    stability_score_threshold: float | None = None
    nms_threshold: float = 0.7
    min_area: int = 100
    max_masks: int | None = None
    adaptive: bool = True
    tiles: int = 1
    merge: bool = True

    def __post_init__(self) -> None:
        check = partial(check_number, error=PromptError)
        if self.points_per_side is not None:
            expected = f"a whole number from 1 to {MAX_POINTS_PER_SIDE}"
            check("points_per_side", self.points_per_side, expected, 1, MAX_POINTS_PER_SIDE, whole=True)
        for name in ("predicted_iou_threshold", "stability_score_threshold"):
            if getattr(self, name) is not None:
                check(name, getattr(self, name), "a number from 0 to 1", 0, 1)
        expected = f"a whole number from 1 to {MAX_TILES_PER_SIDE}"
        check("tiles", self.tiles, expected, 1, MAX_TILES_PER_SIDE, whole=True)
        check("nms_threshold", self.nms_threshold, "a number from 0 to 1", 0, 1)
        check("min_area", self.min_area, "a number of pixels from 0 on", 0)
        if self.max_masks is not None:
            check("max_masks", self.max_masks, "at least 1, or None for all,", 1, whole=True)
        for name in ("adaptive", "merge"):
            if not isinstance(getattr(self, name), bool):
                raise PromptError(f"{name} is {getattr(self, name)!r}; True or False is expected")


class Thresholds(NamedTuple):
    """The lowest scores that a mask may have."""

    predicted_iou: float
    stability_score: float


LENIENT = Thresholds(0.75, 1 / 3)
"""Factors on the model's own thresholds when a CLIP selects among the masks."""


class Candidate(NamedTuple):
    """A mask as low-res logits h w, with its predicted IoU and stability score."""

    logits: Tensor
    predicted_iou: Tensor
    stability_score: Tensor


@torch.inference_mode()
def generate_masks(
    sam: SamModel,
    encoded: EncodedImage,
    options: GeneratorOptions = GeneratorOptions(),
    progress: Progress | None = None,
    *,
    lenient: bool = False,
) -> list[Mask]:
    """Segment every object that a grid of points hits, largest first, without specks and pinholes.

    Low-res masks are filtered and duplicates dropped before any mask is brought to the size of the image.

    Args:
        sam: the model that encoded the image.
        encoded: the image.
        options: see `GeneratorOptions`.
        progress: called with the share done, from 0 to 1; an exception that it raises cancels the search.
        lenient: lower the model's own thresholds, so that a CLIP can select among the masks.

    Raises:
        PromptError: ``progress`` cannot be called.
        ModelMismatchError: another model encoded the image.
    """
    encoded.check_model(sam)
    check_progress(progress)
    generator = MaskGenerator(sam, encoded, options, lenient)
    masks = generator.finish(generator.unique(generator.search(progress)))[: options.max_masks]
    return sorted(masks, key=lambda mask: -mask.rle.area)


def check_progress(progress: object) -> None:
    """Raise `PromptError` unless it can be called, or is None."""
    if progress is not None and not callable(progress):
        raise PromptError(f"progress is {progress!r}; a function of the share done is expected")


@dataclass(frozen=True)
class MaskGenerator:
    """The steps of everything mode on one image."""

    sam: SamModel
    encoded: EncodedImage
    options: GeneratorOptions = GeneratorOptions()
    lenient: bool = False

    @cached_property
    def thresholds(self) -> Thresholds:
        """The caller's thresholds, or those of the model."""
        spec, options = self.sam.spec, self.options
        return Thresholds(
            spec.predicted_iou if options.predicted_iou_threshold is None else options.predicted_iou_threshold,
            spec.stability_score if options.stability_score_threshold is None else options.stability_score_threshold,
        )

    @cached_property
    def keep_thresholds(self) -> Thresholds:
        """What a mask must reach to be kept: lower than `thresholds` in a lenient search, unless the caller set one."""
        given = self.options.predicted_iou_threshold, self.options.stability_score_threshold
        factors = [factor if self.lenient and own is None else 1 for factor, own in zip(LENIENT, given, strict=True)]
        return Thresholds(*(value * factor for value, factor in zip(self.thresholds, factors, strict=True)))

    def search(self, progress: Progress | None) -> list[Candidate]:
        """Prompt the points of the grid and keep the masks that pass the filters."""
        side = self.options.points_per_side or self.sam.spec.points_per_side
        if has_point_head(self.sam):
            return self.search_proposals(side, progress)
        grid, is_coarse = point_grid(side)
        due = is_coarse if self.options.adaptive else np.ones(len(grid), bool)
        pending, remaining, size = np.arange(len(grid)), len(grid), chunk(self.sam)
        candidates: list[Candidate] = []
        while due.any():
            chosen, pending = pending[due], pending[~due]
            wave: list[list[Candidate]] = []
            for start in range(0, len(chosen), size):
                wave += self.prompt(grid[chosen[start : start + size]])
                remaining = len(pending) + max(len(chosen) - start - size, 0)
                if progress is not None:
                    progress(1 - remaining / len(grid))
            passing = [[each for each in of_prompt if self.passes(each)] for of_prompt in wave]
            masks = self.visible([*chain(*passing)])
            if not candidates and len(pending):
                pending = pending[~is_explained(pending, masks, [*map(len, passing)], side)]
            candidates += chain(*wave)
            due = is_near(grid[pending], masks, side)
        if progress is not None and remaining:
            progress(1.0)
        return candidates

    def search_proposals(self, side: int, progress: Progress | None) -> list[Candidate]:
        """Decode the proposals of a whole grid and keep the masks that pass the filters."""
        grid, _ = point_grid(side)
        points = grid * (self.encoded.image.width, self.encoded.image.height)
        proposals = propose(self.sam, self.encoded, points, *self.keep_thresholds)
        candidates: list[Candidate] = []
        done = 0
        for low_res in decode_proposals(self.sam, self.encoded, proposals):
            candidates += self.filtered(low_res.logits[:, 0], low_res.predicted_iou[:, 0])
            done += len(low_res.logits)
            if progress is not None:
                progress(done / len(proposals.logits))
        if progress is not None and not done:
            progress(1.0)
        return candidates

    def prompt(self, points: np.ndarray) -> list[list[Candidate]]:
        """Decode points N 2, given as shares of width and height, and filter the masks of each."""
        size = (self.encoded.image.width, self.encoded.image.height)
        low_res = decode_low_res(self.sam, self.encoded, [Prompt.point(x, y) for x, y in points * size])
        return [
            self.filtered(*masks) for masks in zip(low_res.logits[:, 1:], low_res.predicted_iou[:, 1:], strict=True)
        ]

    def passes(self, candidate: Candidate) -> bool:
        """Whether a candidate reaches the thresholds of a search that is not lenient."""
        return bool(
            candidate.predicted_iou >= self.thresholds.predicted_iou
            and candidate.stability_score >= self.thresholds.stability_score
        )

    def filtered(self, logits: Tensor, predicted_iou: Tensor) -> list[Candidate]:
        """The low-res masks N h w whose scores reach the thresholds."""
        likely = predicted_iou >= self.keep_thresholds.predicted_iou
        logits, predicted_iou = logits[likely], predicted_iou[likely]
        visible = _without_padding(self.sam, self.encoded, logits)
        stability = stability_score(visible, self.sam.module.mask_threshold)
        stable = (stability >= self.keep_thresholds.stability_score).nonzero().flatten().tolist()
        return [Candidate(logits[i], predicted_iou[i], stability[i]) for i in stable]

    def unique(self, candidates: list[Candidate]) -> list[Candidate]:
        """Candidates without duplicates, best first."""
        if not candidates:
            return []
        scores = torch.stack([candidate.predicted_iou for candidate in candidates])
        return [candidates[i] for i in nms_bitmaps(self.visible(candidates), scores, self.options.nms_threshold)]

    def finish(self, candidates: list[Candidate]) -> list[Mask]:
        """Candidates, best first, as clean masks at the size of the image, without duplicates."""
        masks: list[Mask] = []
        for each in candidates:
            masks += map(_cleaned, full_size(self.sam, self.encoded, each.logits[None], each.predicted_iou[None]))
        large = [mask for mask in masks if mask.rle.area >= self.options.min_area]
        stable = [mask for mask in large if mask.stability_score >= self.keep_thresholds.stability_score]
        rles = [mask.rle for mask in stable]
        return [stable[index] for index in nms(range(len(rles)), iou(rles, rles), self.options.nms_threshold)]

    def visible(self, candidates: list[Candidate]) -> Tensor:
        """The masks of candidates on the model's grid, without padding: bool N h w."""
        size = self.sam.mask_size
        logits = torch.stack([each.logits for each in candidates]) if candidates else torch.zeros(0, *size)
        return _without_padding(self.sam, self.encoded, logits) > self.sam.module.mask_threshold


def _cleaned(mask: Mask) -> Mask:
    """The mask without specks and pinholes, which are much smaller than its largest part and than the mask.

    An opening at the border of the image is not a hole.
    """
    pixels = mask.rle.decode()
    speck = MAX_SPECK_AREA * pixels.size
    parts, areas = _components(pixels)
    pixels = (areas >= min(ISLAND_RATIO * areas.max(), speck))[parts] & pixels
    holes, areas = _components(~pixels)
    areas[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = pixels.size
    pixels |= (areas < min(HOLE_RATIO * pixels.sum(), speck))[holes] & ~pixels
    return replace(mask, rle=RLE.encode(pixels))


def _components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the connected component of each pixel, and the area of each; component 0 is outside the mask."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    areas[0] = 0
    return labels, areas


def _without_padding(sam: SamModel, encoded: EncodedImage, logits: Tensor) -> Tensor:
    """The part of low-res logits N h w that lies on the image."""
    height, width = encoded.input_size
    side = sam.module.side
    return logits[:, : -(-height * logits.shape[-2] // side), : -(-width * logits.shape[-1] // side)]

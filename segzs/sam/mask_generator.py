"""Everything mode: every object of an encoded image, from a grid of points."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import cv2
import numpy as np
import torch
from segment_anything.utils.amg import build_point_grid
from torch import Tensor
from torch.nn import functional as F

from segzs.checks import check_number
from segzs.errors import PromptError
from segzs.masks import RLE, Masks, iou
from segzs.prompts import Prompt
from segzs.sam.decode import CHUNK, decode_low_res, full_size, stability_score
from segzs.sam.encode import EncodedImage
from segzs.sam.model import SamModel

ISLAND_SHARE = 0.05
HOLE_SHARE = 0.01
SPECK_SHARE = 0.002
"""Of the image: what is larger may be an object, whatever it is part of or a hole in."""
BLOCK = 256
"""Masks that are floats at the same time: a mask of a float a pixel is large."""
MOST_POINTS_PER_SIDE = 256
MOST_TILES_PER_SIDE = 16


@dataclass(frozen=True)
class EverythingOptions:
    """What everything mode asks and keeps; None takes the model's own value.

    ``points_per_side`` points stand on each side of a grid over the image; a mask is kept with at least
    ``predicted_iou``, ``stability`` and ``min_area`` image pixels; of two masks with a larger IoU than
    ``duplicate_iou`` the better one stays; ``max_masks`` keeps the best so many. Of an ``adaptive`` grid, every
    second point of every second row is asked, and of the others those on and beside what was found. Only
    `everything_in_tiles` looks at ``tiles``, and only what names masks can ``merge`` them.
    """

    points_per_side: int | None = None
    predicted_iou: float | None = None
    stability: float | None = None
    duplicate_iou: float = 0.7
    min_area: int = 100
    max_masks: int | None = None
    adaptive: bool = False
    tiles: int = 1
    merge: bool = True

    def __post_init__(self) -> None:
        check = partial(check_number, error=PromptError)
        if self.points_per_side is not None:
            expected = f"a whole number from 1 to {MOST_POINTS_PER_SIDE}"
            check("points_per_side", self.points_per_side, expected, 1, MOST_POINTS_PER_SIDE, whole=True)
        for name in ("predicted_iou", "stability"):
            if getattr(self, name) is not None:
                check(name, getattr(self, name), "a number from 0 to 1", 0, 1)
        expected = f"a whole number from 1 to {MOST_TILES_PER_SIDE}"
        check("tiles", self.tiles, expected, 1, MOST_TILES_PER_SIDE, whole=True)
        check("duplicate_iou", self.duplicate_iou, "a number from 0 to 1", 0, 1)
        check("min_area", self.min_area, "a number of pixels from 0 on", 0)
        if self.max_masks is not None:
            check("max_masks", self.max_masks, "at least 1, or None for all,", 1, whole=True)
        for name in ("adaptive", "merge"):
            if not isinstance(getattr(self, name), bool):
                raise PromptError(f"{name} is {getattr(self, name)!r}; True or False is expected")


class Scores(NamedTuple):
    """What SAM itself makes of a mask."""

    predicted_iou: float
    stability: float


LENIENCY = Scores(0.75, 1 / 3)
"""Where a CLIP chooses among masks, they are taken from these shares of the model's own scores on."""


class Candidate(NamedTuple):
    """A mask as low-res logits h w, its predicted IoU and stability."""

    logits: Tensor
    predicted_iou: Tensor
    stability: Tensor


@torch.inference_mode()
def everything(
    sam: SamModel,
    encoded: EncodedImage,
    options: EverythingOptions = EverythingOptions(),
    progress: Callable[[float], object] | None = None,
    *,
    lenient: bool = False,
) -> list[Masks]:
    """Every object that a grid of points finds, largest first, one mask each, freed of specks and pinholes.

    Low-res masks are filtered and freed of duplicates before any is brought to the size of the image.
    ``progress`` is called with the share done, from 0 to 1; what it raises ends the search. A ``lenient`` search asks
    for less than the model's own scores, so that there are masks to choose among.

    Raises:
        ModelMismatchError: another model encoded the image.
    """
    encoded.check_model(sam)
    check_progress(progress)
    search = MaskGenerator(sam, encoded, options, lenient)
    found = search.tidied(search.unique(search.grid(progress)))[: options.max_masks]
    return sorted(found, key=lambda masks: -masks.rles[0].area)


def check_progress(progress: object) -> None:
    """Raise `PromptError` unless it can be called, or is None."""
    if progress is not None and not callable(progress):
        raise PromptError(f"progress is {progress!r}; something to call with the share done is expected")


@dataclass(frozen=True)
class MaskGenerator:
    """The steps of everything mode on one image."""

    sam: SamModel
    encoded: EncodedImage
    options: EverythingOptions = EverythingOptions()
    lenient: bool = False

    @cached_property
    def sure(self) -> Scores:
        """What the caller asks masks for, or else suits the model."""
        row, options = self.sam.spec, self.options
        return Scores(
            row.predicted_iou if options.predicted_iou is None else options.predicted_iou,
            row.stability if options.stability is None else options.stability,
        )

    @cached_property
    def least(self) -> Scores:
        """What masks must reach to be kept: where the search is lenient, less than what suits the model."""
        asked = self.options.predicted_iou, self.options.stability
        lower = [self.lenient and each is None for each in asked]
        return Scores(*(of * share if low else of for of, share, low in zip(self.sure, LENIENCY, lower, strict=True)))

    def grid(self, progress: Callable[[float], object] | None) -> list[Candidate]:
        """What the points of the grid find and the filters leave."""
        side = self.options.points_per_side or self.sam.spec.points_per_side
        grid, every_second = _grid(side)
        due = every_second if self.options.adaptive else np.ones(len(grid), bool)
        found: list[Candidate] = []
        pending = grid
        while due.any():
            asked, pending = pending[due], pending[~due]
            kept: list[Candidate] = []
            for start in range(0, len(asked), CHUNK):
                kept += self.answers(asked[start : start + CHUNK])
                if progress is not None:
                    unanswered = len(pending) + max(len(asked) - start - CHUNK, 0)
                    progress(1 - unanswered / len(grid))
            found += kept
            due = self.is_near(pending, [each for each in kept if self.is_sure(each)], side)
        if progress is not None and len(pending):
            progress(1.0)
        return found

    def answers(self, points: np.ndarray) -> list[Candidate]:
        """What points N 2, as shares of width and height, find and the filters leave."""
        size = (self.encoded.image.width, self.encoded.image.height)
        low_res = decode_low_res(self.sam, self.encoded, [Prompt.point(x, y) for x, y in points * size])
        return self.filtered(low_res.logits[:, 1:].flatten(0, 1), low_res.predicted_iou[:, 1:].flatten())

    def is_sure(self, candidate: Candidate) -> bool:
        """Whether it is no mask that only a lenient search keeps."""
        return bool(candidate.predicted_iou >= self.sure.predicted_iou and candidate.stability >= self.sure.stability)

    def is_near(self, points: np.ndarray, found: list[Candidate], side: int) -> np.ndarray:
        """Whether points N 2 lie on any mask, or beside it by less than half their spacing: bool N."""
        if not found or not len(points):
            return np.zeros(len(points), bool)
        somewhere = self.visible(found).any(0)
        margin = max(somewhere.shape) // (2 * side)
        beside = F.max_pool2d(somewhere[None].float(), 2 * margin + 1, stride=1, padding=margin)[0].bool().cpu().numpy()
        column, row = (points * somewhere.shape[::-1]).astype(int).T
        return beside[row, column]

    def filtered(self, logits: Tensor, predicted_iou: Tensor) -> list[Candidate]:
        """The good ones of low-res answers N h w."""
        likely = predicted_iou >= self.least.predicted_iou
        logits, predicted_iou = logits[likely], predicted_iou[likely]
        visible = _without_padding(self.sam, self.encoded, logits)
        stability = stability_score(visible, self.sam.module.mask_threshold)
        stable = (stability >= self.least.stability).nonzero().flatten().tolist()
        return [Candidate(logits[i], predicted_iou[i], stability[i]) for i in stable]

    def unique(self, found: list[Candidate]) -> list[Candidate]:
        """Candidates without duplicates, best first."""
        if not found:
            return []
        scores = torch.stack([candidate.predicted_iou for candidate in found])
        return [found[i] for i in without_duplicates(self.visible(found), scores, self.options.duplicate_iou)]

    def tidied(self, found: list[Candidate]) -> list[Masks]:
        """Candidates, best first, as masks at the size of the image: cleaned, and of those then alike the best."""
        answers = [
            _cleaned(full_size(self.sam, self.encoded, each.logits[None], each.predicted_iou[None])) for each in found
        ]
        large = [each for each in answers if each.rles[0].area >= self.options.min_area]
        stable = [each for each in large if each.stability[0] >= self.least.stability]
        rles = [each.rles[0] for each in stable]
        different = nms(range(len(rles)), iou(rles, rles), self.options.duplicate_iou)
        return [stable[index] for index in different]

    def visible(self, found: list[Candidate]) -> Tensor:
        """The masks of candidates on the model's grid, without padding: bool N h w."""
        logits = torch.stack([candidate.logits for candidate in found])
        return _without_padding(self.sam, self.encoded, logits) > self.sam.module.mask_threshold


def without_duplicates(masks: Tensor, scores: Tensor, largest_iou: float) -> list[int]:
    """Indices of masks N h w, best first, without those that overlap a better one by more than ``largest_iou``.

    Overlap is of the masks themselves: boxes miss near-duplicates and remove neighbours.
    """
    areas = masks.flatten(1).sum(1).cpu().numpy()
    ranked = [index for index in scores.argsort(descending=True).tolist() if areas[index]]
    return nms(ranked, overlaps(masks, masks).cpu().numpy(), largest_iou)


def nms(ranked: Iterable[int], overlap: np.ndarray, largest_iou: float) -> list[int]:
    """Indices, best first, without those whose ``overlap`` (N, N) with one before them is larger."""
    chosen: list[int] = []
    for index in ranked:
        if not (overlap[index, chosen] > largest_iou).any():
            chosen.append(index)
    return chosen


def overlaps(ours: Tensor, theirs: Tensor) -> Tensor:
    """Intersection over union of every pair of masks N h w and M h w, N M."""
    ours, theirs = ours.flatten(1), theirs.flatten(1)
    common = torch.cat(
        [torch.cat([a.float() @ b.float().T for b in theirs.split(BLOCK)], 1) for a in ours.split(BLOCK)]
    )
    return common / (ours.sum(1)[:, None] + theirs.sum(1) - common).clamp(min=1)


def _cleaned(masks: Masks) -> Masks:
    """The mask without specks and pinholes: small parts and holes, much smaller than its largest part and itself.

    What reaches the border of the image is no hole.
    """
    mask = masks.rles[0].decode()
    speck = SPECK_SHARE * mask.size
    parts, areas = _components(mask)
    mask = (areas >= min(ISLAND_SHARE * areas.max(), speck))[parts] & mask
    holes, areas = _components(~mask)
    areas[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = mask.size
    mask |= (areas < min(HOLE_SHARE * mask.sum(), speck))[holes] & ~mask
    return replace(masks, rles=(RLE.encode(mask),))


def _components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the connected part that each pixel belongs to, and the area of each; part 0 is what is not set."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    areas[0] = 0
    return labels, areas


def _grid(points_per_side: int) -> tuple[np.ndarray, np.ndarray]:
    """Points as shares of width and height, N 2, and which of them are every second of every second row."""
    row, column = np.divmod(np.arange(points_per_side**2), points_per_side)
    return build_point_grid(points_per_side), (row % 2 == 0) & (column % 2 == 0)


def _without_padding(sam: SamModel, encoded: EncodedImage, logits: Tensor) -> Tensor:
    """The part of low-res logits N h w that shows the image."""
    height, width = encoded.input_size
    side = sam.module.image_encoder.img_size
    return logits[:, : -(-height * logits.shape[-2] // side), : -(-width * logits.shape[-1] // side)]

"""Everything mode: every object of an encoded image, from a grid of points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from segment_anything.utils.amg import build_point_grid
from torch import Tensor

from segzs.errors import PromptError
from segzs.masks import RLE, Masks
from segzs.prompts import Prompt
from segzs.sam.build import SamModel
from segzs.sam.decode import CHUNK, decode_low_res, full_size, stability_score
from segzs.sam.encode import EncodedImage

ISLAND_SHARE = 0.05


@dataclass(frozen=True)
class EverythingOptions:
    """What everything mode asks and keeps; None takes the model's own value.

    ``points_per_side`` points stand on each side of a grid over the image; a mask is kept with at least
    ``predicted_iou``, ``stability`` and ``min_area`` image pixels; of two masks with a larger IoU than
    ``duplicate_iou`` the better one stays; ``max_masks`` keeps the best so many.
    """

    points_per_side: int | None = None
    predicted_iou: float | None = None
    stability: float | None = None
    duplicate_iou: float = 0.7
    min_area: int = 100
    max_masks: int | None = None

    def __post_init__(self) -> None:
        if self.points_per_side is not None and self.points_per_side < 1:
            raise PromptError(f"points_per_side is {self.points_per_side}; at least 1 is expected")
        if self.max_masks is not None and self.max_masks < 1:
            raise PromptError(f"max_masks is {self.max_masks}; at least 1, or None for all, is expected")


@torch.inference_mode()
def everything(
    sam: SamModel,
    encoded: EncodedImage,
    options: EverythingOptions = EverythingOptions(),
    progress: Callable[[float], object] | None = None,
) -> list[Masks]:
    """Every object that a grid of points finds, largest first, one mask each, freed of specks.

    Low-res masks are filtered and freed of duplicates before any is brought to the size of the image.
    ``progress`` is called with the share done, from 0 to 1.

    Raises:
        ModelMismatchError: another model encoded the image.
    """
    encoded.check_model(sam)
    least_iou = sam.row.predicted_iou if options.predicted_iou is None else options.predicted_iou
    least_stability = sam.row.stability if options.stability is None else options.stability
    prompts = _grid(encoded, options.points_per_side or sam.row.points_per_side)
    kept_logits, kept_ious = [], []
    for start in range(0, len(prompts), CHUNK):
        low_res = decode_low_res(sam, encoded, prompts[start : start + CHUNK])
        logits, ious = low_res.logits[:, 1:].flatten(0, 1), low_res.predicted_iou[:, 1:].flatten()
        logits, ious = logits[ious >= least_iou], ious[ious >= least_iou]
        visible = _without_padding(sam, encoded, logits)
        keep = stability_score(visible, sam.module.mask_threshold) >= least_stability
        kept_logits.append(logits[keep])
        kept_ious.append(ious[keep])
        if progress is not None:
            progress(min(1.0, (start + CHUNK) / len(prompts)))
    logits, ious = torch.cat(kept_logits), torch.cat(kept_ious)
    visible = _without_padding(sam, encoded, logits)
    chosen = without_duplicates(visible > sam.module.mask_threshold, ious, options.duplicate_iou)
    found = [_without_islands(full_size(sam, encoded, logits[i : i + 1], ious[i : i + 1])) for i in chosen]
    found = [
        masks for masks in found if masks.rles[0].area >= options.min_area and masks.stability[0] >= least_stability
    ]
    return sorted(found[: options.max_masks], key=lambda masks: -masks.rles[0].area)


def without_duplicates(masks: Tensor, scores: Tensor, largest_iou: float) -> list[int]:
    """Indices of masks N h w, best first, without those that overlap a better one by more than ``largest_iou``.

    Overlap is of the masks themselves: boxes miss near-duplicates and remove neighbours.
    """
    order = scores.argsort(descending=True).cpu().numpy()
    flat = masks.flatten(1).float()
    common = (flat @ flat.T).cpu().numpy()
    areas = common.diagonal()
    chosen: list[int] = []
    for index in order[areas[order] > 0]:
        overlap = common[index, chosen] / (areas[chosen] + areas[index] - common[index, chosen])
        if not (overlap > largest_iou).any():
            chosen.append(int(index))
    return chosen


def _without_islands(masks: Masks) -> Masks:
    """The mask without the parts that are less than a twentieth of its largest one: specks, mostly far away."""
    mask = masks.rles[0].decode()
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    areas[0] = 0
    kept = areas >= ISLAND_SHARE * areas.max()
    kept[0] = False
    return replace(masks, rles=(RLE.encode(kept[labels]),))


def _grid(encoded: EncodedImage, points_per_side: int) -> list[Prompt]:
    width, height = encoded.image.width, encoded.image.height
    points = build_point_grid(points_per_side) * np.array([width, height])
    return [Prompt.point(x, y) for x, y in points]


def _without_padding(sam: SamModel, encoded: EncodedImage, logits: Tensor) -> Tensor:
    """The part of low-res logits N h w that shows the image."""
    height, width = encoded.input_size
    side = sam.module.image_encoder.img_size
    return logits[:, : -(-height * logits.shape[-2] // side), : -(-width * logits.shape[-1] // side)]

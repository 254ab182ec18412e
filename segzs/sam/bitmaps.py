"""Overlap and suppression of masks on a model's own grid, as bool tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from segzs.masks import nms

BLOCK = 256
"""Number of masks that are float tensors at the same time, which need a float for each cell."""


def iou_of_bitmaps(ours: Tensor, theirs: Tensor) -> Tensor:
    """Intersection over union of every pair of bool masks N h w and M h w: float N M."""
    ours, theirs = ours.flatten(1), theirs.flatten(1)
    intersection = torch.cat(
        [torch.cat([a.float() @ b.float().T for b in theirs.split(BLOCK)], 1) for a in ours.split(BLOCK)]
    )
    return intersection / (ours.sum(1)[:, None] + theirs.sum(1) - intersection).clamp(min=1)


def nms_bitmaps(masks: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """`nms` by the IoU of bool masks N h w: indices, best first; empty masks are dropped.

    The IoU of boxes would miss near-duplicates and drop neighbours.
    """
    if not len(masks):
        return []
    areas = masks.flatten(1).sum(1).cpu().numpy()
    ranked = [index for index in scores.argsort(descending=True, stable=True).tolist() if areas[index]]
    return nms(ranked, iou_of_bitmaps(masks, masks).cpu().numpy(), threshold)

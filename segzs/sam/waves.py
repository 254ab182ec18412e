"""Which points of a grid to prompt, from coarse to fine: those that may give a mask that coarser ones did not give."""

from __future__ import annotations

import numpy as np
import torch
from segment_anything.utils.amg import build_point_grid
from torch import Tensor
from torch.nn import functional as F

from segzs.sam.bitmaps import iou_of_bitmaps

AGREEMENT = 0.9
"""Masks with this IoU are the same."""


def point_grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Points as shares of width and height, N 2, and which of them are every second point of every second row."""
    row, column = np.divmod(np.arange(side**2), side)
    return build_point_grid(side), (row % 2 == 0) & (column % 2 == 0)


def is_near(points: np.ndarray, masks: Tensor, side: int) -> np.ndarray:
    """Whether points N 2 lie on one of bool masks M h w, or closer to it than half the spacing of the grid: bool N."""
    if not len(masks) or not len(points):
        return np.zeros(len(points), bool)
    union = masks.any(0)
    margin = max(union.shape) // (2 * side)
    near = F.max_pool2d(union[None].float(), 2 * margin + 1, stride=1, padding=margin)[0].bool().cpu().numpy()
    column, row = (points * union.shape[::-1]).astype(int).T
    return near[row, column]


def is_explained(indices: np.ndarray, masks: Tensor, counts: list[int], side: int) -> np.ndarray:
    """Which points of the grid a prompt would give only masks that the coarse prompts around it gave.

    Those prompts agree on all their masks, and the point lies in each of these.

    Args:
        indices: the points' indices in `point_grid`, N.
        masks: the masks of the coarse points, bool M h w, those of a point after those of the point before it.
        counts: the number of masks of each coarse point.
        side: the number of points on a side of the grid.

    Returns:
        bool N.
    """
    if not len(masks):
        return np.zeros(len(indices), bool)
    number = torch.tensor(counts)
    owners = F.one_hot(torch.repeat_interleave(torch.arange(len(counts)), number), len(counts)).float()  # M P
    same = (iou_of_bitmaps(masks, masks) >= AGREEMENT).float().cpu()
    given = owners.T @ (same @ owners == 0).float() == 0  # P P: each mask of the first is one of the second
    agree = (given & given.T & (number > 0)).numpy()
    rows, columns = np.divmod(indices, side)
    height, width = masks.shape[1:]
    y, x = ((2 * line + 1) * length // (2 * side) for line, length in ((rows, height), (columns, width)))
    inside = (owners.T @ (~masks[:, y, x]).float().cpu() == 0).numpy()  # P N
    explained = np.zeros(len(indices), bool)
    for index, (row, column) in enumerate(zip(rows, columns, strict=True)):
        around = [r * -(-side // 2) + c for r in _coarse(row, side) for c in _coarse(column, side)]
        explained[index] = len(around) > 1 and agree[around[0], around].all() and inside[around, index].all()
    return explained


def _coarse(line: int, side: int) -> set[int]:
    """The rows of the coarse grid beside a row of the fine one, or its columns."""
    return {line // 2, min((line + 1) // 2, (side - 1) // 2)}

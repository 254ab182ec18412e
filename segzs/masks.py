"""Mask algebra: run-length encoded pixels, a model's mask with its scores, overlap and suppression."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from segzs.values import Value, read_only

Box = tuple[int, int, int, int]
MAX_DIGITS = 7
"""Digits of a run length in base 32; masks have fewer than 2**32 pixels."""


@dataclass(frozen=True)
class RLE:
    """One mask as COCO's compressed column-major run lengths.

    >>> mask = RLE.encode(np.eye(3, dtype=bool))
    >>> mask.area, mask.box
    (3, (0, 0, 3, 3))
    """

    height: int
    width: int
    counts: str

    @classmethod
    def encode(cls, mask: np.ndarray) -> RLE:
        """From a bool array (height, width)."""
        by_column = cv2.transpose(np.asarray(mask, np.uint8)).T  # faster than numpy's own copy
        rle = coco_mask.encode(by_column)
        return cls(mask.shape[0], mask.shape[1], rle["counts"].decode())

    @classmethod
    def from_lengths(cls, height: int, width: int, lengths: Any) -> RLE:
        """From run lengths of any origin, as COCO's text or as integers; the first run is off the mask.

        Raises:
            ValueError: they are not the run lengths of a mask of this size.

        >>> RLE.from_lengths(2, 3, [2, 3, 1]).decode().astype(int).tolist()
        [[0, 1, 1], [0, 1, 0]]
        """
        return cls.encode(_mask_of(height, width, _parse(lengths) if isinstance(lengths, str | bytes) else lengths))

    def decode(self) -> np.ndarray:
        """The mask as a bool array (height, width)."""
        return _mask_of(self.height, self.width, _parse(self.counts))

    def coco(self) -> dict[str, Any]:
        """The mask as pycocotools and COCO files hold it: size [height, width] and counts."""
        return {"size": [self.height, self.width], "counts": self.counts}

    @cached_property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(coco_mask.area(self.coco()))

    @cached_property
    def box(self) -> Box:
        """x1, y1, x2, y2 around the mask; x2 and y2 are just outside. All zero for an empty mask."""
        x, y, width, height = (round(side) for side in coco_mask.toBbox(self.coco()))
        return x, y, x + width, y + height


@dataclass(frozen=True, eq=False)
class Mask(Value):
    """One mask that a model predicted for a prompt.

    ``predicted_iou`` is the model's own estimate of the mask's IoU with the object, and ``stability_score`` the IoU of
    the mask with itself when its logits are cut a little higher and a little lower, as in "Segment Anything" (Kirillov
    et al. 2023). ``low_res_logits`` is float32 (h, w) on the model's grid, read-only; a later prompt can refine it.
    """

    rle: RLE
    predicted_iou: float
    stability_score: float
    low_res_logits: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.low_res_logits is not None:
            object.__setattr__(self, "low_res_logits", read_only(self.low_res_logits))


def iou(ours: Sequence[RLE], theirs: Sequence[RLE]) -> np.ndarray:
    """Intersection over union of every pair of masks: float (len(ours), len(theirs)).

    >>> left, both = RLE.encode(np.array([[1, 0]], bool)), RLE.encode(np.array([[1, 1]], bool))
    >>> iou([left], [left, both]).tolist()
    [[1.0, 0.5]]
    """
    if not ours or not theirs:
        return np.zeros((len(ours), len(theirs)))
    return np.asarray(coco_mask.iou([m.coco() for m in ours], [m.coco() for m in theirs], [0] * len(theirs)))


def ios(masks: Sequence[RLE]) -> np.ndarray:
    """Intersection over the smaller mask of every pair of masks: float (len(masks), len(masks)).

    >>> left, both = RLE.encode(np.array([[1, 0]], bool)), RLE.encode(np.array([[1, 1]], bool))
    >>> ios([left, both]).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    if not masks:
        return np.zeros((0, 0))
    codes = [mask.coco() for mask in masks]
    over_first = np.asarray(coco_mask.iou(codes, codes, [1] * len(codes)))  # crowds: intersection over the first mask
    return np.nan_to_num(np.maximum(over_first, over_first.T))


def nms(ranked: Iterable[int], overlap: np.ndarray, threshold: float) -> list[int]:
    """Non-maximum suppression: drop each mask that overlaps a better one by more than the threshold.

    Args:
        ranked: indices of masks, best first.
        overlap: float (N, N), `iou` or `ios` of every pair of masks.
        threshold: the largest overlap that two kept masks may have.

    Returns:
        The indices that are kept, best first.

    >>> nms([0, 1, 2], np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]]), 0.7)
    [0, 2]
    """
    kept: list[int] = []
    for index in ranked:
        if not (overlap[index, kept] > threshold).any():
            kept.append(index)
    return kept


def _mask_of(height: int, width: int, lengths: Any) -> np.ndarray:
    """Run lengths as a mask. pycocotools would fill up runs that are too short from memory that it does not own."""
    runs = np.asarray(lengths)
    is_valid = runs.ndim == 1 and runs.dtype.kind in "iu" and ((runs >= 0) & (runs <= height * width)).all()
    if not is_valid or runs.sum() != height * width:
        raise ValueError(f"the run lengths of a mask are not integers that add up to {width} x {height}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape((height, width), order="F")


def _parse(counts: str | bytes) -> np.ndarray:
    """The run lengths of COCO's text: integers in base 32, lowest digit first, 32 added to all digits but the last.

    From the fourth on, each is the difference to the one before the one before it. Source: `rleFrString` of
    https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c
    """
    digits = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(digits & 32 == 0)
    if not len(last) or last[-1] != len(digits) - 1 or digits.min() < 0 or digits.max() > 63:
        raise ValueError("the counts of a mask are not COCO's compressed run lengths")
    first = np.concatenate([[0], last[:-1] + 1])
    position = np.arange(len(digits)) - np.repeat(first, last - first + 1)
    if position.max() >= MAX_DIGITS:
        raise ValueError(f"a run length of a mask has more than {MAX_DIGITS} digits")
    runs = np.add.reduceat((digits & 31) << 5 * position, first)
    runs -= np.where(digits[last] & 16, 32 << 5 * position[last], 0)  # the highest bit is the sign
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return runs

"""Masks: run-length encoded pixels, and what SAM answered to one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from pycocotools import mask as coco_mask

Box = tuple[int, int, int, int]


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
        by_column = cv2.transpose(np.asarray(mask, np.uint8)).T  # sooner than numpy's own copy in Fortran's order
        rle = coco_mask.encode(by_column)
        return cls(mask.shape[0], mask.shape[1], rle["counts"].decode())

    def decode(self) -> np.ndarray:
        """The mask as a bool array (height, width)."""
        return coco_mask.decode(self.coco()).astype(bool)

    def coco(self) -> dict:
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
class Masks:
    """The answers of SAM to one prompt, best first.

    ``rles`` has one mask for each of N answers; ``predicted_iou`` and ``stability`` are float32 (N,);
    ``low_res_logits`` is float32 (N, h, w) on the model's own grid, for refinement.
    """

    rles: tuple[RLE, ...]
    predicted_iou: np.ndarray
    stability: np.ndarray
    low_res_logits: np.ndarray

    def __len__(self) -> int:
        return len(self.rles)


def iou(ours: Sequence[RLE], theirs: Sequence[RLE]) -> np.ndarray:
    """Intersection over union of every pair of masks: float (len(ours), len(theirs))."""
    if not ours or not theirs:
        return np.zeros((len(ours), len(theirs)))
    crowd = [0] * len(theirs)
    return np.asarray(coco_mask.iou([m.coco() for m in ours], [m.coco() for m in theirs], crowd))

"""Crops of masks: square pictures of one object each, its surroundings blurred away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segzs.checks import check_number
from segzs.errors import SegzsError
from segzs.masks import RLE

BACKGROUNDS = ("blur", "grey", "keep")
GREY = 128
BLUR_SIDE = 64


@dataclass(frozen=True)
class Cropping:
    """How an object is shown to CLIP.

    ``background`` is what becomes of the pixels outside its mask: "blur", "grey", or "keep"; ``margin`` the context on
    each side, as a share of the longer side of its box.

    Raises:
        SegzsError: ``background`` is none of the three, or ``margin`` is out of range.
    """

    background: str = "blur"
    margin: float = 0.1

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            known = ", ".join(BACKGROUNDS)
            raise SegzsError(f"the background {self.background!r} is unknown; one of {known} is expected")
        check_number("margin", self.margin, "a share of the object's longer side, such as 0.1,", 0, 10)


def crop(pixels: np.ndarray, mask: RLE, cropping: Cropping = Cropping()) -> np.ndarray:
    """Cut one mask out as a square picture.

    Args:
        pixels: uint8 RGB (height, width, 3).
        mask: a mask of that size.
        cropping: how it is shown.

    Returns:
        uint8 RGB (side, side, 3); where the square leaves the image it is grey.
    """
    x1, y1, x2, y2 = mask.box
    side = max(1, round(max(x2 - x1, y2 - y1) * (1 + 2 * cropping.margin)))
    left, top = (x1 + x2 - side) // 2, (y1 + y2 - side) // 2
    window = _window(pixels, left, top, side, GREY)
    if cropping.background == "keep":
        return window
    inside = _window(mask.decode().astype(np.uint8)[..., None], left, top, side, 0) > 0
    return np.where(inside, window, _blurred(window) if cropping.background == "blur" else np.uint8(GREY))


def crops(pixels: np.ndarray, masks: Sequence[RLE], cropping: Cropping = Cropping()) -> Iterator[np.ndarray]:
    """`crop` for many masks of one image, one at a time: large crops are never all in memory."""
    return (crop(pixels, mask, cropping) for mask in masks)


def _blurred(window: np.ndarray) -> np.ndarray:
    """Blur by a sixteenth of the side, at a size where that is cheap."""
    side = len(window)
    small = cv2.resize(window, (min(side, BLUR_SIDE),) * 2, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(len(small) / 16, 1.0))
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)


def _window(array: np.ndarray, left: int, top: int, side: int, fill: int) -> np.ndarray:
    """A square part of (height, width, C), filled up where it leaves the array."""
    height, width = array.shape[:2]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    window = np.full((side, side, array.shape[2]), fill, array.dtype)
    window[y1 - top : y2 - top, x1 - left : x2 - left] = array[y1:y2, x1:x2]
    return window

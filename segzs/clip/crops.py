"""Crops of masks: square pictures of one object each, its surroundings blurred away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from segzs.errors import SegzsError
from segzs.masks import RLE

BACKGROUNDS = ("blur", "grey", "keep")
GREY = 128
BLUR_SIDE = 64


def crop(pixels: np.ndarray, mask: RLE, *, margin: float = 0.1, background: str = "blur") -> np.ndarray:
    """Cut one mask out as a square picture.

    Args:
        pixels: uint8 RGB (height, width, 3).
        mask: a mask of that size.
        margin: context on each side, as a share of the box's longer side.
        background: what becomes of the pixels outside the mask: "blur", "grey", or "keep".

    Returns:
        uint8 RGB (side, side, 3); where the square leaves the image it is grey.

    Raises:
        SegzsError: ``background`` is none of the three.
    """
    check_background(background)
    x1, y1, x2, y2 = mask.box
    side = max(1, round(max(x2 - x1, y2 - y1) * (1 + 2 * margin)))
    left, top = (x1 + x2 - side) // 2, (y1 + y2 - side) // 2
    window = _window(pixels, left, top, side, GREY)
    if background == "keep":
        return window
    inside = _window(mask.decode().astype(np.uint8)[..., None], left, top, side, 0) > 0
    return np.where(inside, window, _blurred(window) if background == "blur" else np.uint8(GREY))


def crops(
    pixels: np.ndarray, masks: Sequence[RLE], *, margin: float = 0.1, background: str = "blur"
) -> Iterator[np.ndarray]:
    """`crop` for many masks of one image, one at a time: large crops are never all in memory."""
    return (crop(pixels, mask, margin=margin, background=background) for mask in masks)


def check_background(background: str) -> None:
    """Raise `SegzsError` unless it is one of `BACKGROUNDS`."""
    if background not in BACKGROUNDS:
        raise SegzsError(f"the background {background!r} is unknown; one of {', '.join(BACKGROUNDS)} is expected")


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

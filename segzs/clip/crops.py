"""Crops of masks: images of one object each in the shape of the CLIP's input, and their features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from open_clip.transform import PreprocessCfg
from open_clip.utils import to_2tuple
from torch import Tensor

from segzs.checks import check_number
from segzs.clip.image_features import encode_images
from segzs.clip.model import ClipModel
from segzs.errors import UsageError
from segzs.image import Image
from segzs.masks import RLE, Box

BACKGROUNDS = ("blur", "grey", "cut", "keep")
GREY = 128
BLUR_SIDE = 64
MIN_SIDE = 12
"""A crop is at least this many pixels wide; smaller ones would be only blur when they are enlarged."""
MAX_SIDE = 6000
"""Crops with more pixels a side, of a large object with a wide margin, are cut from a smaller image."""
MIN_ASPECT = 0.5
"""The smallest ratio of the short side of a crop to its long side, for models that squash images."""


@dataclass(frozen=True)
class Cropping:
    """How a mask is cropped for CLIP.

    Args:
        background: the pixels outside of the mask: "keep", "blur", "grey" (mid grey), or "cut" (a tight crop without
            margin, on the model's mean colour).
        margin: context on each side, as a share of the longer side of the mask's box.

    Raises:
        UsageError: ``background`` is unknown, or ``margin`` is out of range.
    """

    background: str = "blur"
    margin: float = 0.1

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            raise UsageError(f"unknown background {self.background!r}; choose from {', '.join(BACKGROUNDS)}")
        expected = "a share of the object's longer side, such as 0.1,"
        check_number("margin", self.margin, expected, 0, 10, error=UsageError)


def crop(
    pixels: np.ndarray,
    mask: RLE,
    cropping: Cropping = Cropping(),
    preprocessing: PreprocessCfg = PreprocessCfg(),
) -> np.ndarray:
    """Crop a mask in the shape of a model's input, so that the preprocessing cuts nothing off and pads nothing.

    For a model that squashes images (``resize_mode="squash"``, as SigLIP), the crop has the shape of the box with its
    margin, unless that is very narrow. Outside of the image the crop has the colour that the model pads with, or mid
    grey for a model that does not pad. Uint8 RGB (height, width, 3), as ``pixels``; square for most models.
    """
    cut = cropping.background == "cut"
    frame = _frame(mask.box, 1 + 2 * (0 if cut else cropping.margin), preprocessing)
    if max(frame[2:]) > MAX_SIDE:
        return crop(*_shrink(pixels, mask, MAX_SIDE / 2 / max(frame[2:])), cropping, preprocessing)
    padding = preprocessing.fill_color if preprocessing.resize_mode == "longest" else GREY
    window = _window(pixels, frame, padding)
    if cropping.background == "keep":
        return window
    inside = _window(mask.decode().astype(np.uint8)[..., None], frame, 0) > 0
    if cropping.background == "blur":
        return np.where(inside, window, _blur(window))
    colour = np.round(255 * np.array(preprocessing.mean)) if cut else GREY
    return np.where(inside, window, np.asarray(colour, np.uint8))


def crops(
    pixels: np.ndarray,
    masks: Sequence[RLE],
    cropping: Cropping = Cropping(),
    preprocessing: PreprocessCfg = PreprocessCfg(),
) -> Iterator[np.ndarray]:
    """`crop` of many masks of one image, one at a time."""
    return (crop(pixels, mask, cropping, preprocessing) for mask in masks)


def encode_masks(clip: ClipModel, pixels: np.ndarray, masks: Sequence[RLE], cropping: Cropping) -> Tensor:
    """Normalised image features of the crops of masks of an image: float32 (masks, width)."""
    return encode_images(clip, crops(pixels, masks, cropping, clip.preprocessing))


def encode_object(clip: ClipModel, image: Image) -> Tensor:
    """The normalised image feature of an image of one object, of any shape, uncropped: float32 (1, width)."""
    whole = RLE.encode(np.ones((image.height, image.width), bool))
    return encode_masks(clip, image.pixels, [whole], Cropping("keep", 0))


def _frame(box: Box, factor: float, preprocessing: PreprocessCfg) -> tuple[int, int, int, int]:
    """Left, top, width and height of a crop whose side is the longer side of the box times ``factor``."""
    x1, y1, x2, y2 = box
    longer = max(x2 - x1, y2 - y1)
    side = max(MIN_SIDE, round(longer * factor))
    if preprocessing.resize_mode == "squash":
        margin, shortest = side - longer, round(MIN_ASPECT * side)
        width, height = max(x2 - x1 + margin, shortest), max(y2 - y1 + margin, shortest)
    else:
        rows, columns = to_2tuple(preprocessing.size)
        width, height = (round(side * each / min(rows, columns)) for each in (columns, rows))
    return (x1 + x2 - width) // 2, (y1 + y2 - height) // 2, width, height


def _shrink(pixels: np.ndarray, mask: RLE, factor: float) -> tuple[np.ndarray, RLE]:
    """Image and mask at a smaller size; each pixel that the mask touches stays part of it."""
    size = max(1, round(mask.width * factor)), max(1, round(mask.height * factor))
    covered = cv2.resize(mask.decode().astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), RLE.encode(covered > 0)


def _blur(window: np.ndarray) -> np.ndarray:
    """Blur by a sixteenth of the shorter side, computed at a small size."""
    height, width = window.shape[:2]
    factor = max(1.0, min(height, width) / BLUR_SIDE)
    small = cv2.resize(window, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(min(small.shape[:2]) / 16, 1.0))
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _window(array: np.ndarray, frame: tuple[int, int, int, int], padding: int) -> np.ndarray:
    """A part of an array (height, width, C), padded outside of it."""
    left, top, frame_width, frame_height = frame
    height, width = array.shape[:2]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + frame_width, width), min(top + frame_height, height)
    window = np.full((frame_height, frame_width, array.shape[2]), padding, array.dtype)
    window[y1 - top : y2 - top, x1 - left : x2 - left] = array[y1:y2, x1:x2]
    return window

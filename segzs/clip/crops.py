"""Crop each mask to an image in the shape of CLIP's input, and encode the crops."""

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
"""Pixels of the shorter side at which a crop is blurred."""
MIN_SIDE = 12
"""Pixels of the longer side of the smallest crop; the model would see a smaller one only as blur."""
MAX_SIDE = 6000
"""Pixels of the longer side of the largest crop; for a larger one, the image is first made smaller."""
MIN_ASPECT = 0.5
"""Lowest ratio of the shorter to the longer side of a crop, for models that squash images."""


@dataclass(frozen=True)
class Cropping:
    """How a mask is cropped for CLIP.

    Args:
        background: what becomes of the pixels outside of the mask: "keep", "blur", "grey" (mid grey), or "cut" (the
            model's mean colour, and no margin).
        margin: pixels added on each side of the mask's box, as a share of its longer side.

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
    """Crop a mask in the shape of a model's input, so that the preprocessing only resizes the crop.

    ``pixels`` and the crop are uint8 RGB (height, width, 3). The crop is square for most models. For one that squashes
    images (``resize_mode="squash"``, such as SigLIP), it has the shape of the box with its margin, but at least
    `MIN_ASPECT`. Beyond the image, it has the colour that the model pads with, or mid grey if the model does not pad.
    """
    cut = cropping.background == "cut"
    frame = _frame(mask.box, 1 + 2 * (0 if cut else cropping.margin), preprocessing)
    if max(frame[2:]) > MAX_SIDE:
        factor = MAX_SIDE / 2 / max(frame[2:])  # half, so that rounding cannot exceed MAX_SIDE again
        return crop(*_shrink(pixels, mask, factor), cropping, preprocessing)
    padding = preprocessing.fill_color if preprocessing.resize_mode == "longest" else GREY
    window = _padded(pixels, frame, padding)
    if cropping.background == "keep":
        return window
    inside = _padded(mask.decode().astype(np.uint8)[..., None], frame, 0) > 0
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
    """Crop the masks of one image, as `crop` does, when they are iterated over."""
    return (crop(pixels, mask, cropping, preprocessing) for mask in masks)


def encode_masks(clip: ClipModel, pixels: np.ndarray, masks: Sequence[RLE], cropping: Cropping) -> Tensor:
    """Crop the masks of an image and return the normalised image features of the crops: float32 (masks, width)."""
    return encode_images(clip, crops(pixels, masks, cropping, clip.preprocessing))


def encode_object(clip: ClipModel, image: Image) -> Tensor:
    """Normalised image features of a whole image that shows one object: float32 (1, width)."""
    whole = RLE.encode(np.ones((image.height, image.width), bool))
    return encode_masks(clip, image.pixels, [whole], Cropping("keep", 0))


def _frame(box: Box, factor: float, preprocessing: PreprocessCfg) -> tuple[int, int, int, int]:
    """Left, top, width and height of a crop; its side is the longer side of the box times ``factor``."""
    x1, y1, x2, y2 = box
    longer = max(x2 - x1, y2 - y1)
    side = max(MIN_SIDE, round(longer * factor))
    if preprocessing.resize_mode == "squash":
        margin, shortest = side - longer, round(MIN_ASPECT * side)
        width, height = max(x2 - x1 + margin, shortest), max(y2 - y1 + margin, shortest)
    else:
        rows, columns = to_2tuple(preprocessing.size)
        width, height = (round(side * length / min(rows, columns)) for length in (columns, rows))
    return (x1 + x2 - width) // 2, (y1 + y2 - height) // 2, width, height


def _shrink(pixels: np.ndarray, mask: RLE, factor: float) -> tuple[np.ndarray, RLE]:
    """Make an image and its mask smaller; a pixel that the mask covers in part belongs to the smaller mask."""
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


def _padded(array: np.ndarray, frame: tuple[int, int, int, int], padding: int) -> np.ndarray:
    """The part of an array (height, width, C) in a frame, with ``padding`` where the frame leaves the array."""
    left, top, frame_width, frame_height = frame
    height, width = array.shape[:2]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + frame_width, width), min(top + frame_height, height)
    window = np.full((frame_height, frame_width, array.shape[2]), padding, array.dtype)
    window[y1 - top : y2 - top, x1 - left : x2 - left] = array[y1:y2, x1:x2]
    return window

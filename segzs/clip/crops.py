"""Crops of masks: pictures of one object each, in the shape of the model's input, and what CLIP sees in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from open_clip.transform import PreprocessCfg
from open_clip.utils import to_2tuple
from torch import Tensor
from torch.nn import functional as F

from segzs.checks import check_number
from segzs.clip.classifier import encode_pictures
from segzs.clip.model import ClipModel
from segzs.errors import UsageError
from segzs.image import Image
from segzs.masks import RLE, Box

BACKGROUNDS = ("blur", "grey", "cut", "keep")
GREY = 128
BLUR_SIDE = 64
LEAST_SIDE = 12
"""Objects of a few pixels are shown with so many around them: enlarged further they would be nothing but blur."""
LARGEST_FRAME = 6000
"""Pixels a side that are cut out; more, as of a large object with a wide margin, are brought to half of it before."""
NARROWEST = 0.5
"""What a model squashes is at least so wide for its height, or so high for its width."""


@dataclass(frozen=True)
class Cropping:
    """How an object is shown to CLIP.

    ``background`` is what becomes of the pixels outside its mask: they are kept ("keep"), blurred ("blur") or made a
    mid grey ("grey"); or the object is cut out ("cut"): alone, as large as its box, on the colour that is nothing to
    the model, its mean. ``margin`` is the context on each side, as a share of the longer side of the box; what is cut
    out has none. For each of ``scales`` there is a picture, so many times as large as box and margin; the mean of
    what the model sees in them counts.

    Raises:
        UsageError: ``background`` is none of the four, or ``margin`` or a scale is out of range.

    >>> Cropping("blur", margin=0.1, scales=[1, 2]).scales
    (1.0, 2.0)
    """

    background: str = "blur"
    margin: float = 0.1
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            known = ", ".join(BACKGROUNDS)
            raise UsageError(f"the background {self.background!r} is unknown; one of {known} is expected")
        check = partial(check_number, error=UsageError)
        check("margin", self.margin, "a share of the object's longer side, such as 0.1,", 0, 10)
        if isinstance(self.scales, str) or not isinstance(self.scales, Iterable) or not (scales := tuple(self.scales)):
            raise UsageError(f"scales is {self.scales!r}; one or more numbers, such as (1, 2), are expected")
        for scale in scales:
            check("a scale", scale, "a multiple of the box with its margin, from 1 to 10,", 1, 10)
        object.__setattr__(self, "scales", tuple(map(float, scales)))


def crop(
    pixels: np.ndarray,
    mask: RLE,
    cropping: Cropping = Cropping(),
    scale: float = 1.0,
    wanted: PreprocessCfg = PreprocessCfg(),
) -> np.ndarray:
    """Cut one mask out as a picture of the shape of a model's input, so that nothing is cut off and nothing padded.

    A model that was trained on squashed pictures (``resize_mode="squash"``, as SigLIP's) gets the box with its margin
    as it is, unless that is very narrow.

    Args:
        pixels: uint8 RGB (height, width, 3).
        mask: a mask of that size.
        cropping: how it is shown.
        scale: how many times as large as the box with its margin.
        wanted: the model's preprocessing; left out, that of a square input.

    Returns:
        uint8 RGB (height, width, 3), (side, side, 3) for most models; where it leaves the image it has the colour
        that the model pads with, mid grey for those that do not pad.
    """
    cut = cropping.background == "cut"
    frame = _frame(mask.box, (1 + 2 * (0 if cut else cropping.margin)) * scale, wanted)
    if max(frame[2:]) > LARGEST_FRAME:
        return crop(*_smaller(pixels, mask, LARGEST_FRAME / 2 / max(frame[2:])), cropping, scale, wanted)
    outside = wanted.fill_color if wanted.resize_mode == "longest" else GREY
    window = _window(pixels, frame, outside)
    if cropping.background == "keep":
        return window
    inside = _window(mask.decode().astype(np.uint8)[..., None], frame, 0) > 0
    if cropping.background == "blur":
        return np.where(inside, window, _blurred(window))
    nothing = np.round(255 * np.array(wanted.mean)) if cut else GREY
    return np.where(inside, window, np.asarray(nothing, np.uint8))


def crops(
    pixels: np.ndarray,
    masks: Sequence[RLE],
    cropping: Cropping = Cropping(),
    wanted: PreprocessCfg = PreprocessCfg(),
) -> Iterator[np.ndarray]:
    """`crop` for many masks of one image, each at all scales before the next; large crops are never all in memory."""
    return (crop(pixels, mask, cropping, scale, wanted) for mask in masks for scale in cropping.scales)


def encode_masks(clip: ClipModel, pixels: np.ndarray, masks: Sequence[RLE], cropping: Cropping) -> Tensor:
    """Normalised image features of masks, each the mean over its scales: float32 (masks, width)."""
    features = encode_pictures(clip, crops(pixels, masks, cropping, clip.preprocessing))
    if len(cropping.scales) == 1:
        return features
    return F.normalize(features.unflatten(0, (len(masks), len(cropping.scales))).mean(1), dim=-1)


def encode_object(clip: ClipModel, image: Image) -> Tensor:
    """The normalised image feature of a picture of one object, all of it, whatever its shape: (1, width)."""
    whole = RLE.encode(np.ones((image.height, image.width), bool))
    return encode_masks(clip, image.pixels, [whole], Cropping("keep", 0))  # else the ends of a long one are cut off


def _frame(box: Box, share: float, wanted: PreprocessCfg) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is shown of an object: its longer side times ``share``."""
    x1, y1, x2, y2 = box
    longer = max(x2 - x1, y2 - y1)
    side = max(LEAST_SIDE, round(longer * share))
    if wanted.resize_mode == "squash":
        around, least = side - longer, round(NARROWEST * side)
        width, height = max(x2 - x1 + around, least), max(y2 - y1 + around, least)
    else:
        rows, columns = to_2tuple(wanted.size)
        width, height = (round(side * each / min(rows, columns)) for each in (columns, rows))
    return (x1 + x2 - width) // 2, (y1 + y2 - height) // 2, width, height


def _smaller(pixels: np.ndarray, mask: RLE, share: float) -> tuple[np.ndarray, RLE]:
    """An image and a mask of it, of a share of their width and height; nothing of the mask gets lost."""
    size = max(1, round(mask.width * share)), max(1, round(mask.height * share))
    covered = cv2.resize(mask.decode().astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), RLE.encode(covered > 0)


def _blurred(window: np.ndarray) -> np.ndarray:
    """Blur by a sixteenth of the shorter side, at a size where that is cheap."""
    height, width = window.shape[:2]
    shrink = max(1.0, min(height, width) / BLUR_SIDE)
    small = cv2.resize(window, (round(width / shrink), round(height / shrink)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(min(small.shape[:2]) / 16, 1.0))
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _window(array: np.ndarray, frame: tuple[int, int, int, int], fill: int) -> np.ndarray:
    """A part of (height, width, C), filled up where it leaves the array."""
    left, top, wide, high = frame
    height, width = array.shape[:2]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + wide, width), min(top + high, height)
    window = np.full((high, wide, array.shape[2]), fill, array.dtype)
    window[y1 - top : y2 - top, x1 - left : x2 - left] = array[y1:y2, x1:x2]
    return window

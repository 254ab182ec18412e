"""Read images of any kind into upright RGB pixels with a digest."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps

from segzs.checks import check_number
from segzs.errors import ImageError, ImageTooLargeError, ImageWarning, warn
from segzs.values import Value, read_only

MAX_PIXELS = 178_000_000  # Pillow itself refuses files of more than 178,956,970 pixels
DARK = 4095
"""If all 16-bit values are at most this, the image is nearly black, as one of 12-bit data."""
HALF_LEVEL = 0.5 / 255
"""Floats outside of 0 to 1 by less than this are those limits in 8 bits."""

ImageSource = Any
"""A path, bytes, a binary file object, a PIL image, a numpy array, a torch tensor, or an `Image`."""


@dataclass(frozen=True, eq=False)
class Image(Value):
    """Upright RGB pixels: ``pixels`` is a read-only uint8 array (height, width, 3).

    Two images are equal if their pixels are equal.

    Raises:
        ImageError: the pixels have another dtype or shape; `read_image` reads sources of any kind.

    >>> image = read_image(np.zeros((4, 6, 3), np.uint8))
    >>> image.width, image.height
    (6, 4)
    """

    pixels: np.ndarray

    def __post_init__(self) -> None:
        pixels = self.pixels
        is_rgb = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[2:] == (3,)
        if not (is_rgb and pixels.size):
            kind = f"{getattr(pixels, 'dtype', type(pixels).__name__)} of shape {getattr(pixels, 'shape', None)}"
            raise ImageError(
                f"Image was given {kind}; uint8 pixels of shape (height, width, 3) are expected; use read_image"
            )
        object.__setattr__(self, "pixels", read_only(pixels))

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.pixels.shape[0])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the size and the pixels, as 64 hexadecimal digits."""
        state = hashlib.sha256(f"{self.height}x{self.width}:".encode())
        state.update(np.ascontiguousarray(self.pixels).data)
        return state.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Image({self.width}x{self.height}, {self.digest[:12]})"


def read_image(
    source: ImageSource,
    *,
    bgr: bool = False,
    background: tuple[int, int, int] = (255, 255, 255),
    white: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """Read an image of any kind into upright RGB pixels.

    Args:
        source: a path, encoded bytes, a binary file object, a PIL image, a numpy array, a torch tensor or an `Image`.
            Files and PIL images are turned upright by their EXIF orientation; only the first frame is read.
            Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); tensors are (H, W) or (C, H, W) with 1, 3 or 4
            channels. Values are uint8, uint16 (65535 is white), bool, or floats from 0 to 1, rounded to 8 bits.
        bgr: the channels of an array or tensor are blue, green, red, as in OpenCV.
        background: RGB colour behind transparent pixels.
        white: the value that is white in an array, a tensor or a file of more than 8 bits, such as 4095 for 12 bits;
            larger ones are white too.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        ImageError: the source has another type, is damaged, is empty, or is too large.

    Warns:
        ImageWarning: 16-bit values are so small that the image is nearly black.

    >>> read_image(np.full((2, 3), 4095, np.uint16), white=4095).pixels.max()
    np.uint8(255)
    >>> read_image(np.full((2, 3), 65535, np.uint16)).pixels.max()
    np.uint8(255)
    """
    if isinstance(source, Image):
        if bgr:
            raise ImageError("an Image is RGB already; use bgr only with an array or a tensor")
        if white is not None:
            raise ImageError("an Image has 8 bits, of which 255 is white; leave out white")
        return source
    if white is not None:
        check_number(
            "white", white, "a number greater than 0", sys.float_info.min, sys.float_info.max, error=ImageError
        )
    if isinstance(source, np.ndarray):
        pixels = _from_array(source, bgr, white)
    elif _is_tensor(source):
        pixels = _from_tensor(source, bgr, white)
    elif isinstance(source, PIL.Image.Image):
        pixels = _from_pil(source, max_pixels, white, "the PIL image")
    else:
        pixels = _from_file(source, max_pixels, white)
    _check_size(pixels.shape[1], pixels.shape[0], max_pixels, "the image")
    if pixels.shape[2] == 4:
        pixels = _composite(pixels, background)
    return Image(np.ascontiguousarray(pixels))


def _from_file(source: Any, max_pixels: int, white: float | None) -> np.ndarray:
    stream, what = source, f"the file object {getattr(source, 'name', type(source).__name__)}"
    if isinstance(source, str) and ("://" in source[:12] or source.startswith("data:")):
        raise ImageError(f"{source[:80]!r} is a URL; download it and give its path or its bytes")
    if isinstance(source, (str, os.PathLike)):
        stream, what = Path(source), str(Path(source))
    elif isinstance(source, (bytes, bytearray, memoryview)):
        stream, what = io.BytesIO(source), f"the image of {len(source)} bytes"
    elif not hasattr(source, "read"):
        raise ImageError(
            f"cannot read an image from {type(source).__name__}; "
            "give a path, bytes, a binary file object, a PIL image, a numpy array or a torch tensor"
        )
    try:
        if isinstance(stream, Path) and stream.is_dir():
            raise ImageError(f"{what} is a folder, not an image")
        _ignore_limit_of_pillow()
        with PIL.Image.open(stream) as image:
            return _from_pil(image, max_pixels, white, what)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{what}: no such file") from error
    except PIL.UnidentifiedImageError as error:
        raise ImageError(f"{what} is not an image of a format that Pillow reads") from error
    except Exception as error:  # decoders of damaged files raise errors of many types
        raise ImageError(f"{what} cannot be read: {error or type(error).__name__}") from error


def _ignore_limit_of_pillow() -> None:
    """Let Pillow not warn of half as many pixels as it refuses, unless a filter of the user's asks for the warning."""
    ignored = ("ignore", None, PIL.Image.DecompressionBombWarning, None, 0)
    if ignored not in warnings.filters:
        warnings.filterwarnings("ignore", category=PIL.Image.DecompressionBombWarning, append=True)


def _from_pil(image: PIL.Image.Image, max_pixels: int, white: float | None, what: str) -> np.ndarray:
    _check_size(image.width, image.height, max_pixels, what)
    try:
        image = PIL.ImageOps.exif_transpose(image)
        if image.mode == "F":
            return _from_array(np.asarray(image), False, white)
        if image.mode.startswith("I"):
            wide = np.asarray(image).astype(np.int64)
            if white is not None:
                return _from_array(wide, False, white)
            if wide.min() < 0 or wide.max() > 65535:
                raise ImageError(f"{what} has grey values from {wide.min()} to {wide.max()}; 0 to 65535 is expected")
            return _from_array(wide.astype(np.uint16), False, None)
        if white is not None:
            raise ImageError(f"{what} has 8 bits, of which 255 is white; leave out white")
        transparent = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")
        return np.asarray(image.convert("RGBA" if transparent else "RGB"))
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{what} cannot be decoded: {error or type(error).__name__}") from error


def _is_tensor(source: Any) -> bool:
    """Whether the source is a torch tensor; without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


def _from_tensor(tensor: Any, bgr: bool, white: float | None) -> np.ndarray:
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and tensor.shape[0] not in (1, 3, 4)):
        raise ImageError(
            f"a tensor of shape {tuple(tensor.shape)} is not an image; (H, W), or (C, H, W) with 1, 3 or 4 channels, "
            "is expected: take one image of a batch, and convert (H, W, C) data to a numpy array"
        )
    try:
        tensor = tensor.detach().cpu()
        array = (tensor.float() if tensor.dtype.is_floating_point else tensor).numpy()
    except (RuntimeError, TypeError) as error:  # sparse tensors, and those without data
        raise ImageError(f"the tensor cannot be converted to a numpy array: {error}") from error
    return _from_array(np.moveaxis(array, 0, -1) if array.ndim == 3 else array, bgr, white)


def _from_array(array: np.ndarray, bgr: bool, white: float | None) -> np.ndarray:
    if np.ma.is_masked(array):
        raise ImageError("some pixels of the masked array are masked; fill them first: array.filled(0)")
    array = np.asarray(array)  # a plain array, also from np.matrix
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        raise ImageError(
            f"an array of shape {array.shape} is not an image; (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) is expected"
        )
    array = _to_8_bits(array, white)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    return array[:, :, [2, 1, 0, 3][: array.shape[2]]] if bgr else array


def _to_8_bits(array: np.ndarray, white: float | None) -> np.ndarray:
    kind = array.dtype.kind
    if white is not None and kind in "uif":
        if kind == "f" and not np.isfinite(array).all():
            raise ImageError("some pixels are NaN or infinite; replace them first: np.nan_to_num(array)")
        return np.rint(np.clip(array / white, 0, 1) * 255).astype(np.uint8)
    if kind == "b":
        return array.astype(np.uint8) * 255
    if np.issubdtype(array.dtype, np.uint16):  # of either byte order
        if 0 < (largest := array.max()) <= DARK:
            warn(
                f"the largest of the 16-bit pixels is {largest}, so that the image is nearly black; if that is white, "
                f"as in data of {int(largest).bit_length()} bits, give read_image(..., white={largest}) or, on the "
                f"command line with single files, --white {largest}",
                ImageWarning,
            )
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if kind == "f":
        if not (array.min() >= -HALF_LEVEL and array.max() <= 1 + HALF_LEVEL):  # also if one is NaN
            limits = f"{array.min()} to {array.max()}"
            raise ImageError(
                f"float pixels must be from 0 to 1, and are from {limits}; scale them, give white, or use uint8"
            )
        return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"pixels have dtype {array.dtype}; give uint8, uint16, bool, or float from 0 to 1")
    return array


def _composite(rgba: np.ndarray, background: Any) -> np.ndarray:
    try:
        red, green, blue = (int(value) for value in background)
        behind = np.array([red, green, blue], np.uint8).astype(np.uint32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(f"the background is {background!r}; (red, green, blue) from 0 to 255 is expected") from error
    alpha = rgba[:, :, 3:].astype(np.uint32)
    return ((rgba[:, :, :3] * alpha + behind * (255 - alpha) + 127) // 255).astype(np.uint8)


def _check_size(width: int, height: int, max_pixels: int, what: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{what} is empty ({width}x{height} pixels)")
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{what} has {width}x{height} pixels, more than {max_pixels:,}; make it smaller, or increase max_pixels"
        )

"""Any picture -> upright RGB pixels and their digest."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import PIL.ImageOps

from segzs.errors import ImageError

MAX_PIXELS = 178_000_000  # Pillow itself refuses files of more than 178,956,970 pixels

ImageSource = Any
"""A path, bytes, a binary file object, a PIL image, a numpy array, a torch tensor, or an `Image`."""


@dataclass(frozen=True, eq=False)
class Image:
    """Upright RGB pixels: ``pixels`` is a read-only uint8 array (height, width, 3).

    Two images are equal when their pixels are.

    >>> picture = read_image(np.zeros((4, 6, 3), np.uint8))
    >>> picture.width, picture.height
    (6, 4)
    """

    pixels: np.ndarray

    def __post_init__(self) -> None:
        pixels = self.pixels
        if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.size):
            raise ImageError(
                "an Image is made of uint8 pixels (height, width, 3); read_image takes pictures of any kind"
            )
        if pixels.shape[2] != 3:
            raise ImageError(f"an Image is made of pixels (height, width, 3), not {pixels.shape}")
        if pixels.flags.writeable:
            pixels = pixels.copy()
            pixels.setflags(write=False)
            object.__setattr__(self, "pixels", pixels)

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
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
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """Read a picture of any kind into upright RGB pixels.

    Args:
        source: a path, encoded bytes, a binary file object, a PIL image, a numpy array or a torch tensor.
            Files and PIL images are turned upright by their EXIF orientation; of several frames the first counts.
            Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); tensors are (H, W) or (C, H, W) with 1, 3 or 4
            channels. Values are uint8, uint16 (65535 is white), bool, or floats from 0 to 1.
        bgr: the three or four channels of an array or tensor are in OpenCV's order.
        background: RGB colour that shows where the picture is transparent.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        ImageError: the source is none of these, is damaged, is empty, or is too large.

    >>> read_image(np.full((2, 3), 65535, np.uint16)).pixels.max()
    np.uint8(255)
    """
    if isinstance(source, Image):
        if bgr:
            raise ImageError("an Image's channels are red, green, blue already; bgr is for arrays and tensors")
        return source
    if isinstance(source, np.ndarray):
        pixels = _from_array(source, bgr)
    elif _is_tensor(source):
        pixels = _from_tensor(source, bgr)
    elif isinstance(source, PIL.Image.Image):
        pixels = _from_pil(source, max_pixels, "the PIL image")
    else:
        pixels = _from_file(source, max_pixels)
    _check_size(pixels.shape[1], pixels.shape[0], max_pixels, "the picture")
    if pixels.shape[2] == 4:
        pixels = _composite(pixels, background)
    pixels = np.array(pixels, np.uint8, order="C")
    pixels.setflags(write=False)
    return Image(pixels)


def _from_file(source: Any, max_pixels: int) -> np.ndarray:
    stream: BinaryIO | Path
    if isinstance(source, str) and ("://" in source[:12] or source.startswith("data:")):
        raise ImageError(
            f"{source[:80]!r} is a URL; segzs reads local pictures: download it and give the file or its bytes"
        )
    if isinstance(source, (str, os.PathLike)):
        stream = Path(source)
        what = str(stream)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        stream = io.BytesIO(source)
        what = f"what these {len(stream.getbuffer())} bytes hold"
    elif hasattr(source, "read"):
        stream, what = source, f"the file object {getattr(source, 'name', type(source).__name__)}"
    else:
        raise ImageError(
            f"cannot read a picture from {type(source).__name__}; "
            "give a path, bytes, a binary file object, a PIL image, a numpy array or a torch tensor"
        )
    try:
        if isinstance(stream, Path) and stream.is_dir():
            raise ImageError(f"{what} is a folder, not a picture")
        with PIL.Image.open(stream) as picture:
            return _from_pil(picture, max_pixels, what)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{what}: no such file") from error
    except PIL.UnidentifiedImageError as error:
        raise ImageError(f"{what} is not a picture of a format that Pillow reads") from error
    except Exception as error:  # decoders raise errors of every kind on damaged files
        raise ImageError(f"{what} cannot be read: {error or type(error).__name__}") from error


def _from_pil(picture: PIL.Image.Image, max_pixels: int, what: str) -> np.ndarray:
    _check_size(picture.width, picture.height, max_pixels, what)
    try:
        picture = PIL.ImageOps.exif_transpose(picture)
        if picture.mode == "F":
            return _from_array(np.asarray(picture), bgr=False)
        if picture.mode.startswith("I"):
            wide = np.asarray(picture).astype(np.int64)
            if wide.min() < 0 or wide.max() > 65535:
                raise ImageError(f"{what} has grey values from {wide.min()} to {wide.max()}; 0 to 65535 is expected")
            return _from_array(wide.astype(np.uint16), bgr=False)
        transparent = "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La")
        return np.asarray(picture.convert("RGBA" if transparent else "RGB"))
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{what} cannot be decoded: {error or type(error).__name__}") from error


def _is_tensor(source: Any) -> bool:
    """Whether this is a torch tensor of any subclass; torch is not imported for the question."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


def _from_tensor(tensor: Any, bgr: bool) -> np.ndarray:
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and tensor.shape[0] not in (1, 3, 4)):
        raise ImageError(
            f"a tensor of shape {tuple(tensor.shape)} is not (H, W), or (C, H, W) with 1, 3 or 4 channels; "
            "take one picture of a batch, and give (H, W, C) data as a numpy array"
        )
    try:
        tensor = tensor.detach().cpu()
        array = (tensor.float() if tensor.dtype.is_floating_point else tensor).numpy()
    except (RuntimeError, TypeError) as error:  # sparse tensors, and those without data
        raise ImageError(f"the tensor has no plain pixels: {error}") from error
    return _from_array(np.moveaxis(array, 0, -1) if array.ndim == 3 else array, bgr)


def _from_array(array: np.ndarray, bgr: bool) -> np.ndarray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        raise ImageError(
            f"an array of shape {array.shape} is not a picture; (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) is expected"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.uint16):  # of either byte order
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError(
                f"float pixels must lie from 0 to 1, these lie from {array.min()} to {array.max()}; "
                "scale them, or convert them to uint8"
            )
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"pixels of type {array.dtype} are not understood; give uint8, uint16, bool or float (0 to 1)")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    return array[:, :, [2, 1, 0, 3][: array.shape[2]]] if bgr else array


def _composite(rgba: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    alpha = rgba[:, :, 3:].astype(np.uint32)
    behind = _colour(background)
    return ((rgba[:, :, :3] * alpha + behind * (255 - alpha) + 127) // 255).astype(np.uint8)


def _colour(background: Any) -> np.ndarray:
    try:
        red, green, blue = (int(value) for value in background)
        return np.array([red, green, blue], np.uint8).astype(np.uint32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(f"the background is {background!r}; (red, green, blue) from 0 to 255 is expected") from error


def _check_size(width: int, height: int, max_pixels: int, what: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{what} is empty ({width}x{height} pixels)")
    if width * height > max_pixels:
        raise ImageError(
            f"{what} has {width}x{height} pixels, more than {max_pixels:,}; make it smaller, or raise max_pixels"
        )

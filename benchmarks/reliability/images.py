"""Image files of all kinds, valid and hostile, made from a seed: `check` reads one as segzs does."""

from __future__ import annotations

import io
import struct
import zlib
from random import Random
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms

from benchmarks.reliability.mutate import mutated_bytes, refusal
from segzs.errors import ImageError
from segzs.image import Image, read_image

MAX_PIXELS = 2_000_000
SIZES = ((1, 1), (40_000, 1), (1, 40_000), (17, 23), (64, 48), (129, 3))
KINDS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
    "GIF": ("1", "L", "P", "RGB"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "WEBP": ("RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA"),
    "JPEG2000": ("L", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB", "I;16"),
    "TGA": ("L", "P", "RGB", "RGBA"),
    "ICO": ("RGBA",),
    "PCX": ("1", "L", "P", "RGB"),
    "QOI": ("RGB", "RGBA"),
    "SGI": ("L", "RGB", "RGBA"),
    "DDS": ("RGB", "RGBA"),
}
EXACT = {"PNG", "TIFF", "BMP", "PPM", "TGA", "PCX", "QOI", "SGI"}
TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


def check(seed: int) -> str:
    """Read the image of a seed; returns what came out. Raises `AssertionError` if it is neither right nor clear."""
    chance = Random(seed)
    data, expected, what = valid(chance)
    if chance.random() < 0.7:
        data, expected, what = mutated_bytes(data, chance), None, f"{what}, mutated"
    elif chance.random() < 0.3:
        data, expected, what = _bomb(chance), None, "bomb"
    try:
        image = read_image(data, max_pixels=MAX_PIXELS)
    except ImageError as error:
        return refusal(what, error, expected is not None)
    assert image.width * image.height <= MAX_PIXELS, f"{what} has {image.width}x{image.height} pixels"
    assert image == Image(image.pixels.copy()), what
    if expected is not None:
        assert image.pixels.shape == expected.shape, f"{what} has the shape {image.pixels.shape}, not {expected.shape}"
        difference = np.abs(image.pixels.astype(int) - expected).max()
        assert difference <= 1, f"{what} has pixels that differ by {difference}"
    return f"{what}: read"


def valid(chance: Random) -> tuple[bytes, np.ndarray | None, str]:
    """A valid file, its upright pixels if the format keeps them exactly, and what it is."""
    kind = chance.choice(list(KINDS))
    mode, size = chance.choice(KINDS[kind]), chance.choice(SIZES)
    if kind in ("ICO", "DDS", "WEBP", "AVIF", "JPEG2000") and max(size) > 256:
        size = (32, 32)
    image = _image(mode, size, chance)
    options, turn, what = _extras(kind, chance)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    exact = kind in EXACT and mode in ("1", "L", "P", "RGB") and turn is not None
    if not exact:
        return buffer.getvalue(), None, f"{kind} {mode} {what}"
    upright = image.transpose(TURNS[turn]) if turn in TURNS else image
    return buffer.getvalue(), np.asarray(upright.convert("RGB")).astype(int), f"{kind} {mode} {what}"


def _image(mode: str, size: tuple[int, int], chance: Random) -> PIL.Image.Image:
    width, height = size
    pixels = np.random.default_rng(chance.randrange(2**32)).integers(0, 256, (height, width, 3), np.uint8)
    image = PIL.Image.fromarray(pixels)
    if mode == "I;16":
        return PIL.Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    if mode == "I":
        return PIL.Image.fromarray(pixels[:, :, 0].astype(np.int32) * 257)
    if mode == "F":
        return PIL.Image.fromarray(pixels[:, :, 0].astype(np.float32) / 255)
    if mode == "LAB":
        return PIL.Image.frombytes("LAB", size, pixels.tobytes())
    return image.convert("RGBA").convert(mode) if mode in ("LA", "RGBA") else image.convert(mode)


def _extras(kind: str, chance: Random) -> tuple[dict[str, Any], int | None, str]:
    """Options of a file with EXIF data or a colour profile; the orientation, None if it cannot be trusted."""
    if kind in ("PNG", "JPEG", "TIFF", "WEBP") and chance.random() < 0.5:
        number = chance.randrange(1, 9)
        exif = PIL.Image.Exif()
        exif[0x0112] = number
        if kind != "TIFF" and chance.random() < 0.3:
            return {"exif": mutated_bytes(exif.tobytes(), chance)}, None, "broken EXIF"
        return {"exif": exif}, number, f"EXIF {number}"
    if kind in ("PNG", "JPEG", "TIFF", "WEBP") and chance.random() < 0.5:
        profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
        return {"icc_profile": mutated_bytes(profile, chance) if chance.random() < 0.5 else profile}, 1, "ICC"
    return {}, 1, "plain"


def _bomb(chance: Random) -> bytes:
    """A small file that promises or unpacks to much."""
    side = chance.choice((1_500, 20_000, 65_535, 2**31 - 1))
    match chance.choice(("header", "pixels", "text", "frames", "bmp", "gif")):
        case "header":
            return _png(side, chance.choice((1, side)), b"")
        case "pixels":
            return _png(8_000, 8_000, zlib.compress(bytes(8_000 * 3 + 1) * 2_000, 9))
        case "text":
            text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
            return _png(4, 4, zlib.compress(bytes(4 * 13)), _chunk(b"zTXt", text))
        case "frames":
            buffer, frame = io.BytesIO(), PIL.Image.new("L", (1_000, 1_000))
            frame.save(buffer, "GIF", save_all=True, append_images=[PIL.Image.new("L", frame.size, n) for n in (9, 99)])
            return buffer.getvalue()
        case "bmp":
            return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, side, -side, 1, 24, 0, 0, 0, 0, 0, 0)
        case _:
            return b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0xF7, 0, 0) + bytes(800)


def _png(width: int, height: int, pixels: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

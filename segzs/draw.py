"""Draw masks and captions over an image."""

from __future__ import annotations

import colorsys
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from math import ceil, sqrt
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import PIL.ImageOps

from segzs.masks import RLE, Box

Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont

SMALLEST_SIDE, LARGEST_SIDE = 480, 4096
TINT = 0.22
SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc"),
    *("wqy-zenhei.ttc", "msyh.ttc", "msgothic.ttc", "malgun.ttf", "PingFang.ttc"),
)
GREY: Colour = (150, 150, 150)


def colours(names: Sequence[str]) -> list[Colour]:
    """A colour for each name: equal names have equal colours, different names distant ones; "unknown" is grey.

    >>> cat, dog, other = colours(["cat", "dog", "cat"])
    >>> cat == other != dog
    True
    """
    order = {name: index for index, name in enumerate(dict.fromkeys(n for n in names if n != "unknown"))}
    return [GREY if name == "unknown" else _hue_colour(order[name]) for name in names]


class _Shape(NamedTuple):
    """A mask that is not empty: its box, the bool array inside the box, its caption and colour."""

    box: Box
    inside: np.ndarray
    caption: str
    colour: Colour


def overlay(
    pixels: np.ndarray, masks: Sequence[RLE], captions: Sequence[str], palette: Sequence[Colour]
) -> PIL.Image.Image:
    """Draw masks as tinted areas with an outline and a caption each, larger ones below smaller ones.

    ``pixels`` is uint8 RGB (height, width, 3). Empty captions are not drawn. Small images are enlarged by an integer
    factor, so that names stay legible.
    """
    factor = max(1, ceil(SMALLEST_SIDE / min(pixels.shape[:2]))) if masks else 1
    factor = min(factor, max(1, LARGEST_SIDE // max(pixels.shape[:2])))
    canvas = _enlarge(pixels, factor)
    shapes = []
    for mask, caption, colour in sorted(zip(masks, captions, palette, strict=True), key=lambda item: -item[0].area):
        if mask.area:
            shapes.append(_Shape(mask.box, _part(mask.decode(), mask.box), caption, colour))
    for shape in shapes:
        _tint(canvas, shape, factor)
    for shape in shapes:
        _outline(canvas, shape, factor)
    image = PIL.Image.fromarray(canvas)
    _write_captions(image, pixels.shape[:2], shapes, factor)
    return image


def contact_sheet(
    images: Sequence[np.ndarray | None], captions: Sequence[str], *, columns: int = 5, side: int = 200
) -> PIL.Image.Image:
    """Small images in rows, each above its caption of at most two lines.

    ``images`` are uint8 RGB (height, width, 3) of any size, fitted into squares of ``side`` pixels; None is grey.
    """
    letters, gap = side // 14, side // 25
    row = side + 3 * letters + 2 * gap
    width = min(columns, max(1, len(images)))
    sheet = PIL.Image.new("RGB", (width * (side + gap) + gap, max(1, ceil(len(images) / width)) * row), "white")
    pen = PIL.ImageDraw.Draw(sheet)
    for index, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = gap + index % width * (side + gap), gap + index // width * row
        tile = PIL.Image.new("RGB", (side, side), GREY)
        if pixels is not None:
            tile = PIL.ImageOps.contain(PIL.Image.fromarray(pixels), (side, side))
        sheet.paste(tile, (left + (side - tile.width) // 2, top + (side - tile.height) // 2))
        for number, line in enumerate(caption.split("\n")[:2]):
            font = font_for(letters, line)
            pen.text((left, top + side + round(1.4 * letters * number)), shorten(line, font, side), "black", font)
    return sheet


def _enlarge(array: np.ndarray, factor: int) -> np.ndarray:
    return np.repeat(np.repeat(array, factor, 0), factor, 1)


def _tint(canvas: np.ndarray, shape: _Shape, factor: int) -> None:
    x1, y1, x2, y2 = (side * factor for side in shape.box)
    part, inside = canvas[y1:y2, x1:x2], _enlarge(shape.inside, factor)
    part[inside] = ((1 - TINT) * part[inside] + TINT * np.array(shape.colour)).astype(np.uint8)


def _outline(canvas: np.ndarray, shape: _Shape, factor: int) -> None:
    x1, y1, _, _ = shape.box
    inside = _enlarge(shape.inside.astype(np.uint8), factor)
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x1 * factor, y1 * factor))
    line = max(2, round(min(canvas.shape[:2]) / 240))
    cv2.drawContours(canvas, contours, -1, (255, 255, 255), line + 2, cv2.LINE_AA)
    cv2.drawContours(canvas, contours, -1, shape.colour, line, cv2.LINE_AA)


def _write_captions(image: PIL.Image.Image, size: tuple[int, int], shapes: Sequence[_Shape], factor: int) -> None:
    """Write each caption on a tag of its colour, at the position that hides other tags and objects least."""
    covered = np.zeros(size, np.uint16)  # number of shapes at each pixel
    for shape in shapes:
        _part(covered, shape.box)[:] += shape.inside
    pen = PIL.ImageDraw.Draw(image)
    lines = min(60, 36 * max(1, sqrt(len(shapes) / 16)))  # lines of text that fit the height: more for many shapes
    height = max(13, round(min(image.size) / lines))
    pad = round(height * 0.3)
    taken: list[Rectangle] = []
    for shape in reversed(shapes):  # small shapes first: they have the fewest free positions
        colour, font = shape.colour, font_for(height, shape.caption)
        text = shorten(shape.caption, font, image.width - 2 * pad - 2)
        if not text:
            continue
        left, top, right, bottom = (round(side) for side in pen.textbbox((0, 0), text, font=font))
        tag = (right - left + 2 * pad, bottom - top + 2 * pad)
        _part(covered, shape.box)[:] -= shape.inside
        spot = _best_spot(shape.box, tag, image.size, taken, covered, factor)
        _part(covered, shape.box)[:] += shape.inside
        taken.append(spot)
        pen.rounded_rectangle(spot, radius=pad, fill=colour, outline=(255, 255, 255), width=max(1, height // 12))
        dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
        ink = (0, 0, 0) if dark else (255, 255, 255)
        pen.text((spot[0] + pad - left, spot[1] + pad - top), text, font=font, fill=ink)


def _part(array: np.ndarray, box: Rectangle) -> np.ndarray:
    x1, y1, x2, y2 = box
    return array[y1:y2, x1:x2]


def _best_spot(
    box: Box, tag: tuple[int, int], canvas: tuple[int, int], taken: Sequence[Rectangle], others: np.ndarray, factor: int
) -> Rectangle:
    """The position of a tag of this size, above, inside or below the box, that hides other tags and shapes least."""
    x1, y1, x2, y2 = (side * factor for side in box)
    width, height = tag
    centre = (x1 + x2 - width) // 2
    rows = [y1 - height, *(y1 + (y2 - y1 - height) * step // 8 for step in range(9)), y2]
    spots = []
    for y in rows:
        for x in (centre, x1, x2 - width):
            left = min(max(x, 1), max(canvas[0] - width - 1, 1))
            top = min(max(y, 1), max(canvas[1] - height - 1, 1))
            spots.append((left, top, left + width, top + height))

    def hidden(spot: Rectangle) -> int:
        below = _part(others, tuple(side // factor for side in spot))  # type: ignore[arg-type]
        return 4 * sum(_overlap(spot, other) for other in taken) + int(np.count_nonzero(below)) * factor**2

    return min(spots, key=hidden)


def _overlap(a: Rectangle, b: Rectangle) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def shorten(text: str, font: Font, width: int) -> str:
    """The text, or as much of its beginning as fits followed by dots; empty if nothing fits."""
    text = " ".join(text.split())
    if len(text) <= width and font.getlength(text) <= width:
        return text
    ends = range(1, min(len(text), width))
    end = bisect_right(ends, width, key=lambda end: ceil(font.getlength(text[:end] + "...")))
    return text[:end].rstrip() + "..." if end else ""


def _hue_colour(index: int) -> Colour:
    """Golden-ratio steps around the colour wheel, in three alternating lightnesses."""
    hue = (0.02 + index * 0.618034) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.5, 0.62, 0.4)[index % 3], 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def font_for(height: int, text: str) -> Font:
    """Pillow's own font for ASCII, otherwise the system font that has the most of the letters."""
    own = PIL.ImageFont.load_default(height)
    if text.isascii():
        return own
    best = min([own, *_system_fonts()], key=lambda font: _letters_missing(font, text))
    return own if best is own else best.font_variant(size=height)  # type: ignore[union-attr]


@lru_cache
def _system_fonts() -> list[PIL.ImageFont.FreeTypeFont]:
    fonts = []
    for name in SYSTEM_FONTS:
        with suppress(OSError):
            fonts.append(PIL.ImageFont.truetype(name, 16))
    return fonts


def _letters_missing(font: Font, text: str) -> int:
    """The number of letters that a font draws as the box of a missing letter."""
    box = bytes(font.getmask("\U0010ffff"))
    return sum(bytes(font.getmask(letter)) == box for letter in set(text) if not letter.isspace())

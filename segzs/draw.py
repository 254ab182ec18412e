"""Pixels, masks and captions -> a picture to look at."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from math import ceil

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from segzs.masks import RLE

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]

SMALLEST_SIDE = 480
FALLBACK_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf")
GREY: Colour = (150, 150, 150)


def colours(names: Sequence[str]) -> list[Colour]:
    """One colour for each name, the same for equal names and far apart for different ones; "unknown" is grey.

    >>> cat, dog, other = colours(["cat", "dog", "cat"])
    >>> cat == other != dog
    True
    """
    order = {name: index for index, name in enumerate(dict.fromkeys(n for n in names if n != "unknown"))}
    return [GREY if name == "unknown" else _hue_colour(order[name]) for name in names]


def overlay(
    pixels: np.ndarray, masks: Sequence[RLE], captions: Sequence[str], palette: Sequence[Colour]
) -> PIL.Image.Image:
    """Draw masks as tinted areas with an outline and a caption each, larger ones below smaller ones.

    Args:
        pixels: uint8 RGB (height, width, 3).
        masks: masks of that size.
        captions: one text for each mask; may be empty.
        palette: one RGB colour for each mask.

    Returns:
        An RGB picture of the same size; small pictures are enlarged by a whole factor so that names stay legible.
    """
    factor = max(1, ceil(SMALLEST_SIDE / max(1, min(pixels.shape[:2])))) if masks else 1
    factor = min(factor, max(1, 4096 // max(pixels.shape[:2])))
    canvas = np.repeat(np.repeat(pixels, factor, 0), factor, 1).copy()
    line = max(2, round(min(canvas.shape[:2]) / 240))
    order = sorted(range(len(masks)), key=lambda i: -masks[i].area)
    for index in order:
        _tint(canvas, masks[index], palette[index], factor)
    for index in order:
        contours = _contours(masks[index], factor)
        cv2.drawContours(canvas, contours, -1, (255, 255, 255), line + 2, cv2.LINE_AA)
        cv2.drawContours(canvas, contours, -1, palette[index], line, cv2.LINE_AA)
    picture = PIL.Image.fromarray(canvas)
    _write_captions(picture, masks, captions, palette, factor)
    return picture


def _tint(canvas: np.ndarray, mask: RLE, colour: Colour, factor: int) -> None:
    x1, y1, x2, y2 = mask.box
    inside = np.repeat(np.repeat(mask.decode()[y1:y2, x1:x2], factor, 0), factor, 1)
    part = canvas[y1 * factor : y2 * factor, x1 * factor : x2 * factor]
    part[inside] = (0.72 * part[inside] + 0.28 * np.array(colour)).astype(np.uint8)


def _contours(mask: RLE, factor: int) -> list[np.ndarray]:
    x1, y1, x2, y2 = mask.box
    part = mask.decode()[y1:y2, x1:x2].astype(np.uint8)
    enlarged = np.repeat(np.repeat(part, factor, 0), factor, 1)
    contours, _ = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return [contour + np.array([x1, y1], np.int32) * factor for contour in contours]


def _write_captions(
    picture: PIL.Image.Image, masks: Sequence[RLE], captions: Sequence[str], palette: Sequence[Colour], factor: int
) -> None:
    """Write each caption on a tag of its colour, where it covers other tags and leaves the picture least."""
    pen = PIL.ImageDraw.Draw(picture)
    size = max(13, round(min(picture.size) / 36))
    taken: list[Rectangle] = []
    for mask, caption, colour in zip(masks, captions, palette, strict=True):
        if not caption or not mask.area:
            continue
        font = _font(size, caption)
        pad = size * 0.3
        left, top, right, bottom = pen.textbbox((0, 0), caption, font=font)
        width, height = right - left + 2 * pad, bottom - top + 2 * pad
        spot = _free_spot(_box_times(mask, factor), (width, height), picture.size, taken)
        taken.append(spot)
        pen.rounded_rectangle(spot, radius=pad, fill=colour, outline=(255, 255, 255), width=max(1, size // 12))
        dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
        ink = (0, 0, 0) if dark else (255, 255, 255)
        pen.text((spot[0] + pad - left, spot[1] + pad - top), caption, font=font, fill=ink)


def _box_times(mask: RLE, factor: int) -> Rectangle:
    x1, y1, x2, y2 = (side * factor for side in mask.box)
    return x1, y1, x2, y2


def _free_spot(
    box: Rectangle, size: tuple[float, float], canvas: tuple[int, int], taken: Sequence[Rectangle]
) -> Rectangle:
    x1, y1, x2, y2 = box
    width, height = size
    middle = (x1 + x2 - width) / 2
    wanted = [(middle, y1 - height), (x1, y1 - height), (middle, y2), (middle, y1), (middle, (y1 + y2 - height) / 2)]
    wanted += [(middle, y1 + height * step) for step in range(1, 12)]
    spots = []
    for x, y in wanted:
        left = min(max(x, 1), max(canvas[0] - width - 1, 1))
        top = min(max(y, 1), max(canvas[1] - height - 1, 1))
        spots.append((left, top, left + width, top + height))
    return min(spots, key=lambda spot: sum(_overlap(spot, other) for other in taken))


def _overlap(a: Rectangle, b: Rectangle) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _hue_colour(index: int) -> Colour:
    """Golden-ratio steps around the colour circle, in three alternating lightnesses."""
    hue = (0.02 + index * 0.618034) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.5, 0.62, 0.4)[index % 3], 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


@lru_cache
def _font(size: int, text: str) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    """Pillow's own font, or for letters beyond Latin-1 the first system font that is there."""
    if not text.isascii():
        try:
            text.encode("latin-1")
        except UnicodeEncodeError:
            for name in FALLBACK_FONTS:
                try:
                    return PIL.ImageFont.truetype(name, size)
                except OSError:
                    continue
    return PIL.ImageFont.load_default(size)

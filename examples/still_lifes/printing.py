"""What is printed on things: book covers, labels, a clock's face. Linear RGB (rows, columns, 3)."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .textures import Random, mix, noise, plane, ramp, rgb, shade

FIRST = ("The", "A", "Last", "Under", "Beyond", "North of", "Letters from", "Notes on", "Return to", "The Other")
SECOND = ("Quiet", "Salt", "Winter", "Glass", "Copper", "Long", "Silver", "Open", "Distant", "Paper")
THIRD = ("Garden", "River", "Season", "House", "Harbour", "Road", "Orchard", "Island", "Window", "Kitchen")
PEOPLE = ("M. Alder", "J. Thorne", "Ida Brandt", "S. Okoro", "Lena Falk", "R. Castell", "A. Moreau", "T. Nakai")
INKS = (
    (178, 54, 40),
    (34, 66, 104),
    (228, 184, 76),
    (46, 88, 70),
    (236, 228, 212),
    (32, 32, 36),
    (206, 120, 96),
    (116, 152, 170),
)


def title(rng: Random) -> tuple[str, str, str]:
    return tuple(str(rng.choice(words)) for words in (FIRST, SECOND, THIRD))


def text_mask(rows: int, columns: int, lines: list[tuple[str, float, float]]) -> np.ndarray:
    """0..1: centred lines of (text, height of its middle in 0..1, size as a share of the width)."""
    image = Image.new("L", (columns, rows))
    draw = ImageDraw.Draw(image)
    for text, middle, size in lines:
        font = ImageFont.load_default(size * columns)
        while draw.textlength(text, font) > 0.86 * columns:
            font = ImageFont.load_default(font.size * 0.92)
        draw.text((columns / 2, middle * rows), text, 255, font, anchor="mm")
    return np.asarray(image, np.float32) / 255


def worn(rng: Random, image: np.ndarray) -> np.ndarray:
    """Faint unevenness, and rubbed edges."""
    rows, columns = image.shape[:2]
    at = plane(10, 10 * rows / columns, 64)
    cloud = cv2.resize(noise(rng, at, 3, 3), (columns, rows), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:rows, :columns]
    edge = np.minimum(np.minimum(x, columns - 1 - x), np.minimum(y, rows - 1 - y)) / columns
    rubbed = 0.35 * np.exp(-edge / 0.008) * (0.6 + 0.4 * cloud).clip(0)
    return mix(image * np.exp(0.05 * cloud)[..., None], rgb(214, 206, 194), rubbed)


def cover(
    rng: Random, rows: int, columns: int, ground: np.ndarray, words: tuple[str, str, str], person: str
) -> np.ndarray:
    """The front of a book: a stamped cloth cover, bold shapes, or a landscape."""
    y, x = np.mgrid[:rows, :columns] / columns
    style = rng.choice(["stamped", "shapes", "landscape"])
    image = np.broadcast_to(ground, (rows, columns, 3)).copy()
    ink = rgb(*INKS[rng.integers(len(INKS))])
    ink = (
        ink if abs(ink.mean() - ground.mean()) > 0.1 else rgb(240, 236, 226) if ground.mean() < 0.3 else rgb(30, 30, 34)
    )
    if style == "shapes":
        for _ in range(int(rng.integers(3, 8))):
            cx, cy, size = rng.uniform(0, 1), rng.uniform(0.5, rows / columns), rng.uniform(0.08, 0.35)
            inside = (
                np.hypot(x - cx, y - cy) < size
                if rng.uniform() < 0.6
                else np.maximum(abs(x - cx), abs(y - cy)) < size * 0.8
            )
            image[inside] = shade(rng, rgb(*INKS[rng.integers(len(INKS))]))
    elif style == "landscape":
        sky = mix(ground, rgb(236, 220, 196), np.clip(y / y.max() * 1.6, 0, 1))
        image = sky
        for layer in range(5):
            along = np.stack([x[0] * 4, np.full(columns, 7.0 * layer), np.zeros(columns)], -1)
            ridge = (0.5 + 0.12 * layer) * y.max() + 0.12 * noise(rng, along, 1.2, 4)
            image = mix(image, shade(rng, ground * (0.8 - 0.14 * layer)), ramp(y - ridge[None], 0, 0.006))
    first, second, third = words
    lines = [(first.upper(), 0.10, 0.09), (f"{second} {third}".upper(), 0.18, 0.14), (person, 0.9, 0.08)]
    image = mix(image, ink, text_mask(rows, columns, lines))
    if style == "stamped":
        frame = np.minimum(np.minimum(x, 1 - x), np.minimum(y, y.max() - y))
        image = mix(image, ink, ramp(abs(frame - 0.06), 0.006, 0.003))
    return worn(rng, image)


def spine(
    rng: Random, rows: int, columns: int, ground: np.ndarray, words: tuple[str, str, str], person: str
) -> np.ndarray:
    """The back of a book, its text along it: (rows, columns) with rows the longer."""
    ink = rgb(236, 228, 206) if ground.mean() < 0.3 else rgb(34, 32, 34)
    mask = text_mask(columns, rows, [(f"{' '.join(words)}   ·   {person}".upper(), 0.5, 0.045)])
    image = mix(np.broadcast_to(ground, (rows, columns, 3)), ink, np.rot90(mask, -1))
    y = np.linspace(0, 1, rows)[:, None] * np.ones(columns)
    bands = ramp(abs(abs(y - 0.5) - 0.44), 0.006, 0.004)
    return worn(rng, mix(image, ink, bands * (rng.uniform() < 0.5)))


def label(rng: Random, columns: int, rows: int) -> np.ndarray:
    """A wine label."""
    ground = rgb(*[(238, 230, 210), (244, 242, 236), (30, 30, 32), (226, 214, 186)][rng.integers(4)])
    ink = rgb(60, 20, 24) if ground.mean() > 0.3 else rgb(206, 176, 110)
    _, second, third = title(rng)
    lines = [
        (second.upper(), 0.2, 0.11),
        (third.upper(), 0.36, 0.11),
        (str(rng.integers(2004, 2022)), 0.78, 0.10),
        ("GRAND VIN", 0.92, 0.04),
    ]
    image = mix(np.broadcast_to(ground, (rows, columns, 3)), ink, text_mask(rows, columns, lines))
    y, x = np.mgrid[:rows, :columns] / columns
    crest = np.hypot(x - 0.5, (y - 0.57 * y.max()) * 1.2)
    image = mix(image, rgb(168, 128, 60), ramp(abs(crest - 0.07), 0.014, 0.01) + 0.8 * ramp(crest, 0.04, 0.035))
    frame = np.minimum(np.minimum(x, 1 - x), np.minimum(y, y.max() - y))
    return worn(rng, mix(image, ink, ramp(abs(frame - 0.03), 0.005, 0.003)))


def clock_face(rng: Random, size: int = 768) -> np.ndarray:
    """Numerals and minute marks on pale enamel."""
    image = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    font, middle = ImageFont.load_default(size * 0.105), size / 2
    for minute in range(60):
        angle = np.deg2rad(6 * minute)
        way = np.array([np.sin(angle), -np.cos(angle)])
        inner = 0.43 if minute % 5 else 0.415
        a, b = middle + size * inner * way, middle + size * 0.455 * way
        draw.line([*a, *b], 255, 3 if minute % 5 else 8)
        if minute % 5 == 0:
            draw.text(tuple(middle + size * 0.345 * way), str(minute // 5 or 12), 255, font, anchor="mm")
    paper = rgb(240, 236, 224) if rng.uniform() < 0.75 else rgb(28, 32, 38)
    ink = rgb(24, 24, 28) if paper.mean() > 0.3 else rgb(232, 226, 206)
    return mix(np.broadcast_to(paper, (size, size, 3)), ink, np.asarray(image, np.float32) / 255)

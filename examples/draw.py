"""Draws the example scenes and the exact visible mask of every object: `python examples/draw.py`.

The objects are Noto Color Emoji (Debian: fonts-noto-color-emoji); the surfaces under them are drawn here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as coco_mask

WIDTH, HEIGHT = 768, 576
SEED = 7
FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
GLYPH_PIXELS = 109
"""The one size at which the font holds its images."""
FINER = 4
"""Objects are drawn this much larger, sharpened, and averaged down."""

Y, X = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
Surface = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Thing:
    """An emoji laid down: the pixel of its middle, its longest side before turning, degrees anticlockwise."""

    name: str
    emoji: str
    x: int
    y: int
    size: int
    turn: float = 0.0
    mirrored: bool = False


@dataclass(frozen=True)
class Scene:
    """A surface and the things on it, the lowest first."""

    surface: Surface
    things: tuple[Thing, ...]


# Surfaces: float32 RGB in 0..1, (HEIGHT, WIDTH, 3).


def wood(rng: np.random.Generator) -> np.ndarray:
    """Oak planks along the width, each with its own tone and grain."""
    edges = np.linspace(0, HEIGHT, 6).round().astype(int)
    tone, light = np.zeros((HEIGHT, WIDTH), np.float32), np.ones((HEIGHT, WIDTH), np.float32)
    for top, bottom in pairwise(edges):
        rows, joint = slice(top, bottom), rng.uniform(0, WIDTH)
        plank = rng.uniform(-1, 1, 2)[(joint < X).astype(int)] + grain(rng)
        tone[rows] = plank[rows]
        light[rows] = (groove(Y - top) * groove(bottom - Y) * groove(X - joint))[rows]
    return blend(rgb(146, 96, 58), rgb(206, 156, 108), 0.5 + 0.24 * tone) * light[..., None]


def grain(rng: np.random.Generator) -> np.ndarray:
    """Growth rings cut lengthwise, and fine fibres."""
    rings = (Y / 26 + 1.6 * noise(rng, 5, 3) + 0.2 * noise(rng, 40, 8)) % 1
    return 1.2 * (rings - 0.5) + 0.35 * noise(rng, 250, 12) + 0.4 * noise(rng, 40, 4)


def groove(distance: np.ndarray) -> np.ndarray:
    """The light left in the gap between two planks."""
    return 1 - 0.55 * np.exp(-((distance / 1.3) ** 2))


def cloth_on_grass(rng: np.random.Generator) -> np.ndarray:
    """A blue gingham cloth, a little askew and a little creased, on a lawn."""
    angle = np.deg2rad(-7)
    along = (X - 330) * np.cos(angle) + (Y - 300) * np.sin(angle) + 3 * noise(rng, 4, 5)
    across = (Y - 300) * np.cos(angle) - (X - 330) * np.sin(angle) + 3 * noise(rng, 4, 5)
    outside = rounded_box(along, across, 330, 262, 10)
    dyed = (stripes(along, 27) + stripes(across, 27)) / 2
    crease = 0.03 * noise(rng, 5, 7)
    hem = 0.12 * np.exp(-(((outside + 7) / 1.2) ** 2))
    cloth = blend(rgb(247, 246, 240), rgb(72, 122, 186), dyed) * (1 + crease - hem)[..., None]
    cover = np.clip(0.5 - outside, 0, 1)
    ground = grass(rng) * (1 - shadow(cover, 5, 7, 0.5)[..., None])
    return blend(ground, cloth, cover)


def stripes(distance: np.ndarray, width: float) -> np.ndarray:
    """0 and 1 in turns, with soft steps."""
    return np.clip(np.sin(distance * np.pi / width) * width / np.pi * 0.8 + 0.5, 0, 1)


def grass(rng: np.random.Generator) -> np.ndarray:
    """Blades over blades, the later the lighter."""
    lawn = np.full((HEIGHT, WIDTH, 3), rgb(52, 96, 38), np.float32)
    count = 12_000
    roots = rng.uniform((0, 0), (WIDTH, HEIGHT + 20), (count, 2))
    tips = roots + rng.normal((0, -13), (5, 4), (count, 2))
    for index, (root, tip) in enumerate(zip(roots, tips, strict=True)):
        colour = blend(rgb(58, 108, 40), rgb(136, 178, 74), np.float32(rng.uniform(0, 0.3) + 0.7 * index / count))
        cv2.line(lawn, root.astype(int).tolist(), tip.astype(int).tolist(), colour.tolist(), 2, cv2.LINE_AA)
    return lawn


def tray(rng: np.random.Generator) -> np.ndarray:
    """The drawer of a tool chest: an enamelled rim around a ribbed rubber mat."""
    outside = rounded_box(X - WIDTH / 2, Y - HEIGHT / 2, WIDTH / 2 - 26, HEIGHT / 2 - 26, 26)
    ribs = 0.035 * (np.sin((X + Y) * np.pi / 8) + np.sin((X - Y) * np.pi / 8))
    mat = rgb(86, 93, 100) * (1 + ribs + 0.02 * noise(rng, 6, 8))[..., None]
    sunken = shadow(np.clip(outside + 0.5, 0, 1), 10, 9, 0.6)
    down, right = np.gradient(rim_height(outside))
    rim = rgb(158, 38, 36) * (1 + 0.9 * (down + right))[..., None]
    return blend(mat * (1 - sunken)[..., None], rim, np.clip(outside + 0.5, 0, 1))


def rim_height(outside: np.ndarray) -> np.ndarray:
    """A rounded step up, a flat, and a rounded step down, by the distance from the mat."""
    return 2 * np.tanh((outside - 4) / 3) - 2 * np.tanh((outside - 24) / 3)


# What surfaces are made of.


def rgb(red: int, green: int, blue: int) -> np.ndarray:
    return np.array([red, green, blue], np.float32) / 255


def blend(under: np.ndarray, over: np.ndarray, weight: np.ndarray) -> np.ndarray:
    weight = weight[..., None]
    return under * (1 - weight) + over * weight


def noise(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Smooth noise around 0 with about rows x columns hills."""
    return cv2.resize(
        rng.normal(size=(rows, columns)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC
    )


def rounded_box(x: np.ndarray, y: np.ndarray, half_width: float, half_height: float, radius: float) -> np.ndarray:
    """Signed distance from the outline, negative inside."""
    x, y = np.abs(x) - half_width + radius, np.abs(y) - half_height + radius
    return np.hypot(x.clip(0), y.clip(0)) + np.maximum(x, y).clip(max=0) - radius


def shadow(cover: np.ndarray, reach: float, blur: float, depth: float) -> np.ndarray:
    """How much light ``cover`` takes from what lies under it, with the lamp at the upper left."""
    moved = shift(cover, reach * 0.7, reach)
    return cv2.GaussianBlur(moved, (0, 0), blur) * depth


def shift(layer: np.ndarray, right: float, down: float) -> np.ndarray:
    return cv2.warpAffine(layer, np.float32([[1, 0, right], [0, 1, down]]), (WIDTH, HEIGHT))


def lamp() -> np.ndarray:
    """Light from the upper left, falling off gently."""
    distance = np.hypot(X / WIDTH - 0.32, (Y / HEIGHT - 0.22) * HEIGHT / WIDTH)
    return (1.06 - 0.42 * distance**1.6)[..., None].astype(np.float32)


# Things.


def cutout(emoji: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """The emoji's image, cropped: float32 RGBA in 0..1, colours times alpha, as Pillow draws it over nothing."""
    canvas = Image.new("RGBA", (2 * GLYPH_PIXELS, 2 * GLYPH_PIXELS))
    ImageDraw.Draw(canvas).text((0, 0), emoji, font=font, embedded_color=True)
    return np.asarray(canvas.crop(canvas.getchannel("A").getbbox()), np.float32) / 255


def lay(thing: Thing, image: np.ndarray) -> np.ndarray:
    """The thing alone, in place: (HEIGHT, WIDTH, 4), colours times alpha."""
    if thing.mirrored:
        image = image[:, ::-1]
    height, width = image.shape[:2]
    side = int(thing.size * 1.5)
    scale = FINER * thing.size / max(height, width)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), thing.turn, scale)
    matrix[:, 2] += (FINER * side - np.array([width, height])) / 2
    large = cv2.warpAffine(image, matrix, (FINER * side, FINER * side), flags=cv2.INTER_CUBIC)
    small = cv2.resize(crisp(large), (side, side), interpolation=cv2.INTER_AREA)
    return shift(small, thing.x - side // 2, thing.y - side // 2)


def crisp(image: np.ndarray) -> np.ndarray:
    """Steepens the edges that enlarging made soft: every pixel takes its darkest or lightest neighbour, the nearer."""
    smooth = cv2.GaussianBlur(image, (0, 0), FINER / 2)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (FINER + 1, FINER + 1))
    low, high = cv2.erode(smooth, around), cv2.dilate(smooth, around)
    return np.where(high - smooth < smooth - low, high, low).clip(0, 1)


def draw(scene: Scene, font: ImageFont.FreeTypeFont) -> tuple[np.ndarray, list[np.ndarray]]:
    """uint8 RGB pixels, and each thing's visible mask."""
    pixels = scene.surface(np.random.default_rng(SEED))
    masks: list[np.ndarray] = []
    for thing in scene.things:
        layer = lay(thing, cutout(thing.emoji, font))
        colour, alpha = layer[..., :3], layer[..., 3]
        far, near = shadow(alpha, 0.05 * thing.size, 0.05 * thing.size, 0.42), shadow(alpha, 2, 2.5, 0.3)
        pixels = pixels * ((1 - far) * (1 - near) * (1 - alpha))[..., None] + colour
        visible = (alpha * 255).round() > 127
        masks = [mask & ~visible for mask in masks] + [visible]
    return (pixels * lamp() * 255).clip(0, 255).round().astype(np.uint8), masks


def describe(thing: Thing, mask: np.ndarray) -> dict:
    """The thing's name and where it shows, as plain values; the box's x2 and y2 are just outside."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    x, y, width, height = map(int, coco_mask.toBbox(rle))
    return {
        "name": thing.name,
        "box": [x, y, x + width, y + height],
        "area": int(mask.sum()),
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()},
    }


SCENES = {
    "desk": Scene(
        wood,
        (
            Thing("cactus", "🌵", 116, 122, 200, -6),
            Thing("laptop", "💻", 374, 150, 240, 4),
            Thing("camera", "📷", 636, 112, 172, -9),
            Thing("hot beverage", "☕", 146, 322, 150),
            Thing("notebook", "📓", 606, 316, 188, -12),
            Thing("key", "🔑", 636, 470, 140, 8),
            Thing("alarm clock", "⏰", 352, 338, 118, 6),
            Thing("red apple", "🍎", 92, 484, 106, 8),
            Thing("artist palette", "🎨", 264, 470, 150, 8),
            Thing("mobile phone", "📱", 444, 456, 168, 10),
        ),
    ),
    "picnic": Scene(
        cloth_on_grass,
        (
            Thing("basket", "🧺", 148, 142, 226, 4),
            Thing("baguette bread", "🥖", 374, 126, 200, -12),
            Thing("cheese wedge", "🧀", 536, 226, 142, -8),
            Thing("soccer ball", "⚽", 682, 92, 122, 10),
            Thing("sandwich", "🥪", 318, 302, 166, -6),
            Thing("grapes", "🍇", 120, 330, 158, 12),
            Thing("watermelon", "🍉", 474, 426, 222, 8),
            Thing("beverage box", "🧃", 668, 336, 160, -8),
            Thing("strawberry", "🍓", 352, 480, 100, -14),
            Thing("croissant", "🥐", 164, 482, 128, 8),
        ),
    ),
    "toolbox": Scene(
        tray,
        (
            Thing("hammer", "🔨", 156, 152, 206, -2),
            Thing("carpentry saw", "🪚", 384, 158, 228, 3),
            Thing("magnet", "🧲", 634, 128, 138, -12),
            Thing("axe", "🪓", 630, 326, 204, 3, mirrored=True),
            Thing("flashlight", "🔦", 142, 402, 190, 3),
            Thing("straight ruler", "📏", 232, 366, 156, -2),
            Thing("screwdriver", "🪛", 296, 340, 166, 0),
            Thing("wrench", "🔧", 432, 378, 198, 2),
            Thing("nut and bolt", "🔩", 324, 460, 98, 10),
            Thing("battery", "🔋", 640, 480, 96, -14),
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    parser.add_argument("--font", default=FONT, help="path of NotoColorEmoji.ttf")
    options = parser.parse_args()
    font = ImageFont.truetype(options.font, GLYPH_PIXELS)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, scene in SCENES.items():
        pixels, masks = draw(scene, font)
        objects = [describe(thing, mask) for thing, mask in zip(scene.things, masks, strict=True)]
        Image.fromarray(pixels).save(options.out / f"{name}.png", optimize=True)
        truth = {"image": f"{name}.png", "width": WIDTH, "height": HEIGHT, "objects": objects}
        (options.out / f"{name}.json").write_text(json.dumps(truth, indent=1) + "\n")


if __name__ == "__main__":
    main()

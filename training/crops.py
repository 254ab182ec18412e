"""Training crops: cut-outs redrawn in random hands, warped, half hidden, badly masked, on grey."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from training.packs import Packs
from training.restyle import (
    SIDE,
    Drawing,
    colour_matrix,
    degrade,
    draw_outline,
    flatten,
    outline_map,
    prepare,
    shade,
)

GREY = 128
STYLE_SHARES = {"noto": 0.45, "fluent3d": 0.275, "fluentflat": 0.275}
BACKDROP_SIDE = 160
LEAST_VISIBLE = 0.12
NOTHING_SHARE = 0.12


@dataclass(frozen=True)
class Recipe:
    """How probable each alteration is."""

    flatten: float = 0.0
    outline: float = 0.0
    recolour: float = 0.0
    shade: float = 0.0
    distort: float = 0.0
    flip: float = 0.0
    cut_away: float = 0.1
    occlude: float = 0.15
    rough_mask: float = 0.5
    grey: float = 1.0
    degrade: float = 0.1


MILD = Recipe()
STRONG = Recipe(
    flatten=0.4,
    outline=0.45,
    recolour=0.65,
    shade=0.15,
    distort=0.5,
    flip=0.4,
    cut_away=0.2,
    occlude=0.6,
    rough_mask=0.45,
    grey=0.65,
    degrade=0.4,
)


class Studio:
    """Holds the prepared drawings and makes crops of them."""

    def __init__(self, packs: Packs, styles: tuple[str, ...]) -> None:
        self.codes = [concept.code for concept in packs.concepts()]
        self.names = {concept.code: concept.name for concept in packs.concepts()}
        self.drawings = {
            style: {code: prepare(cutout) for code, cutout in packs.cutouts(style).items()} for style in styles
        }
        self.backdrops = [_at_most(image, BACKDROP_SIDE) for image in packs.backgrounds()]

    def crop(self, style: str, code: str, size: int, recipe: Recipe, rng: random.Random) -> np.ndarray:
        """One crop of one concept, size size 3 uint8."""
        seed = np.random.default_rng(rng.getrandbits(32))
        drawing = self.drawings[style][code]
        mirrored = rng.random() < recipe.flip and not _has_a_side(self.names[code])
        placement, kept = _placement(drawing.hull, size, mirrored, recipe, rng)
        pixels = _render(drawing, placement, size, recipe, rng)
        scene = self._backdrop(size, rng)
        fill = _fill(scene, recipe, rng)
        visible = pixels[..., 3] * (1 / 255)
        scene = scene * (1 - visible[..., None]) + pixels[..., :3]
        if kept is not None:
            visible = visible * kept
        elif rng.random() < recipe.occlude:
            whole = visible
            for _ in range(rng.choice((1, 1, 2, 3))):
                scene, visible = self._occlude(scene, visible, whole, style, rng)
            scene, visible = _focus(scene, visible, rng)
        if fill is not None:
            mask = _rough(visible, rng, seed) if rng.random() < recipe.rough_mask else visible
            scene = fill + mask[..., None] * (scene - fill)
        image = scene.clip(0, 255).astype(np.uint8)
        return degrade(image, rng, seed) if rng.random() < recipe.degrade else image

    def _backdrop(self, size: int, rng: random.Random) -> np.ndarray:
        image = rng.choice(self.backdrops)
        height, width = image.shape[:2]
        side = rng.randint(40, min(height, width))
        top, left = rng.randint(0, height - side), rng.randint(0, width - side)
        patch = image[top : top + side, left : left + side]
        return cv2.resize(patch, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32)

    def nothing(self, size: int, rng: random.Random) -> np.ndarray:
        """A crop of a background, mostly cut out as a blob on grey, size size 3 uint8."""
        seed = np.random.default_rng(rng.getrandbits(32))
        scene = self._backdrop(size, rng)
        if rng.random() < STRONG.recolour:
            scene = np.clip(cv2.transform(scene, colour_matrix(rng)[:3]), 0, 255)
        fill = _fill(scene, STRONG, rng)
        if fill is not None:
            cells = rng.randint(2, 5)
            field = seed.standard_normal((cells, cells), np.float32)
            blob = cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
            mask = ((blob + rng.uniform(-0.2, 0.8)) * 8).clip(0, 1)
            scene = fill + mask * (scene - fill)
        image = scene.clip(0, 255).astype(np.uint8)
        return degrade(image, rng, seed) if rng.random() < STRONG.degrade else image

    def _occlude(self, scene: np.ndarray, visible: np.ndarray, whole: np.ndarray, style: str, rng: random.Random):
        size = len(scene)
        other = rng.choice(list(self.drawings[style].values()))
        scale = size / SIDE * math.exp(rng.uniform(math.log(0.35), math.log(1.8)))
        reach = rng.uniform(0.3, 0.5 + scale * SIDE / size / 2)
        turn = rng.uniform(0, 2 * math.pi)
        centre = (0.5 + reach * np.array((math.cos(turn), math.sin(turn)))) * size
        affine = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), rng.uniform(-25, 25), scale)
        affine[:, 2] += centre - SIDE / 2
        above = cv2.warpAffine(other.pixels, affine, (size, size)).astype(np.float32)
        uncovered = 1 - above[..., 3] * (1 / 255)
        remaining = visible * uncovered
        if remaining.sum() < LEAST_VISIBLE * whole.sum():
            return scene, visible
        return scene * uncovered[..., None] + above[..., :3], remaining


class CropBatches(IterableDataset):
    """Endless batches: B 3 S S uint8 pixels in channels-last order, and the B concepts: distinct, then -1 (nothing)."""

    def __init__(self, studio: Studio, size: int, batch: int, seed: int, recipe: Recipe = STRONG) -> None:
        self.studio, self.size, self.batch, self.seed, self.recipe = studio, size, batch, seed, recipe

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        rng = random.Random(f"{self.seed} {worker.id if worker else 0}")
        cv2.setNumThreads(0)
        while True:
            yield self.draw(rng)

    def draw(self, rng: random.Random) -> tuple[Tensor, Tensor]:
        studio = self.studio
        nothing = int(NOTHING_SHARE * self.batch)
        concepts = rng.sample(range(len(studio.codes)), self.batch - nothing)
        styles = rng.choices(list(STYLE_SHARES), list(STYLE_SHARES.values()), k=len(concepts))
        crops = np.empty((self.batch, self.size, self.size, 3), np.uint8)
        for row, (concept, style) in enumerate(zip(concepts, styles, strict=True)):
            code = studio.codes[concept]
            style = style if code in studio.drawings[style] else "noto"
            crops[row] = studio.crop(style, code, self.size, self.recipe, rng)
        for row in range(len(concepts), self.batch):
            crops[row] = studio.nothing(self.size, rng)
        return torch.from_numpy(crops).permute(0, 3, 1, 2), torch.tensor(concepts + [-1] * nothing)


def _render(drawing: Drawing, placement: np.ndarray, size: int, recipe: Recipe, rng: random.Random) -> np.ndarray:
    flat = rng.random() < recipe.flatten
    source = flatten(drawing, rng) if flat else drawing.pixels
    lined = rng.random() < (min(1.0, 1.6 * recipe.outline) if flat else 0.7 * recipe.outline)
    lines = outline_map(drawing, rng) if lined else None
    if abs(np.linalg.det(placement[:2, :2])) < 0.4:
        half = np.diag([2.0, 2.0, 1.0])
        half[:2, 2] = 0.5
        placement = placement @ half
        source = cv2.resize(source, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        lines = None if lines is None else cv2.resize(lines, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    warp = _elastic(placement, size, rng) if rng.random() < 0.3 * recipe.distort else None
    pixels = _warp(source, placement, size, warp).astype(np.float32)
    if lines is not None:
        pixels = draw_outline(pixels, _warp(lines, placement, size, warp), rng)
    if rng.random() < recipe.recolour:
        pixels = cv2.transform(pixels, colour_matrix(rng))
        np.clip(pixels, 0, pixels[..., 3:], out=pixels)
    if rng.random() < recipe.shade:
        pixels = shade(pixels, rng)
    return pixels


def _placement(hull: np.ndarray, size: int, mirrored: bool, recipe: Recipe, rng: random.Random):
    """The 3x3 map from drawing to crop, and what remains after a straight cut (size size, or None)."""
    turn = np.radians(rng.uniform(-28, 28))
    stretch, shear, tilt = 1.0, 0.0, (0.0, 0.0)
    if rng.random() < recipe.distort:
        stretch, shear = np.exp(rng.gauss(0, 0.12)), rng.gauss(0, 0.1)
        tilt = rng.gauss(0, 0.0009), rng.gauss(0, 0.0009)
        turn *= 2 if rng.random() < 0.2 else 1
    cosine, sine = np.cos(turn), np.sin(turn)
    rotate = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    skew = np.array([[-stretch if mirrored else stretch, shear, 0], [0, 1 / stretch, 0], [*tilt, 1]])
    centre = np.array([[1, 0, -SIDE / 2], [0, 1, -SIDE / 2], [0, 0, 1]])
    posed = rotate @ skew @ centre
    x, y, width, height = cv2.boundingRect(cv2.perspectiveTransform(hull, posed))
    box = [x, y, x + width, y + height]
    edge = rng.randrange(4) if rng.random() < recipe.cut_away else None
    if edge is not None:
        box[edge] += rng.uniform(0.1, 0.45) * (width, height)[edge % 2] * (1 if edge < 2 else -1)
    side = max(box[2] - box[0], box[3] - box[1]) * rng.uniform(1.02, 1.32)
    corner = [(box[axis] + box[axis + 2] - side) / 2 + rng.gauss(0, 0.02) * side for axis in (0, 1)]
    scale = size / side
    window = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale], [0, 0, 1]])
    if edge is None:
        return window @ posed, None
    axis, position = edge % 2, (box[edge] - corner[edge % 2]) * scale
    return window @ posed, _beyond(size, axis, position, rng.gauss(0, 0.25), edge < 2)


def _beyond(size: int, axis: int, position: float, slope: float, after: bool) -> np.ndarray:
    along = np.arange(size, dtype=np.float32)
    line = position + slope * (along - size / 2)
    inside = (along[None] - line[:, None]) if axis == 0 else (along[:, None] - line[None])
    return ((inside if after else -inside) + 0.5).clip(0, 1)


def _elastic(placement: np.ndarray, size: int, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Where each crop pixel comes from in the drawing, with a smooth random displacement."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    seed = np.random.default_rng(rng.getrandbits(32))
    bend = cv2.resize(seed.standard_normal((4, 4, 2), np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    grid = np.dstack([columns, rows]) + bend * (0.03 * size)
    back = cv2.perspectiveTransform(grid, np.linalg.inv(placement))
    return back[..., 0], back[..., 1]


def _warp(source: np.ndarray, placement: np.ndarray, size: int, warp) -> np.ndarray:
    if warp is None:
        return cv2.warpPerspective(source, placement, (size, size))
    return cv2.remap(source, *warp, cv2.INTER_LINEAR)


def _focus(scene: np.ndarray, visible: np.ndarray, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Enlarge what is still visible to fill the crop, as the box of its mask would be cut."""
    size = len(scene)
    x, y, width, height = cv2.boundingRect((visible > 0.5).astype(np.uint8))
    side = max(width, height) * rng.uniform(1.08, 1.32)
    if not 0 < side < 0.9 * size:
        return scene, visible
    scale = size / side
    corner = np.array([x + (width - side) / 2, y + (height - side) / 2])
    window = np.column_stack([np.eye(2) * scale, -corner * scale])
    larger = cv2.warpAffine(scene, window, (size, size), borderMode=cv2.BORDER_REPLICATE)
    return larger, cv2.warpAffine(visible, window, (size, size))


def _rough(visible: np.ndarray, rng: random.Random, seed: np.random.Generator) -> np.ndarray:
    """A mask like a small SAM's: the visible part, grown here and shrunk there by a smooth field."""
    size = len(visible)
    soft = cv2.GaussianBlur(visible, (0, 0), size / 64 * rng.uniform(0.6, 2.2))
    cells = rng.randint(3, 8)
    field = cv2.resize(seed.standard_normal((cells, cells), np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    level = rng.uniform(0.25, 0.7) + rng.uniform(0, 0.22) * field
    return ((soft - level) * rng.choice((4, 12)) + 0.5).clip(0, 1)


def _fill(scene: np.ndarray, recipe: Recipe, rng: random.Random) -> np.ndarray | None:
    """What replaces the pixels outside the mask: grey, blur, a colour, or None for the scene itself."""
    if rng.random() < recipe.grey:
        return np.full(3, GREY, np.float32)
    kind = rng.random()
    if kind < 0.3:
        return None
    if kind < 0.55:
        return cv2.GaussianBlur(scene, (0, 0), len(scene) / 10)
    if kind < 0.75:
        return np.full(3, 255, np.float32)
    if kind < 0.82:
        return np.zeros(3, np.float32)
    return np.array([rng.uniform(0, 255) for _ in range(3)], np.float32)


def _has_a_side(name: str) -> bool:
    return "left" in name or "right" in name


def _at_most(image: np.ndarray, side: int) -> np.ndarray:
    scale = min(1.0, side / min(image.shape[:2]))
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

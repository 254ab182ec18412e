"""Scenes composited on the fly from cut-outs, textured shapes and backgrounds, with every object's visible mask."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from training.packs import TRAINING_STYLES, Packs

UNLABELLED = -1
"""What pixels are in a scene's instances that nobody outlined: maybe an object, maybe none."""


@dataclass(frozen=True)
class Scene:
    """One composited image.

    ``pixels`` is uint8 RGB (H, W, 3); ``instances`` is int16 (H, W): 0 where the background shows, `UNLABELLED`, or
    i + 1 where object i does; ``codes[i]`` is the concept of object i, or None for a shape without a name.
    """

    pixels: np.ndarray
    instances: np.ndarray
    codes: tuple[str | None, ...]

    def mask(self, index: int) -> np.ndarray:
        """The visible part of object ``index``, bool (H, W)."""
        return self.instances == index + 1


@dataclass(frozen=True)
class Recipe:
    """What scenes are made of; sizes are shares of the short side, angles are degrees."""

    styles: tuple[str, ...] = TRAINING_STYLES
    objects: tuple[int, int] = (3, 10)
    size: tuple[float, float] = (0.08, 0.55)
    angle: float = 35.0
    restyle: float = 0.4
    """Probability that a cut-out is redrawn: outlined, flattened, recoloured."""
    shapes: float = 0.2
    """Probability that an object is a textured shape instead of a cut-out."""
    swarm: float = 0.08
    """Probability that a scene gets a swarm of small shapes."""
    degrade: float = 0.5
    """Probability of each of blur, noise and a light gradient over the whole image."""
    shadow: float = 0.4
    margin: float = 0.35
    """Share of an object's box that stays inside the image on each side of its middle; 0.5 is all of it."""
    codes: frozenset[str] = frozenset()
    """Only these concepts; all where it is empty."""


TRAINING = Recipe()
MEASURED = Recipe(
    objects=(4, 9),
    size=(0.14, 0.42),
    angle=25.0,
    restyle=0.0,
    shapes=0.0,
    swarm=0.0,
    degrade=0.0,
    shadow=0.0,
    margin=0.5,
)


@dataclass
class Compositor:
    """Draws one scene after another from a recipe; the same generator state gives the same scene."""

    packs: Packs
    recipe: Recipe = TRAINING
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    single_things: tuple[np.ndarray, ...] = ()
    """Further cut-outs, without a concept; half of all objects where there are any."""

    def __post_init__(self) -> None:
        self._cutouts: list[tuple[str | None, np.ndarray]] = [
            (code, image)
            for style in self.recipe.styles
            for code, image in self.packs.cutouts(style).items()
            if not self.recipe.codes or code in self.recipe.codes
        ]
        self._backgrounds = self.packs.backgrounds()

    def scene(self, height: int, width: int) -> Scene:
        """A fresh scene of height x width pixels."""
        rng, recipe = self.rng, self.recipe
        pixels = self._background(height, width)
        instances = np.zeros((height, width), np.int16)
        codes: list[str | None] = []
        if rng.random() < recipe.swarm:
            shape = self._shape()
            for _ in range(rng.integers(6, 25)):
                size = rng.uniform(0.03, 0.1) * min(height, width)
                codes.append(None)
                self._paste(pixels, instances, shape, size, len(codes))
        for _ in range(rng.integers(recipe.objects[0], recipe.objects[1] + 1)):
            code, image = (None, self._shape()) if rng.random() < recipe.shapes else self._cutout()
            size = np.exp(rng.uniform(*np.log(recipe.size))) * min(height, width)
            codes.append(code)
            self._paste(pixels, instances, image, size, len(codes))
        return Scene(self._degrade(pixels), instances, tuple(codes))

    def paste_one(self, pixels: np.ndarray, instances: np.ndarray, label: int) -> None:
        """Lay one more object on an image, in place."""
        size = np.exp(self.rng.uniform(*np.log(self.recipe.size))) * min(instances.shape)
        self._paste(pixels, instances, self._cutout()[1], size, label)

    def _cutout(self) -> tuple[str | None, np.ndarray]:
        code: str | None
        if self.single_things and (not self._cutouts or self.rng.random() < 0.5):
            code, image = None, self.single_things[self.rng.integers(len(self.single_things))]
        else:
            code, image = self._cutouts[self.rng.integers(len(self._cutouts))]
        if self.rng.random() < 0.5:
            image = image[:, ::-1]
        if self.rng.random() < self.recipe.restyle:
            image = restyle(image, self.rng)
        return code, image

    def _background(self, height: int, width: int) -> np.ndarray:
        """A crop of a background, or two of them blended, scaled to fill; sometimes a plain colour."""
        rng = self.rng
        if rng.random() < 0.08:
            colour = rng.integers(0, 256, 3)
            return np.ascontiguousarray(np.broadcast_to(colour, (height, width, 3)).astype(np.uint8))
        image = self._texture(height, width)
        if self.recipe.restyle and rng.random() < 0.3:
            image = jitter(image, rng)
        return image

    def _texture(self, height: int, width: int) -> np.ndarray:
        rng = self.rng
        source = self._backgrounds[rng.integers(len(self._backgrounds))]
        if source.shape[0] < 200 and rng.random() < 0.6:
            source = np.tile(source, (2, 2, 1))
        window = rng.uniform(0.5, 1.0) * min(source.shape[0], source.shape[1] * height / width)
        wide = min(source.shape[1], int(window * width / height))
        top = rng.integers(source.shape[0] - int(window) + 1)
        left = rng.integers(source.shape[1] - wide + 1)
        crop = source[top : top + int(window), left : left + wide]
        return cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR)

    def _shape(self) -> np.ndarray:
        """A textured blob or polygon as a 96 x 96 RGBA cut-out."""
        rng, side = self.rng, 96
        corners = rng.integers(3, 12)
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if rng.random() < 0.5 else None
        if angles is None:
            turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
            radius = 1 + sum(
                rng.uniform(0, 0.5 / k) * np.sin(k * turns + rng.uniform(0, 2 * np.pi)) for k in range(1, 6)
            )
            angles, radius = turns, radius / radius.max()
        else:
            radius = rng.uniform(0.4, 1.0, corners)
        stretch = rng.uniform(0.3, 1.0)
        outline = np.stack([radius * np.cos(angles), stretch * radius * np.sin(angles)], 1) * 45 + 48
        alpha = np.zeros((side, side), np.uint8)
        cv2.fillPoly(alpha, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        fill = self._texture(side, side) if rng.random() < 0.6 else np.full((side, side, 3), 128, np.uint8)
        return np.dstack([jitter(fill, rng), alpha])

    def _paste(self, pixels: np.ndarray, instances: np.ndarray, rgba: np.ndarray, size: float, label: int) -> None:
        """Draw ``rgba`` with its longest visible side ``size`` pixels long, at a random position and angle."""
        rng = self.rng
        height, width = instances.shape
        rows, columns = np.flatnonzero((rgba[..., 3] > 127).any(1)), np.flatnonzero((rgba[..., 3] > 127).any(0))
        if not len(rows):
            return
        scale = size / max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        if scale < 0.5:
            rgba = cv2.resize(rgba, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            rows, columns, scale = rows / 2, columns / 2, scale * 2
        stretch = np.exp(rng.uniform(-0.15, 0.15)) if self.recipe.restyle else 1.0
        turn = np.deg2rad(rng.uniform(-self.recipe.angle, self.recipe.angle))
        matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = matrix @ np.diag([stretch, 1 / stretch])
        corners = np.array([(x, y) for x in columns[[0, -1]] for y in rows[[0, -1]]]) @ matrix.T
        low = np.floor(corners.min(0)) - 2
        box = np.ceil(corners.max(0) - low).astype(int) + 2
        patch = cv2.warpAffine(rgba, np.column_stack([matrix, -low]), box.tolist(), flags=cv2.INTER_LINEAR)

        free = np.array([width, height]) - 2 * self.recipe.margin * box
        middle = np.array([width, height]) / 2 + rng.uniform(-0.5, 0.5, 2) * np.maximum(free, 1)
        x, y = (middle - box / 2).astype(int)
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + box[0], width), min(y + box[1], height)
        patch = patch[top - y : bottom - y, left - x : right - x]
        target = pixels[top:bottom, left:right]
        if rng.random() < self.recipe.shadow:
            blur = 2 * int(1 + size * rng.uniform(0.02, 0.1)) + 1
            shade = np.roll(cv2.blur(patch[..., 3], (blur, blur)), int(size * rng.uniform(0.0, 0.08)), axis=0)
            _blend(target, np.zeros_like(target), (shade * rng.uniform(0.2, 0.6)).astype(np.uint8))
        _blend(target, patch[..., :3], patch[..., 3])
        instances[top:bottom, left:right][patch[..., 3] > 127] = label

    def _degrade(self, pixels: np.ndarray) -> np.ndarray:
        rng, chance = self.rng, self.recipe.degrade
        height, width = pixels.shape[:2]
        if rng.random() < chance * 0.5:
            pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.2))
        if rng.random() < chance:
            ramp = np.linspace(*rng.uniform(0.6, 1.2, 2), width if rng.random() < 0.5 else height)
            ramp = ramp[None, :, None] if len(ramp) == width else ramp[:, None, None]
            full = np.broadcast_to(ramp.astype(np.float32), pixels.shape)
            pixels = cv2.multiply(pixels, full, dtype=cv2.CV_8U)
        if rng.random() < chance:
            noise = np.roll(_grain(height, width), rng.integers(0, 1000), axis=(0, 1))
            pixels = cv2.add(pixels, noise * rng.uniform(1, 12), dtype=cv2.CV_8U)
        return pixels


def _blend(target: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> None:
    """Lay ``colour`` over ``target``, in place."""
    weight = alpha.astype(np.float32) * (1 / 255)
    target[:] = cv2.blendLinear(np.ascontiguousarray(colour), np.ascontiguousarray(target), weight, 1 - weight)


@lru_cache
def _grain(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((height, width, 3), np.float32)


def jitter(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random hue, saturation, contrast and brightness; uint8 RGB in and out."""
    hsv = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV)
    table = np.arange(256)
    hue = ((table + rng.integers(0, 180)) % 180).astype(np.uint8)
    saturation = np.clip(table * rng.uniform(0.2, 1.6), 0, 255).astype(np.uint8)
    value = np.clip((table - 128) * rng.uniform(0.5, 1.3) + 128 + rng.uniform(-60, 60), 0, 255).astype(np.uint8)
    hsv = np.dstack([cv2.LUT(hsv[..., i], t) for i, t in enumerate((hue, saturation, value))])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def restyle(rgba: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Redraw a cut-out in another hand: recoloured, flattened to few tones, outlined in a dark or light line."""
    rgb, alpha = np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    if rng.random() < 0.6:
        rgb = jitter(rgb, rng)
    if rng.random() < 0.3:
        step = rng.integers(32, 96)
        rgb = (cv2.medianBlur(rgb, 5) // step * step + step // 2).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        rgb = cv2.addWeighted(rgb, 0.3, np.full_like(rgb, 255), 0.7, 0)
    if rng.random() < 0.6:
        width = int(rng.integers(1, 5))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
        grown = cv2.dilate(alpha, kernel)
        tones = cv2.medianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), 3)
        edges = cv2.morphologyEx(tones, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > rng.integers(20, 60)
        line = edges & (alpha > 127) & (rng.random() < 0.6)
        line |= (alpha < 128) & (grown > 127)
        colour = rng.integers(0, 50, 3) if rng.random() < 0.8 else rng.integers(0, 256, 3)
        rgb = np.where(line[..., None], colour.astype(np.uint8), rgb)
        alpha = grown
    return np.dstack([rgb, alpha])

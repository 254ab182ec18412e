"""One drawing in many hands: flat fills, outlines, other colours, textures, worn pixels."""

from __future__ import annotations

import random
from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 144
INNER = 128
REGIONS = 7
ALL_EDGES = 255


@dataclass(frozen=True)
class Drawing:
    """A cut-out prepared for redrawing, padded to ``SIDE`` so that outlines fit around it.

    With S = ``SIDE``: ``pixels`` S S 4, colours times alpha; ``regions`` S S: rows of ``palette``, 0 outside;
    ``palette`` REGIONS+1 4; ``edges`` S S: the strength of each colour step; ``hull`` N 1 2: x, y.
    """

    pixels: np.ndarray
    regions: np.ndarray
    palette: np.ndarray
    edges: np.ndarray
    hull: np.ndarray


def prepare(cutout: np.ndarray) -> Drawing:
    """H W 4 straight RGBA -> a drawing."""
    pad = (SIDE - INNER) // 2
    premultiplied = np.dstack([cutout[..., :3] * (cutout[..., 3:] / 255.0), cutout[..., 3]]).astype(np.float32)
    resized = cv2.resize(premultiplied, (INNER, INNER), interpolation=cv2.INTER_LINEAR)
    pixels = cv2.copyMakeBorder(resized, pad, pad, pad, pad, cv2.BORDER_CONSTANT).round().astype(np.uint8)
    inside = pixels[..., 3] > 127
    regions, palette = _segment(pixels, inside)
    points = cv2.findNonZero((pixels[..., 3] > 40).astype(np.uint8))
    hull = cv2.convexHull(points).astype(np.float32)
    return Drawing(pixels, regions, palette, _edge_strength(regions, palette), hull)


def _segment(pixels: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    smooth = cv2.medianBlur(np.ascontiguousarray(pixels[..., :3]), 3)
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).astype(np.float32)
    samples = lab[inside]
    few = samples[:: max(1, len(samples) // 1500)]
    count = min(REGIONS, len(np.unique(few, axis=0)))
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 8, 1.0)
    cv2.setRNGSeed(0)
    _, _, centres = cv2.kmeans(few, count, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    nearest = (-2 * lab @ centres.T + (centres**2).sum(1)).argmin(-1).astype(np.uint8) + 1
    regions = cv2.medianBlur(np.where(inside, nearest, 0).astype(np.uint8), 5)
    palette = np.zeros((REGIONS + 1, 4), np.uint8)
    colours = cv2.cvtColor(centres[None].round().clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)[0]
    palette[1 : count + 1, :3] = colours
    palette[1:, 3] = 255
    return regions, palette


def _edge_strength(regions: np.ndarray, palette: np.ndarray) -> np.ndarray:
    colours = palette.astype(np.float32)
    distance = np.linalg.norm((colours[:, None] - colours[None])[..., :3], axis=-1).clip(0, 254)
    distance[0, 1:] = distance[1:, 0] = ALL_EDGES
    strength = np.zeros(regions.shape, np.float32)
    for axis in (0, 1):
        before, after = (regions[:-1], regions[1:]) if axis == 0 else (regions[:, :-1], regions[:, 1:])
        step = distance[before, after]
        target = strength[:-1] if axis == 0 else strength[:, :-1]
        np.maximum(target, step, out=target)
    return strength.astype(np.uint8)


def flatten(drawing: Drawing, rng: random.Random) -> np.ndarray:
    """SIDE SIDE 4: the drawing as flat fills of true, pale, posterised, invented or no colours."""
    palette = drawing.palette.astype(np.float32)
    colours = palette[1:, :3]
    manner = rng.random()
    if manner < 0.3:
        pass
    elif manner < 0.5:
        colours += (255 - colours) * rng.uniform(0.3, 0.8)
    elif manner < 0.7:
        step = rng.choice((64, 85, 128))
        colours[:] = (colours / step).round() * step
    elif manner < 0.85:
        colours += np.array([[rng.gauss(0, 45) for _ in range(3)] for _ in colours])
    else:
        colours[:] = rng.choice((255, 255, 245, 220))
    packed = palette.clip(0, 255).astype(np.uint8).view(np.uint32)[:, 0]
    return packed[drawing.regions].view(np.uint8).reshape(SIDE, SIDE, 4)


def outline_map(drawing: Drawing, rng: random.Random) -> np.ndarray:
    """SIDE SIDE: the drawing's lines, of random width and detail, as coverage from 0 to 255."""
    threshold = rng.choice((20, 40, 60, 90, 140, 254))
    lines = (drawing.edges > threshold).astype(np.uint8) * 255
    width = rng.choice((2, 2, 3, 4, 4, 5, 5, 6, 7))
    return cv2.dilate(lines, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))


def draw_outline(pixels: np.ndarray, lines: np.ndarray, rng: random.Random) -> np.ndarray:
    """Lay lines S S over premultiplied S S 4: mostly black, sometimes dark, white, or any colour."""
    kind = rng.random()
    if kind < 0.6:
        colour = [rng.uniform(0, 25)] * 3
    elif kind < 0.85:
        colour = [rng.uniform(0, 90) for _ in range(3)]
    elif kind < 0.92:
        colour = [rng.uniform(225, 255)] * 3
    else:
        colour = [rng.uniform(0, 255) for _ in range(3)]
    coverage = lines.astype(np.float32)[..., None] * (1 / 255)
    return pixels + coverage * (np.array([*colour, 255], np.float32) - pixels)


def colour_matrix(rng: random.Random) -> np.ndarray:
    """4x4 for premultiplied RGBA: hue, saturation, contrast, brightness, at times swaps or inversion."""
    kind = rng.random()
    spread, saturation = (0.06, rng.uniform(0.8, 1.2)) if kind < 0.65 else (0.25, rng.uniform(0.3, 1.6))
    matrix = _hue_rotation(rng.gauss(0, spread) * np.pi, 0.0 if kind > 0.9 else saturation)
    if 0.82 < kind < 0.87:
        matrix = matrix[rng.sample(range(3), 3)]
    contrast = rng.uniform(0.7, 1.3)
    shift = rng.gauss(0, 0.08) + 0.5 * (1 - contrast)
    if 0.87 < kind < 0.92:
        contrast, shift = -contrast, 1 - shift
    out = np.eye(4, dtype=np.float32)
    out[:3, :3] = matrix * contrast
    out[:3, 3] = shift
    return out


def _hue_rotation(angle: float, saturation: float) -> np.ndarray:
    grey = np.tile(np.array([0.299, 0.587, 0.114], np.float32), (3, 1))
    axis = 1 / np.sqrt(3)
    cross = np.array([[0, -axis, axis], [axis, 0, -axis], [-axis, axis, 0]], np.float32)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = cosine * np.eye(3) + sine * cross + (1 - cosine) / 3
    return grey + saturation * (turn - turn @ grey)


def shade(pixels: np.ndarray, rng: random.Random) -> np.ndarray:
    """Multiply the colours of premultiplied S S 4 by a slope of light or by a smooth or rough grain."""
    size = len(pixels)
    if rng.random() < 0.5:
        across, down = (np.linspace(rng.uniform(-1, 1), rng.uniform(-1, 1), size, dtype=np.float32) for _ in "xy")
        light = 1 + 0.2 * (across[None] + down[:, None])
    else:
        cells = rng.randint(4, size)
        seed = np.random.default_rng(rng.getrandbits(32))
        light = 1 + rng.uniform(0.05, 0.25) * seed.standard_normal((cells, cells), np.float32)
        light = cv2.resize(light, (size, size), interpolation=cv2.INTER_LINEAR)
    pixels[..., :3] *= light[..., None]
    return pixels


def degrade(image: np.ndarray, rng: random.Random, noise: np.random.Generator) -> np.ndarray:
    """Wear S S 3 uint8: blur, coarse pixels, JPEG, gamma or noise."""
    size = len(image)
    kind = rng.randrange(5)
    if kind == 0:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2) * size / 64)
    if kind == 1:
        small = rng.randint(size * 2 // 5, size * 4 // 5)
        way = rng.choice((cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC))
        return cv2.resize(
            cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size), interpolation=way
        )
    if kind == 2:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, rng.randint(15, 70)])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)
    if kind == 3:
        curve = 255 * (np.arange(256) / 255) ** rng.uniform(0.6, 1.7)
        return cv2.LUT(image, curve.astype(np.uint8))
    grain = noise.standard_normal(image.shape, np.float32) * rng.uniform(3, 18)
    return (image + grain).clip(0, 255).astype(np.uint8)

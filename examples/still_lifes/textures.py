"""Noise and the patterns made of it: (..., 3) linear RGB for colours, (...) in 0..1 for heights and weights."""

from __future__ import annotations

import cv2
import numpy as np

Random = np.random.Generator


def rgb(red: float, green: float, blue: float) -> np.ndarray:
    """Linear RGB of an sRGB colour in 0..255."""
    value = np.array([red, green, blue], float) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    weight = np.asarray(weight, float)[..., None]
    return a * (1 - weight) + b * weight


def ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """A smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def shade(rng: Random, colour: np.ndarray, spread: float = 0.12) -> np.ndarray:
    """The colour, a little lighter or darker and a little off in hue."""
    return np.clip(colour * np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, spread / 3, 3)), 0, 0.95)


def noise(rng: Random, points: np.ndarray, scale: float, octaves: int = 1) -> np.ndarray:
    """Smooth noise at points (..., 3), about -1..1, with hills of about ``scale``, halved with each octave."""
    total, weight = np.zeros(points.shape[:-1], np.float32), 1.0
    for octave in range(octaves):
        lattice = rng.normal(0, 0.6, (32, 32, 32)).astype(np.float32).ravel()
        p = (points * (2**octave / scale) + rng.uniform(0, 32, 3)).astype(np.float32)
        cell = np.floor(p).astype(np.int32)
        f = p - cell
        f = f * f * (3 - 2 * f)
        x, y, z = ([(cell[..., k] & 31) << s, ((cell[..., k] + 1) & 31) << s] for k, s in ((0, 10), (1, 5), (2, 0)))
        value = 0
        for i in range(2):
            for j in range(2):
                near, far = lattice[x[i] + y[j] + z[0]], lattice[x[i] + y[j] + z[1]]
                corner = near + (far - near) * f[..., 2]
                value = value + corner * (f[..., 0] if i else 1 - f[..., 0]) * (f[..., 1] if j else 1 - f[..., 1])
        total += weight * value
        weight /= 2
    return total


def refined(points: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A grid of points (.., .., 3) at a finer pitch, for a texture of that many texels."""
    return cv2.resize(points.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)


def plane(width: float, height: float, texels: int = 1536) -> np.ndarray:
    """Points of a rectangle on z = 0: (rows, columns, 3), y down the rows; ``texels`` on the longer side."""
    columns, rows = (max(round(texels * side / max(width, height)), 2) for side in (width, height))
    x, y = np.meshgrid(np.linspace(0, width, columns), np.linspace(0, height, rows))
    return np.stack([x, y, np.zeros_like(x)], -1)


WOODS = {
    "oak": ((214, 172, 122), (168, 118, 72)),
    "pine": ((232, 196, 142), (202, 148, 92)),
    "walnut": ((124, 84, 56), (70, 44, 28)),
    "beech": ((222, 184, 146), (194, 148, 108)),
    "mahogany": ((134, 66, 40), (82, 36, 22)),
}


def wood(rng: Random, points: np.ndarray, kind: str) -> np.ndarray:
    """Growth rings about an axis near x, fibres along it, pores and a blotchy tone."""
    light, dark = (rgb(*colour) for colour in WOODS[kind])
    light, dark = shade(rng, light, 0.08), shade(rng, dark, 0.08)
    stretched = points * np.array([0.06, 1, 1])
    wander = noise(rng, stretched, 5, 3)
    depth = rng.uniform(3, 9)
    radius = np.hypot(points[..., 1] - rng.uniform(2, 9) + 2.2 * wander, points[..., 2] + depth)
    ring = (radius / rng.uniform(0.7, 1.3) + 0.15 * noise(rng, stretched, 0.5, 2)) % 1
    late = ramp(ring, 0.25, 0.9) * (1 - ramp(ring, 0.93, 1.0))
    fibre = noise(rng, points * np.array([0.025, 1, 1]), 0.12, 2)
    pore = ramp(noise(rng, points * np.array([0.05, 1, 1]), 0.09), 0.75, 1.2)
    weight = np.clip(0.12 + 0.6 * late + 0.13 * fibre + 0.12 * noise(rng, stretched, 9), 0, 1)
    colour = mix(light, dark, weight) * (1 - 0.35 * pore)[..., None]
    return colour * np.exp(0.10 * noise(rng, points, 14, 2) + 0.05 * fibre)[..., None]


def planks(rng: Random, points: np.ndarray, kind: str, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Boards along x side by side: colour and height, with thin gaps."""
    colour, height = np.zeros_like(points), np.ones(points.shape[:-1])
    board = np.floor(points[..., 1] / width).astype(int)
    for number in np.unique(board):
        rows = np.flatnonzero((board == number).any(1))
        piece = slice(rows[0], rows[-1] + 1)
        origin = rng.uniform(0, 40, 3) * np.array([1, 1, 0.1])
        colour[piece] = wood(rng, points[piece] + origin, kind) * np.exp(rng.normal(0, 0.10))
    edge = np.abs((points[..., 1] / width + 0.5) % 1 - 0.5) * width
    gap = 1 - ramp(edge, 0.03, 0.12)
    return colour * (1 - 0.75 * gap)[..., None], height - gap


def marble(rng: Random, points: np.ndarray, dark: bool = False) -> np.ndarray:
    """White stone with grey veins, or black stone with white ones."""
    ground, vein = (rgb(34, 34, 38), rgb(200, 196, 190)) if dark else (rgb(236, 233, 228), rgb(128, 128, 132))
    bent = points + 6 * np.stack([noise(rng, points, 16, 4) for _ in range(3)], -1)
    fine = 1 - ramp(np.abs(noise(rng, bent, 14, 3)), 0.0, 0.09)
    broad = 1 - ramp(np.abs(noise(rng, bent, 22, 4)), 0.0, 0.35)
    cloud = 0.5 + 0.5 * noise(rng, points, 9, 4)
    presence = ramp(noise(rng, points, 20), -0.3, 0.6)
    return mix(ground, vein, np.clip(0.55 * fine * presence + 0.3 * broad * presence + 0.10 * cloud, 0, 0.9))


def granite(rng: Random, points: np.ndarray) -> np.ndarray:
    """Grains of dark, pale and brown minerals."""
    palettes = (
        ((70, 66, 64), (24, 22, 22), (150, 140, 132)),
        ((170, 160, 150), (70, 62, 58), (216, 208, 200)),
        ((120, 98, 82), (40, 34, 32), (190, 164, 140)),
    )
    ground, dark, pale = (rgb(*colour) for colour in palettes[rng.integers(3)])
    colour = mix(ground, pale, ramp(noise(rng, points, 0.28, 2), 0.1, 0.6))
    colour = mix(colour, dark, ramp(noise(rng, points, 0.22, 2), 0.25, 0.7))
    return colour * np.exp(0.25 * noise(rng, points, 0.15))[..., None]


def weave(rng: Random, rows: int, columns: int, threads: int) -> np.ndarray:
    """The height of a plain weave, ``threads`` across the width, with uneven threads."""
    x, y = np.meshgrid(np.linspace(0, threads, columns), np.linspace(0, threads * rows / columns, rows))
    at = np.stack([x, y, np.zeros_like(x)], -1)
    x, y = x + 0.25 * noise(rng, at, 4), y + 0.25 * noise(rng, at, 4)
    over = np.cos(np.pi * x) * np.cos(np.pi * y) > 0
    warp, weft = np.abs(np.sin(np.pi * x)), np.abs(np.sin(np.pi * y))
    return np.where(over, np.sqrt(warp), np.sqrt(weft)) * (0.85 + 0.15 * noise(rng, at * np.array([1, 0.1, 1]), 1))


def tiles(
    rng: Random, points: np.ndarray, width: float, height: float, colour: np.ndarray, shifted: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Glazed tiles with grout: colour, height, and 1 on tiles and 0 on grout."""
    row = np.floor(points[..., 1] / height)
    x = points[..., 0] / width + (0.5 * (row % 2) if shifted else 0)
    number = np.floor(x) + 97 * row
    edge = np.minimum(np.abs((x + 0.5) % 1 - 0.5) * width, np.abs((points[..., 1] / height + 0.5) % 1 - 0.5) * height)
    edge = edge + 0.02 * noise(rng, points, 1, 2)
    tone, tilt = rng.normal(0, 0.045, 8191), rng.normal(0, 0.05, (2, 8191))
    index = number.astype(int) % 8191
    on = ramp(edge, 0.11, 0.16)
    glaze = colour * np.exp(tone[index] + 0.04 * noise(rng, points, 4, 3))[..., None]
    grout = rgb(176, 170, 160) * np.exp(0.12 * noise(rng, points, 2, 4))[..., None]
    slope = tilt[0, index] * (x % 1) + tilt[1, index] * (points[..., 1] / height % 1)
    return mix(grout, glaze, on), 0.6 * ramp(edge, 0.08, 0.5) + slope, on


def scattered(rng: Random, points: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest of points scattered in space, about ``spacing`` apart, and that point's lot in 0..1."""
    lots = rng.uniform(0, 1, (32768, 4)).astype(np.float32)
    p = (points / spacing + rng.uniform(0, 32, 3)).astype(np.float32)
    cell = np.floor(p - 0.5).astype(np.int32)
    best, lot = np.full(p.shape[:-1], 9.0, np.float32), np.zeros(p.shape[:-1], np.float32)
    for corner in np.ndindex(2, 2, 2):
        near = cell + np.array(corner, np.int32)
        own = lots[((near[..., 0] & 31) << 10) + ((near[..., 1] & 31) << 5) + (near[..., 2] & 31)]
        distance = np.linalg.norm(p - near - 0.2 - 0.6 * own[..., :3], axis=-1)
        closer = distance < best
        best, lot = np.where(closer, distance, best), np.where(closer, own[..., 3], lot)
    return best * spacing, lot


def spots(rng: Random, points: np.ndarray, spacing: float, radius: float, share: float = 1.0) -> np.ndarray:
    """0..1: round spots of uneven size, on ``share`` of the scattered points."""
    distance, lot = scattered(rng, points, spacing)
    size = radius * (0.5 + 1.0 * (lot / share))
    return np.where(lot < share, 1 - ramp(distance / size, 0.6, 1.1), 0)

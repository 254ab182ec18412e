"""Shapes that grow: uneven skins, stalks and leaves."""

from __future__ import annotations

import numpy as np

from .geometry import UP, Mesh, curve, joined, sheet, tube, turn
from .textures import Random, noise, rgb, shade
from .things import Part, paint

BARK, GREEN = rgb(92, 66, 42), rgb(88, 122, 44)


def uneven(rng: Random, points: np.ndarray, amount: float, scale: float, octaves: int = 2) -> np.ndarray:
    """The points, moved by smooth noise; the poles move as one."""
    return points + amount * np.stack([noise(rng, points, scale, octaves) for _ in range(3)], -1)


def axis_distance(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[..., :2], axis=-1)


def along_meridians(points: np.ndarray, squeeze: float = 0.1) -> np.ndarray:
    """Places at which noise becomes streaks from pole to pole."""
    flat = points[..., :2] / np.maximum(axis_distance(points)[..., None], 1e-6)
    return np.concatenate([3 * flat, squeeze * points[..., 2:]], -1)


def stalk(rng: Random, base: np.ndarray, length: float, radius: float, colour: np.ndarray, lean: float = 0.3) -> Part:
    side = np.append(rng.normal(0, lean, 2), 0)
    path = curve([base, base + UP * length * 0.5 + side * 0.3 * length, base + UP * length + side * length], 16)
    mesh = tube(path, radius * np.linspace(0.9, 1.2, 16))
    return Part(mesh, paint(shade(rng, colour), 0.7))


def leaf(rng: Random, length: float, width: float, droop: float, fold: float = 0.25) -> Mesh:
    """A pointed leaf from the origin along x, drooping and folded along its rib."""
    t, s = np.meshgrid(np.linspace(0, 1, 24), np.linspace(-1, 1, 13), indexing="ij")
    half = width / 2 * np.sin(np.pi * t**0.8) ** 0.8 * (1 - 0.3 * t)
    wave = 0.04 * length * np.sin(7 * t + 2 * s + rng.uniform(0, 6)) * np.abs(s) * rng.uniform(0.3, 1)
    z = fold * np.abs(s) * half - droop * length * t**2 + wave
    bend = rng.normal(0, 0.06) * length * t**2
    return sheet(np.stack([t * length * (1 - 0.25 * abs(droop) * t), s * half + bend, z], -1))


def sepals(rng: Random, count: int, length: float, width: float, base: np.ndarray, droop: float) -> Part:
    leaves = []
    for number in range(count):
        around = turn("z", 360 * number / count + rng.normal(0, 8)) @ turn("y", rng.normal(-12, 12))
        leaves.append(
            leaf(rng, length * rng.uniform(0.8, 1.15), width, droop * rng.uniform(0.4, 1.2)).moved(around, base)
        )
    return Part(joined(leaves), paint(shade(rng, GREEN), 0.6))


def ring_points(rng: Random, radius: float, thick: float, flat: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 321)
    angle[-1] = 0
    section = np.linspace(np.pi, 3 * np.pi, 161)
    section[-1] = section[0]
    a, s = np.meshgrid(angle, section)
    reach = radius + thick * np.cos(s)
    points = np.stack([reach * np.cos(a), reach * np.sin(a), flat * thick * np.sin(s)], -1)
    return uneven(rng, points, 0.16, 3.5)

"""What lights a scene: windows, lamps, the sun, and a panorama of the room around."""

from __future__ import annotations

import cv2
import numpy as np

from .geometry import box, joined, lathe_points, sheet
from .surfaces import PAINTS
from .textures import Random, mix, ramp, rgb, shade
from .things import Part, paint


def panorama(rng: Random, light: float) -> np.ndarray:
    """A blurred room around the scene (128, 256, 3): ceiling, walls, dark furniture, a doorway, a distant window."""
    rows, columns = 128, 256
    v, u = np.mgrid[:rows, :columns] / np.array([rows, columns])[:, None, None]
    tone = rgb(*PAINTS[rng.integers(len(PAINTS))])
    image = light * np.broadcast_to(tone, (rows, columns, 3)) * (1.1 - 0.5 * v)[..., None]
    image = mix(image, light * 1.1 * rgb(236, 232, 226), ramp(v, 0.30, 0.27))
    image = mix(image, light * 0.35 * rgb(120, 90, 66), ramp(v, 0.60, 0.64))
    for _ in range(9):
        left, top = rng.uniform(0, 1), rng.uniform(0.36, 0.52)
        inside = ((u - left) % 1 < rng.uniform(0.02, 0.10)) & (v > top) & (v < top + rng.uniform(0.08, 0.25))
        image = np.where(inside[..., None], light * shade(rng, rgb(90, 70, 56), 0.5), image)
    for _ in range(int(rng.integers(1, 3))):
        left = rng.uniform(0, 1)
        across = (u - left) % 1 / 0.09
        inside = (across < 1) & (v > 0.32) & (v < 0.52)
        bars = (abs(across - 0.5) < 0.03) | (abs(v - 0.42) < 0.006)
        sky = 7 * light * mix(np.array([0.9, 1.0, 1.15]), np.array([0.7, 0.8, 0.6]), ramp(v, 0.44, 0.5))
        image = np.where((inside & ~bars)[..., None], sky, image)
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.2)


def pane(rng: Random, centre: np.ndarray, towards: np.ndarray, width: float, height: float, power: float) -> Part:
    """A window as a light: panes with a bright sky above a darker ground."""
    v, u = np.mgrid[:96, :72] / np.array([96, 72])[:, None, None]
    sky = mix(np.array([0.92, 1.0, 1.12]), np.array([0.55, 0.6, 0.5]), ramp(v + 0.05 * np.sin(9 * u), 0.35, 0.2))
    bars = (
        (np.abs(u - 0.5) < 0.025)
        | (np.abs(v - 0.62) < 0.018)
        | (np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) < 0.03)
    )
    glow = power * np.where(bars[..., None], 0.03, sky) * np.exp(rng.normal(0, 0.04, 3))
    ahead = towards - centre
    ahead = ahead / np.linalg.norm(ahead)
    side = np.cross([0, 0, 1], ahead)
    side /= np.linalg.norm(side)
    up = np.cross(ahead, side)
    x, y = np.meshgrid([-width / 2, width / 2], [-height / 2, height / 2])
    return Part(sheet(centre + x[..., None] * side + y[..., None] * up), paint(np.full(3, 0.8)), glow)


def bulb_light(rng: Random, centre: np.ndarray, radius: float, power: float) -> Part:
    """A warm ceiling lamp."""
    points = lathe_points(np.stack([np.linspace(0, radius, 6), np.zeros(6)], 1), 33) + centre
    return Part(sheet(points), paint(np.full(3, 0.8)), power * np.array([1.0, 0.78, 0.52]))


def lights(rng: Random, back: float) -> list[Part]:
    """Daylight from one side, or a lamp above with little daylight; at times the sun through a window's bars."""
    side = rng.choice([-1, 1])
    target = np.array([0, 0, 8.0])
    where = np.array([side * rng.uniform(95, 190), rng.uniform(-110, min(40, back - 10)), rng.uniform(45, 95)])
    evening = rng.uniform() < 0.25
    parts = [
        pane(rng, where, target, rng.uniform(70, 110), rng.uniform(90, 140), 1.2 if evening else rng.uniform(7, 12))
    ]
    if evening or rng.uniform() < 0.2:
        above = np.array([rng.uniform(-50, 50), rng.uniform(-60, 10), rng.uniform(110, 150)])
        parts.append(bulb_light(rng, above, rng.uniform(9, 18), rng.uniform(60, 110) if evening else 25))
    if not evening and rng.uniform() < 0.3:
        way = np.array([side * rng.uniform(0.8, 1.2), rng.uniform(-0.7, 0.1), rng.uniform(0.5, 0.9)])
        way /= np.linalg.norm(way)
        sun = lathe_points(np.stack([np.linspace(0, 6.5, 4), np.zeros(4)], 1), 17)
        tilt = np.stack([np.cross([0, 0, 1], way), np.cross(way, np.cross([0, 0, 1], way)), way], 1)
        tilt[:, :2] /= np.linalg.norm(tilt[:, :2], axis=0)
        disc = sheet((sun @ tilt.T + way * 700)[:, :])
        strength = rng.uniform(9_000, 14_000) * np.array([1.0, 0.86, 0.66])
        parts.append(Part(disc, paint(np.full(3, 0.5)), strength))
        bars = [box((3, 160, 1), 0.2).moved(np.eye(3), (x, 0, 0)) for x in np.arange(-3, 4) * rng.uniform(24, 34)]
        bars += [box((240, 4, 1), 0.2).moved(np.eye(3), (0, y, 0)) for y in (-38, 0, 38)]
        bars += [box((400, 300, 1), 0.2).moved(np.eye(3), (0, s * 200, 0)) for s in (-1, 1)]
        parts.append(Part(joined(bars).moved(tilt, way * 240 + [0, 0, 10]), paint(np.full(3, 0.7))))
    return parts

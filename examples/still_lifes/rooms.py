"""Where things stand: tables, counters, shelves and window sills."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import box, joined, lathe_points, sheet, turn
from .lighting import lights, pane, panorama
from .surfaces import PAINTS, slab, table_top, tiled_wall, wall
from .textures import Random, mix, noise, plane, planks, ramp, rgb, shade
from .things import Part, paint


@dataclass(frozen=True)
class Room:
    """Parts that belong to no object; the panorama around; how low and how high the camera looks down, in degrees."""

    parts: tuple[Part, ...]
    around: np.ndarray
    elevation: tuple[float, float]
    aperture: float
    """The lens's radius."""


def kitchen(rng: Random, back: float) -> Room:
    top = table_top(rng, 240, 70, ("granite", "marble", "wood", "white"))
    parts = [
        slab((-120, back - 66, -4), (120, back + 4, 0), top, radius=0.4),
        tiled_wall(rng, back),
        *lights(rng, back),
    ]
    if rng.uniform() < 0.6:
        parts.append(socket(rng, back))
    return Room(tuple(parts), panorama(rng, 0.36), (12, 34), 0.18)


def socket(rng: Random, back: float) -> Part:
    """A wall socket."""
    x, z = rng.uniform(-45, 45), rng.uniform(16, 26)
    plate = box((8.2, 0.9, 8.2), 0.35).moved(np.eye(3), (x, back - 0.4, z))
    ring = sheet(lathe_points(np.array([(2.2, 0.0), (2.1, 0.25), (1.9, 0.25), (1.8, -0.6), (0, -0.6)]), 49)).moved(
        turn("x", 90), (x, back - 0.9, z)
    )
    return Part(joined([plate, ring]), paint(rgb(236, 234, 228), 0.35))


def table(rng: Random, back: float) -> Room:
    """A table before a wall, with its far edge in view."""
    gap = rng.uniform(4, 70)
    kinds = ("wood", "wood", "cloth", "white")
    parts = [
        slab((-95, back - 90, -3.5), (95, back, 0), table_top(rng, 190, 90, kinds), radius=0.6),
        wall(rng, back + gap),
    ]
    floor = np.array([[[-300, -300, -76], [300, -300, -76]], [[-300, back + gap, -76], [300, back + gap, -76]]])
    parts.append(Part(sheet(floor), paint(rgb(120, 92, 68), 0.5)))
    if rng.uniform() < 0.5:
        parts += picture_frame(rng, back + gap)
    return Room((*parts, *lights(rng, back + gap)), panorama(rng, 0.33), (14, 40), 0.22)


def picture_frame(rng: Random, y: float) -> list[Part]:
    w, h = rng.uniform(24, 50), rng.uniform(26, 46)
    x, z = rng.uniform(-40, 40), rng.uniform(14, 40)
    bars = [box((w + 3, 2, 2), 0.3).moved(np.eye(3), (x, y - 1, z + s * h / 2 + h / 2)) for s in (-1, 1)]
    bars += [box((2, 2, h + 1), 0.3).moved(np.eye(3), (x + s * (w + 1) / 2, y - 1, z + h / 2)) for s in (-1, 1)]
    at = plane(w, h, 500)
    tone = mix(
        shade(rng, rgb(150, 160, 160), 0.4),
        shade(rng, rgb(200, 160, 110), 0.4),
        ramp(noise(rng, at * [0.5, 1, 1], 14, 4), -0.5, 0.5),
    )
    inside = np.minimum(np.minimum(at[..., 0], w - at[..., 0]), np.minimum(at[..., 1], h - at[..., 1])) > 0.14 * w
    art = np.where(inside[..., None], tone, rgb(232, 228, 218))
    canvas = np.array(
        [[[x - w / 2, y - 0.7, z], [x + w / 2, y - 0.7, z]], [[x - w / 2, y - 0.7, z + h], [x + w / 2, y - 0.7, z + h]]]
    )
    rim = paint(rgb(*[(34, 30, 28), (150, 110, 70), (226, 222, 212)][rng.integers(3)]), 0.4)
    return [Part(joined(bars), rim), Part(sheet(canvas), paint(art, 0.5))]


def shelf(rng: Random, back: float) -> Room:
    """A compartment of a bookcase, open to the viewer."""
    half, tall = rng.uniform(42, 60), rng.uniform(34, 42)
    front = back - 34
    if rng.uniform() < 0.5:
        board = paint(planks(rng, plane(120, 34, 1400), str(rng.choice(["oak", "walnut", "pine"])), 60)[0], 0.45)
    else:
        board = paint(shade(rng, rgb(232, 230, 224), 0.04), 0.4)
    tone = shade(rng, rgb(*PAINTS[rng.integers(len(PAINTS))]), 0.1)
    parts = [slab((-half, front, z), (half, back, z + 2.2), board, radius=0.15) for z in (-2.2, tall)]
    parts += [
        slab((s * half - 1.1, front, -30), (s * half + 1.1, back, tall + 30), board, (1, 2), 0.15) for s in (-1, 1)
    ]
    panel = np.array([[[-150, back, -40], [150, back, -40]], [[-150, back, 90], [150, back, 90]]], float)
    at = plane(300, 130, 800)
    parts.append(Part(sheet(panel), paint(tone * np.exp(0.05 * noise(rng, at, 25, 4))[..., None], 0.7)))
    side = rng.choice([-1, 1])
    window = pane(
        rng,
        np.array([side * rng.uniform(60, 150), rng.uniform(-210, -150), rng.uniform(40, 90)]),
        np.array([0, 0, 10.0]),
        100,
        130,
        rng.uniform(8, 13),
    )
    return Room((*parts, window), panorama(rng, 0.4), (2, 14), 0.16)


def sill(rng: Random, back: float) -> Room:
    """A window sill with the window behind it: the things stand against the light."""
    top = table_top(rng, 160, 44, ("white", "wood", "marble"))
    parts = [slab((-80, back - 40, -3), (80, back + 4, 0), top, radius=0.5)]
    white = paint(rgb(232, 230, 224), 0.35)
    width = rng.uniform(50, 66)
    bars = [box((5, 5, 130), 0.5).moved(np.eye(3), (x, back + 3, 62)) for x in (-width, 0, width)]
    bars += [box((2 * width + 6, 5, 6), 0.5).moved(np.eye(3), (0, back + 3, z)) for z in (3, 120)]
    bars += [box((2 * width, 2.4, 2.2), 0.4).moved(np.eye(3), (0, back + 3, 62))]
    parts.append(Part(joined(bars), white))
    parts += [
        slab(
            (s * width - 40 + s * 42, back - 6, -4),
            (s * width + 40 + s * 42, back + 10, 130),
            paint(shade(rng, rgb(222, 214, 200), 0.06), 0.8),
        )
        for s in (-1, 1)
    ]
    rows, columns = 220, 320
    v, u = np.mgrid[:rows, :columns] / np.array([rows, columns])[:, None, None]
    at = np.stack([u * 8, v * 5, 0 * u], -1)
    leaves = ramp(noise(rng, at, 1.4, 5) + 2.2 * (0.42 - v), -0.25, 0.35)
    green = mix(rgb(58, 84, 34), rgb(150, 168, 84), ramp(noise(rng, at, 0.35, 3), -0.4, 0.7))
    scene = mix(np.array([0.9, 1.0, 1.15]) * 1.5, 0.9 * green, leaves)
    scene = mix(scene, rgb(170, 160, 146) * 0.9, ramp(v, 0.18, 0.14))
    far = back + 420
    outside = np.array([[[-420, far, -120], [420, far, -120]], [[-420, far, 330], [420, far, 330]]])
    parts.append(
        Part(
            sheet(outside),
            paint(np.full(3, 0.1)),
            cv2.GaussianBlur(scene.astype(np.float32), (0, 0), 1.5) * rng.uniform(3.0, 4.5),
        )
    )
    parts.append(
        pane(rng, np.array([rng.choice([-1, 1]) * 150, -160, 90]), np.array([0, 0, 10.0]), 100, 120, rng.uniform(2, 5))
    )
    return Room(tuple(parts), panorama(rng, 0.9), (8, 24), 0.25)


ROOMS = {"kitchen": kitchen, "table": table, "shelf": shelf, "sill": sill}

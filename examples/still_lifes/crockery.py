"""Glazed ceramic: mugs, plates, bowls, vases and teapots."""

from __future__ import annotations

import numpy as np

from .geometry import Mesh, curve, joined, lathe, lathe_points, rounded, sheet, tube, turn
from .textures import Random, mix, noise, ramp, refined, rgb, shade, spots
from .things import Material, Part, Thing, Top, laid, paint

GLAZES = (
    (236, 232, 222), (240, 238, 234), (52, 84, 120), (150, 60, 44), (70, 104, 92), (206, 170, 96), (48, 48, 52),
    (176, 190, 196), (214, 150, 130), (108, 126, 84),
)  # fmt: skip


def glaze_colour(rng: Random) -> np.ndarray:
    return shade(rng, rgb(*GLAZES[rng.integers(len(GLAZES))]), 0.08)


def pottery(rng: Random, points: np.ndarray, colour: np.ndarray) -> Material:
    """Glazed ceramic: plain, speckled, banded, or dipped with a bare foot."""
    at = refined(points, 400, 640)
    low, high = at[..., 2].min(), at[..., 2].max()
    level = (at[..., 2] - low) / (high - low) + 0.012 * noise(rng, at, 2.5, 2)
    tone = np.exp(0.05 * noise(rng, at, 3, 3))[..., None] * colour
    style = rng.choice(["plain", "speckled", "banded", "dipped"], p=[0.4, 0.25, 0.15, 0.2])
    rough = np.full(at.shape[:2], rng.choice([0.12, 0.2, 0.38]))
    if style == "speckled":
        tone = mix(tone, rgb(60, 44, 32), 0.7 * spots(rng, at, 0.45, 0.045, 0.5))
    elif style == "banded":
        band = ramp(level, 0.62, 0.63) * ramp(level, 0.8, 0.79) + ramp(level, 0.55, 0.555) * ramp(level, 0.585, 0.58)
        tone = mix(tone, glaze_colour(rng), band)
    elif style == "dipped":
        bare = ramp(level + 0.03 * noise(rng, at, 6, 1), 0.32, 0.31)
        tone = mix(tone, rgb(190, 152, 116) * np.exp(0.12 * noise(rng, at, 0.3, 3))[..., None], bare)
        rough = rough + (0.65 - rough) * bare
    rough = rough + 0.03 * noise(rng, at, 1.5, 3)
    return paint(tone, rough, 0.008 * noise(rng, at, 1.8, 3))


def pot(rng: Random, outline: list[tuple[float, float]], radius: float, colour: np.ndarray) -> Part:
    """A turned vessel of ceramic from a profile with corners: outside upwards, inside downwards."""
    points = lathe_points(rounded(outline, radius, 200), 161)
    points = points + 0.02 * np.stack([noise(rng, points, 5) for _ in range(3)], -1)
    return Part(sheet(points), pottery(rng, points, colour))


def liquid(radius: float, height: float, colour: np.ndarray) -> Part:
    """A still surface that climbs a little at the wall."""
    profile = curve([(0, height), (radius * 0.8, height), (radius * 0.96, height + 0.03), (radius, height + 0.12)], 40)
    return Part(lathe(profile[::-1]), paint(colour, 0.05))


def ear(rng: Random, points: list[tuple[float, float]], wide: float, thick: float) -> Mesh:
    """A handle along (reach, height), an oval strap."""
    path = curve([(x, 0, z) for x, z in points], 60)
    angle = np.linspace(0, 2 * np.pi, 41)
    section = np.stack([thick * np.cos(angle), wide * np.sin(angle)], 1)
    section[-1] = section[0]
    size = 1 + 0.25 * np.abs(np.linspace(-1, 1, 60)) ** 3
    return tube(path, size, section)


def mug(rng: Random) -> Thing:
    r, h = rng.uniform(3.8, 4.4), rng.uniform(8.5, 10)
    foot, belly = r * rng.uniform(0.8, 1.0), r * rng.uniform(0.98, 1.06)
    wall = 0.38
    outline = [(0, 0.25), (foot - 0.6, 0.25), (foot - 0.5, 0), (foot, 0), (belly, h * 0.35), (r, h), (r - wall, h),
               (belly - wall, h * 0.35), (foot - wall, 0.6), (0, 0.6)]  # fmt: skip
    colour = glaze_colour(rng)
    body = pot(rng, outline, 0.9, colour)
    inside = rgb(238, 234, 226) if rng.uniform() < 0.5 else colour
    reach = rng.uniform(2.6, 3.3)
    handle = ear(rng, [(r - 0.25, h * 0.82), (r + reach * 0.7, h * 0.86), (r + reach, h * 0.62),
        (r + reach * 0.75, h * 0.34),
                       (belly - 0.15, h * 0.2)], rng.uniform(0.55, 0.8), 0.38)  # fmt: skip
    parts = [body, Part(handle, paint(colour, 0.15))]
    lining = rounded(
        [(r - wall - 0.01, h - 0.35), (belly - wall - 0.02, h * 0.35), (foot - wall - 0.02, 0.62), (0, 0.62)], 0.9
    )
    parts.append(Part(lathe(lining), paint(inside, 0.15)))
    if rng.uniform() < 0.7:
        coffee = [(38, 20, 10), (120, 78, 44), (92, 46, 16)][rng.integers(3)]
        parts.append(liquid(r - wall - 0.02, h * rng.uniform(0.7, 0.85), rgb(*coffee)))
    return laid("coffee mug", parts, swing=100)


def plate(rng: Random) -> Thing:
    r = rng.uniform(9, 12.5)
    well = r * rng.uniform(0.62, 0.7)
    outline = [(0, 0.35), (well * 0.8, 0.35), (well * 0.82, 0), (well * 0.9, 0), (r, 1.9), (r - 0.15, 2.15),
               (well * 1.02, 1.25), (well * 0.88, 0.75), (0, 0.7)]  # fmt: skip
    return laid("plate", [pot(rng, outline, 0.7, glaze_colour(rng))], top=Top(0.72, well * 0.85))


def bowl_profile(rng: Random) -> tuple[float, np.ndarray]:
    r, h = rng.uniform(9.5, 12.5), rng.uniform(5.5, 7.5)
    foot = r * 0.42
    outside = curve([(foot, 0), (foot + 0.1, 0.6), (r * 0.75, h * 0.4), (r * 0.95, h * 0.8), (r, h)], 60)
    inside = outside[::-1] * [1, 0.94] + [0, 0.06 * h] - [0.45, 0]
    return r, np.concatenate(
        [[(0, 0.3), (foot - 0.5, 0.3), (foot - 0.4, 0)], outside, inside[:-2], [(0, inside[-3, 1])]]
    )


def bowl(rng: Random) -> Thing:
    r, outline = bowl_profile(rng)
    inner = outline[-1, 1]
    return laid("bowl", [pot(rng, outline, 0.25, glaze_colour(rng))], top=Top(inner, 0.7 * r, hollow=True))


def vase(rng: Random) -> Thing:
    h, r, neck = rng.uniform(15, 24), rng.uniform(4.5, 6.5), rng.uniform(1.4, 2.6)
    belly = rng.uniform(0.3, 0.55)
    outside = curve(
        [
            (r * 0.55, 0),
            (r * 0.8, h * belly * 0.4),
            (r, h * belly),
            (r * 0.75, h * 0.72),
            (neck, h * 0.88),
            (neck * 1.25, h),
        ],
        90,
    )
    inside = (outside - [0.4, 0])[::-1][:70]
    outline = np.concatenate([[(0, 0.0)], outside, inside, [(0, inside[-1, 1])]])
    parts = [pot(rng, outline, 0.3, glaze_colour(rng))]
    if rng.uniform() < 0.75:
        parts += twigs(rng, h, neck)
    return laid("vase", parts)


def twigs(rng: Random, height: float, neck: float) -> list[Part]:
    """Dry stems with small oval leaves or seed heads, out of a neck."""
    leaves, stems = [], []
    tone = [(110, 124, 84), (176, 150, 110), (88, 104, 62), (150, 92, 70)][rng.integers(4)]
    for _ in range(int(rng.integers(4, 8))):
        lean = rng.normal(0, 0.28, 2)
        length = rng.uniform(13, 24)
        start = np.array([*(lean * neck * 0.5), height * 0.6])
        bend = np.append(lean * length, length)
        path = curve(
            [start, start + bend * [0.3, 0.3, 0.5], start + bend * [1, 1, 1], start + bend * [1.6, 1.6, 1.3]], 60
        )
        stems.append(tube(path, np.linspace(0.14, 0.05, 60)))
        for k in range(26, 60, int(rng.integers(2, 4))):
            size = rng.uniform(0.9, 1.7) * (1.15 - k / 90)
            t, s = np.meshgrid(np.linspace(0, 1, 10), np.linspace(-1, 1, 7), indexing="ij")
            shape = np.stack(
                [t * size * 1.6, s * size * 0.45 * np.sin(np.pi * t**0.8) ** 0.7, 0.2 * size * (s**2 - t**2)], -1
            )
            spin = turn("z", rng.uniform(0, 360)) @ turn("y", rng.uniform(-75, 10)) @ turn("x", rng.uniform(-40, 40))
            leaves.append(sheet(shape).moved(spin, path[k]))
    green = paint(shade(rng, rgb(*tone), 0.1), 0.6)
    return [Part(joined(stems), paint(shade(rng, rgb(104, 84, 56)), 0.7)), Part(joined(leaves), green)]


def teapot(rng: Random) -> Thing:
    r, h = rng.uniform(6.8, 8.0), rng.uniform(9, 11)
    colour = glaze_colour(rng)
    mouth = r * 0.48
    outside = curve([(r * 0.55, 0), (r * 0.9, h * 0.2), (r, h * 0.45), (r * 0.85, h * 0.8), (mouth, h)], 90)
    points = lathe_points(np.concatenate([[(0, 0)], outside, [(mouth - 0.4, h - 0.1)], [(mouth - 0.5, h - 1)]]), 161)
    finish = pottery(rng, points, colour)
    lid_shape = curve(
        [
            (mouth + 0.12, h - 0.02),
            (mouth + 0.05, h + 0.3),
            (mouth * 0.6, h + 1.0),
            (0.5, h + 1.35),
            (0.45, h + 1.7),
            (0.95, h + 2.3),
            (0.6, h + 2.75),
            (0, h + 2.8),
        ],
        90,
    )
    plain = paint(colour, 0.15)
    spout = curve(
        [(r * 0.8, 0, h * 0.28), (r * 1.25, 0, h * 0.38), (r * 1.5, 0, h * 0.75), (r * 1.85, 0, h * 0.98)], 60
    )
    handle = ear(
        rng,
        [
            (-r * 0.82, h * 0.82),
            (-r * 1.35, h * 0.95),
            (-r * 1.72, h * 0.62),
            (-r * 1.4, h * 0.25),
            (-r * 0.86, h * 0.2),
        ],
        0.65,
        0.45,
    )
    nose = tube(spout, np.linspace(1.7, 0.75, 60) * (1 - 0.15 * np.sin(np.linspace(0, np.pi, 60))))
    parts = [Part(sheet(points), finish), Part(lathe(lid_shape), plain), Part(nose, plain), Part(handle, plain)]
    return laid("teapot", parts, swing=70)

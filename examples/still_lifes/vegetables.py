"""Vegetables and mushrooms."""

from __future__ import annotations

import numpy as np

from .geometry import UP, curve, joined, lathe, lathe_points, sheet, tube, tube_points, turn
from .organic import GREEN, axis_distance, sepals, stalk, uneven
from .textures import Random, mix, noise, ramp, refined, rgb, shade
from .things import Part, Thing, laid, paint, tumbled


def tomato(rng: Random) -> Thing:
    size, ribs = rng.uniform(3.0, 3.8), rng.integers(4, 7)
    profile = curve(
        [(0, -0.78), (0.4, -0.8), (0.85, -0.5), (1.0, 0), (0.85, 0.5), (0.45, 0.72), (0.15, 0.62), (0, 0.55)], 120
    )
    points = lathe_points(profile, 192)
    angle = np.linspace(0, 2 * np.pi, 192)
    angle[-1] = 0
    lobes = 0.035 * np.cos(ribs * angle + 0.6 * np.sin(2 * angle)) * ramp(points[..., 2], -0.4, 0.7)
    points = uneven(rng, points * (1 + lobes[..., None]), 0.035, 1.2) * size
    at = refined(points, 320, 640)
    colour = shade(rng, rgb(190, 34, 20), 0.06) * np.exp(0.10 * noise(rng, at, 3, 2))[..., None]
    shoulder = ramp(at[..., 2] / size + 0.12 * noise(rng, at, 1.5, 3), 0.45, 0.8)
    colour = mix(colour, rgb(206, 110, 34), rng.uniform(0.2, 0.6) * shoulder)
    body = Part(sheet(points), paint(colour, 0.2 + 0.04 * noise(rng, at, 2, 2), 0.006 * noise(rng, at, 0.8, 2)))
    base = np.array([0, 0, points[-1, 0, 2] + 0.05])
    green = [
        sepals(rng, 5, 0.6 * size, 0.5, base + 0.12 * UP, -0.15),
        stalk(rng, base, rng.uniform(0.5, 1.2), 0.16, GREEN),
    ]
    return laid("tomato", [body, *green], tumbled(rng, 14))


def carrot(rng: Random) -> Thing:
    length, thick = rng.uniform(14, 19), rng.uniform(1.3, 1.8)
    t = np.linspace(0, 1, 200)
    path = np.stack([t * length, 0.25 * noise(rng, t[:, None] * [length, 0, 0], 7), 0 * t], 1)
    radius = thick * (1 - t) ** 0.55 * (1 - 0.35 * t) * ramp(t, -0.02, 0.03) + 0.06
    ring = 1 - 0.03 * ramp(noise(rng, t[:, None] * [length, 0, 0], 0.25, 2), 0.3, 0.8)
    points = uneven(rng, tube_points(path, radius * ring), 0.05, 1.2)
    points = np.concatenate([points[:1] * 0 + path[:1], points, points[-1:] * 0 + path[-1:]])
    at = refined(points, 640, 240)
    bands = noise(rng, at * [1, 0.12, 0.12], 0.22, 3)
    colour = shade(rng, rgb(226, 110, 26), 0.05) * np.exp(0.10 * noise(rng, at, 2, 3))[..., None]
    colour = mix(colour, rgb(166, 76, 26), 0.6 * ramp(bands, 0.5, 1.0))
    colour = mix(colour, rgb(120, 116, 44), ramp(at[..., 0], 0.9, 0.1) * 0.7)
    body = Part(sheet(points), paint(colour, 0.45, 0.03 * bands))
    stubs = []
    for _ in range(9):
        away = np.array([-1, rng.normal(0, 0.35), rng.uniform(-0.12, 0.3)]) * rng.uniform(1.5, 5)
        start = np.array([0.15, *rng.normal(0, 0.25, 2)])
        stubs.append(
            tube(
                curve([start, start + away * 0.5, start + away + [0, *rng.normal(0, 0.3, 2)]], 12),
                rng.uniform(0.1, 0.17),
            )
        )
    return laid("carrot", [body, Part(joined(stubs), paint(shade(rng, GREEN), 0.5))], tumbled(rng, 0))


def mushroom(rng: Random) -> Thing:
    size = rng.uniform(0.85, 1.15)
    cap = curve([(0.8, 0.25), (1.7, 0.0), (2.35, 0.15), (2.5, 0.6), (2.2, 1.4), (1.4, 2.0), (0.6, 2.2), (0, 2.22)], 120)
    stem = curve([(0, -1.9), (0.7, -1.9), (0.95, -1.6), (0.8, -0.7), (0.85, 0.2), (0.9, 0.8)], 60)
    lean = rng.normal(0, 0.12, 2)
    parts = []
    brown = rng.uniform() < 0.4
    for profile, flesh in ((cap, False), (stem, True)):
        points = uneven(rng, lathe_points(profile, 160), 0.1, 2)
        points[..., :2] += lean * points[..., 2:]
        at = refined(points * size, 320, 480)
        tone = rgb(226, 216, 200) if flesh or not brown else rgb(158, 112, 76)
        colour = tone * np.exp(0.05 * noise(rng, at, 1.0, 4))[..., None]
        stain = ramp(noise(rng, at, 1.3, 4), 0.35, 0.9)
        colour = mix(colour, rgb(168, 132, 96), (0.5 if flesh else 0.35) * stain)
        under = (1 - ramp(at[..., 2], 0.02, 0.35)) * ramp(axis_distance(at), 0.9, 1.1) * (not flesh)
        gills = 0.5 + 0.5 * np.sin(np.linspace(0, 2 * np.pi * 70, 480))
        colour = mix(colour, rgb(128, 92, 72), under * (0.55 + 0.3 * gills))
        parts.append(Part(sheet(points * size), paint(colour, 0.65, 0.02 * noise(rng, at, 0.3, 3))))
    lying = rng.uniform() < 0.6
    return laid("mushroom", parts, turn("z", rng.uniform(0, 360)) @ turn("x", 112 if lying else rng.normal(0, 5)))


def bell_pepper(rng: Random) -> Thing:
    profile = curve(
        [(0, -3.6), (1.0, -4.0), (2.2, -3.7), (2.9, -1.5), (3.4, 1.0), (3.3, 2.6), (2.2, 3.4), (1.0, 2.9), (0, 2.4)],
        130,
    )
    points = lathe_points(profile, 192)
    angle = np.linspace(0, 2 * np.pi, 192)
    angle[-1] = 0
    lobes = int(rng.integers(3, 5))
    dent = np.abs(np.cos(lobes * angle / 2 + 0.3 * np.sin(angle))) ** 0.6
    points[..., :2] *= (0.80 + 0.22 * dent)[:, None]
    points[..., 2] += 0.5 * (dent - 0.7) * ramp(np.abs(points[..., 2]), 1.5, 3.5) * np.sign(points[..., 2])
    points = uneven(rng, points, 0.22, 3)
    at = refined(points, 320, 640)
    tone = [(178, 22, 20), (222, 160, 22), (60, 104, 36), (216, 96, 20)][rng.integers(4)]
    colour = shade(rng, rgb(*tone), 0.06) * np.exp(0.10 * noise(rng, at, 3, 3))[..., None]
    body = Part(sheet(points), paint(colour, 0.16 + 0.04 * noise(rng, at, 2, 2), 0.012 * noise(rng, at, 1.2, 3)))
    stem = stalk(rng, np.array([0, 0, 2.2]), rng.uniform(2.0, 3.0), 0.45, GREEN, 0.35)
    cap = Part(lathe(curve([(1.1, 2.75), (0.8, 2.95), (0.4, 3.0)], 8)), paint(shade(rng, GREEN), 0.5))
    return laid(
        "bell pepper", [body, stem, cap], turn("x", 82) @ tumbled(rng, 0) if rng.uniform() < 0.4 else tumbled(rng, 6)
    )

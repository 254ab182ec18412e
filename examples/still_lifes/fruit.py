"""Fruit."""

from __future__ import annotations

import numpy as np

from .geometry import UP, ball_points, curve, lathe, lathe_points, sheet, tube, tube_points, turn
from .organic import BARK, GREEN, along_meridians, axis_distance, sepals, stalk, uneven
from .textures import Random, mix, noise, ramp, refined, rgb, scattered, shade, spots
from .things import Material, Part, Thing, laid, paint, tumbled


def apple(rng: Random) -> Thing:
    size = rng.uniform(0.92, 1.12)
    tall = rng.uniform(0.92, 1.06)
    profile = curve(
        [(0, -2.55), (0.45, -2.75), (1.3, -3.2), (2.5, -2.6), (3.4, -0.9), (3.75, 0.7), (3.45, 2.1), (2.5, 3.0),
         (1.5, 3.05), (0.8, 2.6), (0.3, 1.95), (0, 1.8)], 140
    )  # fmt: skip
    points = lathe_points(profile * [1, tall], 192)
    angle = np.linspace(0, 2 * np.pi, 192) + rng.uniform(0, 6)
    low = ramp(-points[..., 2], 0.0, 3.0)
    points = points * (1 + (0.045 * np.cos(5 * angle) * low + 0.02 * np.cos(2 * angle + 1))[..., None] * [1, 1, 0.9])
    points = uneven(rng, points, 0.14, 4) * size
    at = refined(points, 400, 640)
    streak = noise(rng, along_meridians(at), 0.16, 3)
    side = noise(rng, at, 6, 2) + at[..., :2] @ rng.normal(0, 0.12, 2)
    kind = rng.choice(["gala", "red", "green"], p=[0.5, 0.3, 0.2])
    ground, blush, cover = {
        "gala": (rgb(226, 186, 92), rgb(172, 32, 34), ramp(0.55 * streak + 0.9 * side + 0.25, -0.35, 0.75)),
        "red": (rgb(168, 60, 40), rgb(122, 12, 24), ramp(0.5 * streak + 0.5 * side + 0.6, -0.4, 0.5)),
        "green": (rgb(146, 178, 62), rgb(184, 196, 92), ramp(0.3 * streak + 0.7 * side, -0.2, 1.0)),
    }[kind]
    colour = mix(shade(rng, ground, 0.06), shade(rng, blush, 0.06), cover)
    colour = colour * np.exp(0.12 * streak)[..., None]
    colour = mix(colour, rgb(226, 200, 130), 0.5 * spots(rng, at, 0.42, 0.035, 0.6))
    hollow = (1 - ramp(axis_distance(at), 0.5, 1.5 + 0.0)) * ramp(at[..., 2], 0.5, 1.5)
    colour = mix(colour, rgb(150, 140, 66), 0.6 * hollow)
    rough = 0.28 + 0.05 * noise(rng, at, 1.5, 2)
    body = Part(sheet(points), paint(colour, rough, 0.01 * noise(rng, at, 1.2, 3)))
    stem = stalk(rng, np.array([0, 0, 1.7 * tall * size]), rng.uniform(1.4, 2.2), 0.13, BARK)
    eye = Part(lathe(curve([(0.5, -2.75), (0.35, -2.6), (0, -2.55)], 9) * size * [1, tall]), paint(BARK, 0.8))
    return laid("apple", [body, stem, eye], tumbled(rng, 16))


def citrus_skin(rng: Random, at: np.ndarray, colour: np.ndarray, green: float) -> Material:
    distance, lot = scattered(rng, at, 0.2)
    pore = (1 - ramp(distance, 0.0, 0.1)) * (0.4 + 0.6 * lot)
    colour = shade(rng, colour, 0.05) * np.exp(0.05 * noise(rng, at, 2.5, 3) - 0.10 * pore)[..., None]
    ends = ramp(np.abs(at[..., 2]) / np.abs(at[..., 2]).max() + 0.12 * noise(rng, at, 1.5, 2), 0.75, 1.05)
    colour = mix(colour, rgb(150, 160, 60), green * ends)
    colour = mix(colour, rgb(150, 110, 50), 0.5 * spots(rng, at, 1.4, 0.06, 0.3))
    return paint(colour, 0.38 + 0.05 * noise(rng, at, 1.5), -0.022 * pore + 0.02 * noise(rng, at, 0.9, 2))


def orange(rng: Random) -> Thing:
    size, flat = rng.uniform(3.4, 4.0), rng.uniform(0.9, 0.98)
    points = uneven(rng, ball_points(), 0.025, 0.9) * size
    at_axis = axis_distance(points)
    points[..., 2] *= flat
    points[..., 2] -= np.sign(points[..., 2]) * 0.22 * np.exp(-((at_axis / 0.75) ** 2))
    at = refined(points, 480, 960)
    body = Part(sheet(points), citrus_skin(rng, at, rgb(238, 128, 14), rng.choice([0.0, 0.12])))
    top = points[-1, 0, 2]
    arms = 1 + 0.35 * np.cos(5 * np.linspace(0, 2 * np.pi, 61))
    button = lathe_points(curve([(0.34, -0.06), (0.28, 0.07), (0.1, 0.1), (0, 0.02)], 14), 61)
    button[..., :2] *= arms[:, None]
    cap = Part(sheet(button + top * UP), paint(shade(rng, rgb(110, 112, 58)), 0.8))
    return laid("orange", [body, cap], tumbled(rng, 180))


def lemon(rng: Random) -> Thing:
    profile = curve(
        [(0, -4.3), (0.35, -4.25), (0.6, -3.8), (1.2, -3.3), (2.2, -2.0), (2.65, 0), (2.3, 1.9), (1.3, 3.1),
         (0.75, 3.5), (0.6, 3.75), (0, 3.85)], 150
    )  # fmt: skip
    points = uneven(rng, lathe_points(profile, 192), 0.12, 2.5) * rng.uniform(0.92, 1.08)
    body = Part(sheet(points), citrus_skin(rng, refined(points, 480, 800), rgb(244, 206, 44), rng.uniform(0, 0.35)))
    return laid("lemon", [body], turn("z", rng.uniform(0, 360)) @ turn("x", 90 + rng.normal(0, 6)) @ tumbled(rng, 0))


def one_banana(rng: Random, ripe: float) -> list[Part]:
    """A banana lying on its side: from its stalk at the origin, bent in the plane of z = 0."""
    length, bend = rng.uniform(17, 20), rng.uniform(1.0, 1.45)
    t = np.linspace(0, 1, 180)
    heading = -bend / 2 + bend * t + 0.25 * ramp(t, 0.12, 0.0)
    step = np.stack([np.cos(heading), np.sin(heading), 0 * t], 1) * length / len(t)
    path = np.cumsum(step, 0)
    path[:, 2] += 0.15 * noise(rng, path, 8)
    radius = np.interp(
        t, [0, 0.1, 0.16, 0.24, 0.45, 0.75, 0.9, 0.965, 1], [0.55, 0.5, 0.75, 1.3, 1.72, 1.6, 1.05, 0.5, 0.42]
    )
    radius = np.convolve(np.pad(radius, 6, "edge"), np.hanning(13) / np.hanning(13).sum(), "valid")
    angle = np.linspace(0, 2 * np.pi, 121)
    ridge = np.abs(((angle + 0.3) * 5 / (2 * np.pi)) % 1 - 0.5) * 2
    section = np.stack([np.cos(angle), np.sin(angle)], 1) * (0.92 + 0.11 * ridge**1.6)[:, None]
    section[-1] = section[0]
    points = uneven(rng, tube_points(path, radius, section), 0.05, 3)
    points = np.concatenate([points[:1] * 0 + path[:1], points, points[-1:] * 0 + path[-1:]])
    at = refined(points, 640, 320)
    v = np.linspace(0, 1, 640)[:, None] * np.ones(320)
    fibre = noise(rng, at * [0.25, 0.25, 3], 0.9, 3)
    colour = shade(rng, rgb(240, 200, 62), 0.05) * np.exp(0.06 * fibre + 0.05 * noise(rng, at, 3, 2))[..., None]
    green = (ramp(v, 0.22, 0.08) + 0.6 * ramp(v, 0.88, 0.97)) * (1.1 - ripe)
    colour = mix(colour, rgb(150, 168, 60), np.clip(green + 0.15 * noise(rng, at, 2), 0, 0.9))
    lines = ramp(np.interp(np.linspace(0, 1, 320), np.linspace(0, 1, 121), ridge), 0.86, 1.0)[None] * np.ones((640, 1))
    colour = mix(colour, rgb(150, 110, 40), 0.25 * lines * ramp(noise(rng, at, 1.2, 2), -0.6, 0.6))
    brown = rgb(74, 46, 22)
    freckle = np.maximum(spots(rng, at, 0.75, 0.09, 0.7 * ripe), spots(rng, at, 2.2, 0.3, 0.4 * ripe))
    colour = mix(colour, brown, np.clip(0.85 * freckle, 0, 1))
    scuff = ramp(noise(rng, at * [0.3, 0.3, 1], 0.35, 3), 0.85, 1.3)
    colour = mix(colour, brown, 0.55 * scuff)
    ends = np.maximum(
        ramp(v + 0.015 * noise(rng, at, 0.5, 2), 0.03, 0.008), ramp(v + 0.012 * noise(rng, at, 0.5, 2), 0.955, 0.98)
    )
    colour = mix(colour, rgb(40, 28, 18), 0.95 * ends)
    return [Part(sheet(points), paint(colour, 0.42 + 0.06 * fibre, 0.01 * noise(rng, at, 0.5, 3)))]


def banana(rng: Random) -> Thing:
    count, ripe = int(rng.choice([1, 2, 3], p=[0.5, 0.25, 0.25])), rng.uniform(0.1, 1.0)
    parts: list[Part] = []
    for number in range(count):
        fan = turn("z", 19 * number + rng.normal(0, 1.0)) @ turn("x", rng.normal(0, 5))
        parts += [Part(part.mesh.moved(fan), part.material) for part in one_banana(rng, ripe)]
    if count > 1:
        middle = turn("z", 19 * (count - 1) / 2)
        crown = tube(curve([(-0.9, 0, 0.15), (0.1, 0, 0.05), (1.2, 0, 0)], 12) @ middle.T, np.linspace(0.75, 0.9, 12))
        parts.append(Part(crown, paint(rgb(96, 88, 36), 0.6)))
    return laid("banana", parts, tumbled(rng, 0))


def pear(rng: Random) -> Thing:
    profile = curve(
        [(0, -3.7), (0.5, -3.85), (1.4, -4.0), (2.6, -3.3), (3.3, -1.7), (3.15, 0.1), (2.3, 1.9), (1.65, 3.2),
         (1.35, 4.3), (0.8, 4.95), (0.25, 4.95), (0, 4.85)], 150
    )  # fmt: skip
    points = lathe_points(profile * [rng.uniform(0.95, 1.08), rng.uniform(0.92, 1.08)], 192)
    points[..., :2] += rng.normal(0, 0.022, 2) * np.clip(points[..., 2:] + 1, 0, None) ** 2
    points = uneven(rng, points, 0.2, 4)
    at = refined(points, 480, 640)
    ground, tone = ((186, 176, 66), (128, 148, 48)) if rng.uniform() < 0.7 else ((170, 128, 62), (150, 100, 48))
    colour = mix(rgb(*ground), rgb(*tone), 0.5 + 0.45 * noise(rng, at, 5, 2))
    blush = ramp(at[..., :2] @ rng.normal(0, 0.16, 2) + 0.4 * noise(rng, at, 3, 3), 0.1, 1.1)
    colour = mix(colour, rgb(176, 74, 40), 0.65 * blush * rng.uniform(0, 1))
    colour = mix(colour, rgb(110, 84, 40), 0.55 * spots(rng, at, 0.26, 0.03))
    russet = ramp(noise(rng, at, 1.6, 4) + ramp(at[..., 2], 3.2, 5) + 0.7 * ramp(at[..., 2], -3.3, -4), 0.55, 1.2)
    colour = mix(colour, rgb(142, 104, 56), 0.75 * russet)
    body = Part(sheet(points), paint(colour, 0.42 + 0.15 * russet, 0.012 * noise(rng, at, 0.4, 3)))
    stem = stalk(rng, points[-1, 0] - [0, 0, 0.2], rng.uniform(1.8, 2.8), 0.15, BARK, 0.35)
    lying = rng.uniform() < 0.25
    return laid("pear", [body, stem], turn("x", 104) @ tumbled(rng, 0) if lying else tumbled(rng, 4))


def strawberry(rng: Random) -> Thing:
    size = rng.uniform(0.85, 1.1)
    profile = curve(
        [(0, -2.1), (0.35, -2.0), (1.0, -1.2), (1.55, 0), (1.62, 0.7), (1.25, 1.25), (0.5, 1.35), (0, 1.25)], 120
    )
    points = uneven(rng, lathe_points(profile, 192), 0.09, 1.4) * size
    count = 220
    share = np.arange(count) / count
    rows = ((0.03 + 0.85 * share**0.85) * 119).astype(int)
    columns = (np.arange(count) * 0.618034 * 191).astype(int) % 191
    seeds = points[rows, columns]
    at = refined(points, 320, 480)
    flat = at.reshape(-1, 3).astype(np.float32)
    nearest = np.full(len(flat), 9, np.float32)
    for seed in seeds.astype(np.float32):
        nearest = np.minimum(nearest, ((flat - seed) ** 2 * np.array([1, 1, 0.45], np.float32)).sum(1))
    distance = np.sqrt(nearest).reshape(at.shape[:2])
    seed, pit = 1 - ramp(distance, 0.055, 0.085), 1 - ramp(distance, 0.05, 0.24)
    colour = mix(shade(rng, rgb(190, 22, 22), 0.06), rgb(140, 8, 14), 0.5 * pit + 0.15 * noise(rng, at, 1.5, 2))
    colour = mix(colour, rgb(226, 170, 130), 0.5 * ramp(at[..., 2] / size + 0.15 * noise(rng, at, 0.8), 0.9, 1.35))
    colour = mix(colour, rgb(214, 170, 70), seed)
    body = Part(sheet(points), paint(colour, 0.25, -0.09 * pit + 0.05 * seed))
    cap = sepals(rng, 9, 1.5 * size, 0.55, np.array([0, 0, 1.3 * size]), 0.35)
    stem = stalk(rng, np.array([0, 0, 1.25 * size]), rng.uniform(0.6, 1.6), 0.08, GREEN, 0.6)
    return laid("strawberry", [body, cap, stem], turn("z", rng.uniform(0, 360)) @ turn("x", rng.uniform(85, 115)))

"""Glasses, bottles and shakers."""

from __future__ import annotations

import numpy as np

from .geometry import curve, lathe, lathe_points, rounded, sheet, turn
from .printing import label
from .textures import Random, noise, ramp, refined, rgb
from .things import Part, Thing, glass, laid, metal, paint


def wine_glass(rng: Random) -> Thing:
    r, h = rng.uniform(3.6, 4.5), rng.uniform(8.5, 10.5)
    stem, foot = rng.uniform(7, 9), rng.uniform(3.3, 3.8)
    wall, base = 0.13, stem + 0.4
    outside = curve([(0.42, base - 0.6), (1.2, base + 0.1), (r * 0.85, base + h * 0.22), (r, base + h * 0.45),
                     (r * 0.9, base + h * 0.78), (r * 0.76, base + h)], 90)  # fmt: skip
    inside = outside[12:][::-1] * [1, 1] - [wall, 0]
    leg = curve(
        [
            (foot, 0.12),
            (foot * 0.7, 0.28),
            (0.9, 0.65),
            (0.42, 1.5),
            (0.34, stem * 0.5),
            (0.36, stem * 0.9),
            (0.42, base - 0.6),
        ],
        60,
    )
    profile = np.concatenate(
        [
            [(0, 0), (foot - 0.1, 0)],
            leg[:-1],
            outside,
            [(r * 0.76 - wall / 2, base + h + 0.05)],
            inside,
            [(0, inside[-1, 1] - 0.1)],
        ]
    )
    parts = [Part(lathe(profile, 160), glass())]
    if rng.uniform() < 0.65:
        level = int(len(inside) * rng.uniform(0.45, 0.62))
        inner = inside[level:] * [1, 1] + [0.012, 0]
        wine = np.concatenate(
            [
                [(0, inside[-1, 1] - 0.11)],
                inner[::-1],
                [(inner[0, 0] - 0.12, inner[0, 1] - 0.09), (0, inner[0, 1] - 0.1)],
            ]
        )
        red = rng.uniform() < 0.6
        tint = np.array([0.42, 0.012, 0.03]) if red else np.array([0.93, 0.82, 0.42])
        parts.append(Part(lathe(wine, 160), glass(tint, 1.34)))
    return laid("wine glass", parts)


def tumbler(rng: Random) -> Thing:
    r, h = rng.uniform(3.4, 4.0), rng.uniform(9, 13)
    low, wall, floor = r * rng.uniform(0.78, 0.95), 0.22, 0.9
    profile = rounded([(0, 0), (low, 0), (r, h), (r - wall, h), (low - wall, floor), (0, floor)], 0.35, 160)
    parts = [Part(lathe(profile, 160), glass())]
    if rng.uniform() < 0.75:
        top = h * rng.uniform(0.55, 0.8)
        edge = low + (r - low) * top / h - wall + 0.012
        juice = rounded(
            [
                (0, floor - 0.02),
                (low - wall + 0.03, floor - 0.02),
                (edge, top),
                (edge - 0.1, top - 0.08),
                (0, top - 0.08),
            ],
            0.25,
            90,
        )
        if rng.uniform() < 0.5:
            parts.append(Part(lathe(juice, 160), glass(np.array([0.97, 0.985, 0.98]), 1.33)))
        else:
            parts.append(Part(lathe(juice, 160), paint(rgb(232, 140, 26), 0.1)))
    return laid("drinking glass", parts)


def wine_bottle(rng: Random) -> Thing:
    r, h, neck = 3.75, rng.uniform(29, 31), 1.4
    slope = rng.uniform(0.6, 1.0)
    outline = [(0, 0.6), (r - 1, 0.3), (r - 0.6, 0), (r, 0.3), (r, h * 0.6), (neck, h * (0.66 + 0.08 * slope)),
        (neck, h - 1.2),
               (neck + 0.12, h - 1.1), (neck + 0.12, h - 0.3), (neck - 0.1, h), (0, h)]  # fmt: skip
    shape = rounded(outline, 2.2, 260)
    tint = rgb(*[(30, 44, 20), (18, 24, 14), (56, 34, 12)][rng.integers(3)])
    at = refined(lathe_points(shape), 160, 160)
    dust = 0.05 + 0.05 * ramp(noise(rng, at, 2, 4), -0.2, 1)
    parts = [Part(lathe(shape, 160), paint(tint * 0.35, dust, clearcoat=1.0, clearcoat_gloss=0.98, specular=0.6))]
    foil = rounded(
        [
            (neck + 0.03, h * 0.78),
            (neck + 0.05, h - 1.22),
            (neck + 0.17, h - 1.1),
            (neck + 0.17, h - 0.3),
            (neck - 0.05, h + 0.04),
            (0, h + 0.04),
        ],
        0.15,
        80,
    )
    crumple = refined(lathe_points(foil), 160, 160)
    tone = rgb(*[(96, 16, 24), (30, 30, 34), (168, 136, 72), (30, 44, 74)][rng.integers(4)])
    parts.append(Part(lathe(foil), paint(tone, 0.35, 0.02 * noise(rng, crumple, 0.9, 3), metallic=0.7)))
    low, high = h * rng.uniform(0.12, 0.18), h * rng.uniform(0.42, 0.5)
    angle = np.linspace(-1.25, 1.25, 60)
    z = np.linspace(high, low, 8)
    paper = np.stack(
        np.broadcast_arrays((r + 0.02) * np.cos(angle)[None], (r + 0.02) * np.sin(angle)[None], z[:, None]), -1
    )
    parts.append(Part(sheet(paper), paint(label(rng, 512, int(512 * (high - low) / (2.5 * r))), 0.7)))
    return laid("wine bottle", parts, turn("z", -90), swing=40)


def salt_shaker(rng: Random) -> Thing:
    r, h = rng.uniform(2.0, 2.4), rng.uniform(5.5, 7)
    wall = rounded([(0, 0), (r, 0), (r * 0.82, h), (r * 0.82 - 0.2, h), (r - 0.25, 0.5), (0, 0.5)], 0.3, 120)
    salt = rounded([(0, 0.52), (r - 0.26, 0.52), (r * 0.9 - 0.22, h * 0.55), (0, h * 0.58)], 0.2, 60)
    cap = rounded([(r * 0.84, h - 0.1), (r * 0.9, h), (r * 0.88, h + 1.2), (r * 0.5, h + 2.0), (0, h + 2.15)], 0.5, 80)
    grain = noise(rng, refined(lathe_points(salt), 160, 320), 0.05, 2)
    parts = [Part(lathe(wall, 128), glass()), Part(lathe(salt), paint(rgb(240, 240,
        238) * np.exp(0.1 * grain)[..., None], 0.9)),
             Part(lathe(cap), metal(rgb(204, 202, 198), 0.18))]  # fmt: skip
    return laid("saltshaker", parts)

"""Candles, bulbs and lamps."""

from __future__ import annotations

import numpy as np

from .crockery import glaze_colour, pot
from .geometry import curve, joined, lathe, lathe_points, rounded, sheet, tube, turn
from .textures import Random, noise, ramp, refined, rgb, shade
from .things import Part, Thing, glass, laid, metal, paint, tumbled


def candle(rng: Random) -> Thing:
    r, h = rng.uniform(2.8, 3.8), rng.uniform(6, 14)
    edge = lathe_points(
        rounded([(0, 0), (r, 0), (r, h), (r * 0.85, h - 0.15), (r * 0.5, h - 0.9), (0, h - 1.0)], 0.3, 160), 129
    )
    edge = edge + np.stack(
        [0 * edge[..., 0], 0 * edge[..., 0], 0.25 * noise(rng, edge, 3, 2) * ramp(edge[..., 2], h * 0.8, h)], -1
    )
    at = refined(edge, 320, 320)
    lit = rng.uniform() < 0.5
    colour = shade(
        rng,
        rgb(*[(236, 226, 202), (150, 30, 34), (228, 206, 160), (70, 92, 84), (240, 236, 230)][rng.integers(5)]),
        0.06,
    )
    tone = np.broadcast_to(colour, at.shape) * np.exp(0.05 * noise(rng, at, 3, 3))[..., None]
    wax = paint(tone, 0.42, 0.02 * noise(rng, at, 2.5, 3), flatness=1.0)
    warm = None
    if lit:
        warm = np.array([1.0, 0.42, 0.12]) * colour * (1.6 * ramp(at[..., 2], h - 4.5, h - 0.2) ** 2)[..., None]
    wick = curve([(0, 0, h - 1.2), (0.03, 0.02, h - 0.4), (0.2, 0.1, h + 0.25)], 20)
    parts = [Part(sheet(edge), wax, warm), Part(tube(wick, 0.09), paint(rgb(30, 24, 22), 0.9))]
    if lit:
        drop = curve([(0, -0.2), (0.28, 0.1), (0.4, 0.6), (0.28, 1.4), (0.08, 2.4), (0, 2.8)], 60)
        fire = (
            np.array([1.0, 0.52, 0.16])[None]
            * np.interp(np.linspace(0, 1, 60), [0, 0.2, 0.5, 1], [2, 20, 60, 22])[:, None]
        )
        parts.append(
            Part(lathe(drop).moved(np.eye(3), (0.2, 0.1, h + 0.1)), paint(rgb(0, 0, 0)), np.repeat(fire[:, None], 4, 1))
        )
    if rng.uniform() < 0.5:
        dish = rounded([(0, 0), (r + 0.6, 0), (r + 1.6, 0.9), (r + 1.45, 1.05), (r + 0.5, 0.35), (0, 0.35)], 0.4, 120)
        saucer = Part(
            lathe(dish), metal(rgb(204, 164, 92), 0.28) if rng.uniform() < 0.5 else paint(glaze_colour(rng), 0.2)
        )
        parts = [saucer] + [Part(p.mesh.moved(np.eye(3), (0, 0, 0.36)), p.material, p.glow) for p in parts]
    return laid("candle", parts)


def light_bulb(rng: Random) -> Thing:
    outer = curve([(1.32, 2.2), (1.5, 3.2), (2.4, 5.2), (3.0, 7.2), (2.6, 9.0), (1.3, 10.1), (0, 10.35)], 120)
    parts = []
    if rng.uniform() < 0.5:
        parts.append(Part(lathe(outer), paint(rgb(238, 236, 230), 0.25, flatness=1.0)))
    else:
        inner = outer[::-1] * [0.965, 1] - [0, 0.08]
        inner[0] = (0, 10.25)
        parts.append(Part(lathe(np.concatenate([outer, inner]), 160), glass()))
        coil = np.linspace(0, 1, 260)
        wave = np.stack(
            [1.2 * np.cos(3.6 * (coil - 0.5) * 2), 1.2 * np.sin(3.6 * (coil - 0.5) * 2), 7.2 + 0.3 * np.cos(20 * coil)],
            1,
        )
        posts = [
            tube(curve([(0.12 * s, 0, 2), (0.3 * s, 0, 5), tuple(wave[0 if s < 0 else -1])], 30), 0.035)
            for s in (-1, 1)
        ]
        parts.append(Part(joined([tube(wave, 0.03), *posts]), metal(rgb(150, 130, 110), 0.3)))
        parts.append(Part(lathe(curve([(0.9, 2.2), (0.6, 2.8), (0.25, 4.4), (0, 4.6)], 40)), glass()))
    z = np.linspace(0.5, 2.1, 90)
    thread = np.stack([1.28 + 0.07 * np.sin(2 * np.pi * (z - 0.5) / 0.36), z], 1)
    cap = np.concatenate([[(0.5, 0.12), (1.0, 0.35), (1.2, 0.5)], thread, [(1.35, 2.25), (1.3, 2.4)]])
    parts.append(Part(lathe(cap), metal(rgb(196, 192, 184), 0.25)))
    parts.append(
        Part(lathe(rounded([(0, 0), (0.5, 0), (0.55, 0.14), (0.9, 0.34)], 0.1, 30)), paint(rgb(40, 36, 34), 0.5))
    )
    return laid("light bulb", parts, turn("z", rng.uniform(0, 360)) @ turn("x", 102) @ tumbled(rng, 0))


def table_lamp(rng: Random) -> Thing:
    h = rng.uniform(16, 24)
    body = curve([(4.2, 0.3), (5.5, 3), (5.8, 0.4 * h), (3.0, 0.75 * h), (1.3, h)], 80)
    outline = [(0, 0), (4.6, 0), *map(tuple, body), (1.2, h + 1.2), (0, h + 1.2)]
    parts = [pot(rng, outline, 0.2, glaze_colour(rng))]
    low, high, tall = rng.uniform(11, 13), rng.uniform(7.5, 10), rng.uniform(14, 17)
    wall = lathe_points(np.stack([np.linspace(low, high, 40), np.linspace(h - 1, h - 1 + tall, 40)], 1), 161)
    weft = 1 + 0.06 * noise(rng, refined(wall, 320, 640) * [1, 1, 12], 0.8, 2)
    glow = np.interp(np.linspace(0, 1, 320), [0, 0.35, 1], [0.75, 1.25, 0.55])[:, None] * weft
    warm = np.array([1.0, 0.66, 0.36]) * rng.uniform(0.9, 1.8)
    lit = rng.uniform() < 0.7
    cloth = paint(rgb(232, 220, 196) * weft[..., None], 0.9)
    parts.append(Part(sheet(wall), cloth, glow[..., None] * warm if lit else None))
    rims = [tube(np.stack([r * np.cos(a), r * np.sin(a), 0 * a + z], 1), 0.14) for r, z, a in
            ((low, h - 1, np.linspace(0, 6.2832, 120)), (high, h - 1 + tall, np.linspace(0, 6.2832, 120)))]  # fmt: skip
    parts.append(Part(joined(rims), paint(rgb(206, 192, 164), 0.8)))
    return laid("table lamp", parts)

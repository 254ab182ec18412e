"""Potted plants."""

from __future__ import annotations

import numpy as np

from .crockery import glaze_colour, pot
from .geometry import UP, curve, joined, lathe_points, rounded, sheet, tube, turn
from .organic import leaf
from .textures import Random, mix, noise, ramp, refined, rgb, shade
from .things import Part, Thing, laid, paint


def potted_plant(rng: Random) -> Thing:
    r, h = rng.uniform(4.2, 6.5), rng.uniform(7, 10)
    outline = [
        (0, 0.1),
        (r * 0.68, 0),
        (r * 0.9, h * 0.78),
        (r, h * 0.78),
        (r * 1.03, h),
        (r * 0.93, h),
        (r * 0.88, h * 0.8),
        (0, h * 0.8),
    ]
    points = lathe_points(rounded(outline, 0.25, 180), 161)
    at = refined(points, 320, 480)
    if rng.uniform() < 0.6:
        clay = shade(rng, rgb(176, 96, 62), 0.08) * np.exp(0.10 * noise(rng, at, 2, 4))[..., None]
        lime = ramp(noise(rng, at, 2.5, 4) + ramp(at[..., 2], 2, 0), 0.5, 1.3)
        vessel = Part(
            sheet(points), paint(mix(clay, rgb(222, 206, 190), 0.6 * lime), 0.85, 0.01 * noise(rng, at, 0.3, 3))
        )
    else:
        vessel = pot(rng, outline, 0.25, glaze_colour(rng))
    earth = lathe_points(np.stack([np.linspace(r * 0.9, 0, 60), np.linspace(h * 0.86, h * 0.9, 60)], 1), 128)
    ground = refined(earth, 160, 160)
    earth[..., 2] += 0.25 * noise(rng, earth, 0.8, 3)
    soil = Part(sheet(earth), paint(rgb(52, 38, 28) * np.exp(0.4 * noise(rng, ground, 0.4, 3))[..., None], 0.95))
    kind = rng.choice(["blades", "rosette", "leafy"])
    base = np.array([0, 0, h * 0.86])
    meshes, stems = [], []
    if kind == "blades":
        for _ in range(int(rng.integers(7, 13))):
            long, wide = rng.uniform(13, 27), rng.uniform(1.8, 3.0)
            t, s = np.meshgrid(np.linspace(0, 1, 50), np.linspace(-1, 1, 11), indexing="ij")
            half = wide / 2 * (0.55 + 0.75 * t) * (1 - t**5) * (1 - 0.35 * t**2)
            twist, lean = rng.normal(0, 0.5) * t + rng.uniform(0, 6), rng.uniform(0.02, 0.22)
            out = half * s
            shape = np.stack([out * np.cos(twist) + lean * long * t**1.5, out * np.sin(twist), long * t + 0 * s], -1)
            shape[..., 0] += 0.25 * half * (1 - s**2)
            spin = turn("z", rng.uniform(0, 360))
            meshes.append(sheet(shape).moved(spin, base + spin @ [rng.uniform(0.3, 0.5 * r), 0, -0.3]))
    elif kind == "rosette":
        for number in range(46):
            out = 1 - number / 46
            long, wide = r * (0.35 + 0.85 * out), 2.3 * (0.4 + 0.6 * out)
            t, a = np.meshgrid(np.linspace(0, 1, 30), np.linspace(0, 2 * np.pi, 25), indexing="ij")
            half = wide / 2 * np.sin(np.pi * (0.12 + 0.88 * t) ** 1.3) ** 0.7
            shape = np.stack([long * t, half * np.cos(a), 0.30 * half * np.sin(a) + 0.22 * long * t**2], -1)
            shape[-1] = shape[-1].mean(0)
            spin = turn("z", number * 137.508) @ turn("y", -(10 + 70 * (1 - out) + rng.normal(0, 4)))
            meshes.append(sheet(shape).moved(spin, base + (0.3 + 0.8 * (1 - out)) * UP))
    else:
        for _ in range(int(rng.integers(26, 44))):
            up, way = rng.uniform(4, 15), rng.uniform(0, 2 * np.pi)
            reach = rng.uniform(0.3, 1.1) * r * (1.3 - up / 30)
            out = np.array([reach * np.cos(way), reach * np.sin(way), 0])
            tip = base + out + up * UP
            path = curve(
                [
                    base + 0.2 * out - 0.3 * UP,
                    (base + tip) / 2 + [0, 0, 1.0],
                    tip,
                ],
                24,
            )
            stems.append(tube(path, np.linspace(0.16, 0.09, 24)))
            size = rng.uniform(3.2, 6.5)
            spin = (
                turn("z", np.rad2deg(way) + rng.normal(0, 25))
                @ turn("y", rng.uniform(-20, 45))
                @ turn("x", rng.normal(0, 18))
            )
            meshes.append(leaf(rng, size, size * rng.uniform(0.5, 0.7), rng.uniform(0.1, 0.5)).moved(spin, tip))
    v, u = np.mgrid[:256, :128] / np.array([256, 128])[:, None, None]
    grid = np.stack([u * 3, v * 9, 0 * u], -1)
    tone = shade(rng, rgb(*[(62, 100, 44), (84, 116, 54), (46, 84, 48)][rng.integers(3)]), 0.1)
    if kind == "rosette":
        tone = shade(rng, rgb(118, 146, 116), 0.08)
        colour = mix(np.broadcast_to(tone, grid.shape), rgb(170, 96, 96), 0.7 * ramp(v, 0.85, 1.0))
    elif kind == "blades":
        colour = mix(tone, tone * 0.4, ramp(noise(rng, grid * [0.4, 1, 1], 0.5, 3), -0.1, 0.5))
        colour = mix(colour, rgb(196, 190, 96), ramp(np.abs(u - 0.5), 0.41, 0.44) * rng.choice([0.0, 1.0]))
    else:
        rib = ramp(np.abs(u - 0.5), 0.02, 0.008) + 0.4 * ramp(
            np.abs((v * 9 - np.abs(u - 0.5) * 4) % 1 - 0.5), 0.06, 0.0
        )
        colour = mix(tone * np.exp(0.12 * noise(rng, grid, 1.5, 3))[..., None], tone * 1.9, 0.5 * rib.clip(0, 1))
    parts = [vessel, soil, Part(joined(meshes), paint(colour.clip(0, 1), 0.35 if kind != "rosette" else 0.6))]
    if stems:
        parts.append(Part(joined(stems), paint(tone * 1.2, 0.5)))
    return laid("potted plant", parts)

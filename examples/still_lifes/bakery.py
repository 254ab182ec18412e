"""Bread and eggs."""

from __future__ import annotations

import numpy as np

from .geometry import ball_points, joined, lathe_points, sheet, turn
from .organic import ring_points, uneven
from .textures import Random, mix, noise, ramp, refined, rgb, shade, spots
from .things import Part, Thing, laid, paint, tumbled


def egg(rng: Random) -> Thing:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 120)
    profile = np.stack([2.15 * np.cos(angle).round(9) * (1 - 0.11 * np.sin(angle)), 2.8 * np.sin(angle)], 1)
    points = lathe_points(profile * rng.uniform(0.95, 1.05), 160)
    at = refined(points, 320, 480)
    tone = rgb(*[(236, 228, 216), (206, 150, 108), (222, 178, 140)][rng.integers(3)])
    colour = shade(rng, tone, 0.04) * np.exp(0.03 * noise(rng, at, 1.5, 4))[..., None]
    colour = mix(colour, tone * 0.6, 0.45 * spots(rng, at, 0.5, 0.04, 0.35))
    body = Part(sheet(points), paint(colour, 0.5, 0.004 * noise(rng, at, 0.12, 2), flatness=0.5))
    return laid("egg", [body], turn("z", rng.uniform(0, 360)) @ turn("x", 94) @ tumbled(rng, 0))


def bread(rng: Random) -> Thing:
    """A country loaf: floured, scored, browned where it rose."""
    long, wide, high = rng.uniform(12, 14.5), rng.uniform(6.5, 7.5), rng.uniform(6.0, 7.5)
    points = ball_points(220, 320)
    points = np.sign(points) * np.abs(points) ** 0.9
    up = points[..., 2].copy()
    points[..., 2] = np.where(up < 0, 0.25 * up, up)
    points = uneven(rng, points, 0.05, 0.7, 3) * [long, wide, high]
    slash = np.zeros(points.shape[:2])
    for start in np.linspace(-0.5, 0.5, int(rng.integers(3, 5))) * long * 1.2:
        across = points[..., 0] - start - 0.35 * points[..., 1] + 0.3 * noise(rng, points, 3)
        slash = np.maximum(slash, np.exp(-((across / 0.75) ** 2)) * ramp(np.abs(points[..., 1]) / wide, 0.8, 0.55))
    slash = slash * ramp(points[..., 2] / high, 0.35, 0.6)
    points[..., 2] -= 0.7 * slash
    at = refined(points, 562, 875)
    cut = refined(np.repeat(slash[..., None], 3, 2), 562, 875)[..., 0]
    crust = mix(rgb(152, 92, 44), rgb(96, 50, 22), 0.5 + 0.45 * noise(rng, at, 2.5, 4))
    crust = mix(crust, rgb(206, 152, 88), ramp(1.5 - at[..., 2] + 0.8 * noise(rng, at, 2, 3), -0.3, 1.4))
    crust = mix(crust, rgb(214, 170, 112), cut * (0.6 + 0.3 * noise(rng, at, 0.5, 3)))
    flour = ramp(
        noise(rng, at, 4, 2) + 0.7 * noise(rng, at, 0.25, 3) + 0.9 * ramp(at[..., 2], 2, 6) - 0.9 * cut, 0.5, 1.5
    )
    crust = mix(crust, rgb(232, 222, 206), 0.75 * flour)
    crackle = noise(rng, at, 0.5, 4)
    return laid(
        "French loaf",
        [Part(sheet(points), paint(crust, 0.75, 0.10 * crackle + 0.05 * noise(rng, at, 2)))],
        tumbled(rng, 0),
    )


def bagel(rng: Random) -> Thing:
    points = ring_points(rng, rng.uniform(3.1, 3.5), rng.uniform(1.9, 2.2), 0.85)
    at = refined(points, 480, 960)
    top = ramp(at[..., 2] + 0.3 * noise(rng, at, 1.5, 3), -1.4, 0.8)
    crust = mix(rgb(206, 150, 86), rgb(150, 82, 34), top) * np.exp(0.12 * noise(rng, at, 1.2, 4))[..., None]
    parts = [Part(sheet(points), paint(crust, 0.35, 0.03 * noise(rng, at, 0.6, 3)))]
    if rng.uniform() < 0.7:
        pale = rgb(230, 208, 160) if rng.uniform() < 0.6 else rgb(36, 34, 38)
        mesh = sheet(points)
        candidates = np.flatnonzero((mesh.normals[:, 2] > 0.25) & (rng.uniform(size=len(mesh.points)) < 0.5))
        seed = sheet(ball_points(7, 9) * [0.17, 0.1, 0.05])
        seeds = []
        for index in rng.choice(candidates, 260, replace=False):
            normal = mesh.normals[index]
            side = np.cross(normal, rng.normal(size=3))
            side /= np.linalg.norm(side)
            seeds.append(
                seed.moved(np.stack([side, np.cross(normal, side), normal], 1), mesh.points[index] + 0.02 * normal)
            )
        parts.append(Part(joined(seeds), paint(pale, 0.5)))
    return laid("bagel", parts, tumbled(rng, 0))

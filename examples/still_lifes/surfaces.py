"""Table tops and walls."""

from __future__ import annotations

import cv2
import numpy as np

from .geometry import Mesh, box, sheet
from .textures import Random, granite, marble, mix, noise, plane, planks, ramp, rgb, shade, tiles, weave
from .things import Material, Part, paint

PAINTS = (
    (226, 220, 206),
    (206, 202, 196),
    (170, 182, 178),
    (196, 176, 150),
    (118, 136, 142),
    (150, 120, 104),
    (212, 206, 184),
    (92, 104, 96),
)


def slab(
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    material: Material,
    axes: tuple[int, int] = (0, 1),
    radius: float = 0.3,
) -> Part:
    """A box between two corners; the texture runs once across the two axes."""
    low_corner, high_corner = np.array(low, float), np.array(high, float)
    mesh = box(high_corner - low_corner, radius).moved(np.eye(3), (low_corner + high_corner) / 2)
    uv = (mesh.points[:, axes] - low_corner[list(axes)]) / (high_corner - low_corner)[list(axes)]
    return Part(Mesh(mesh.points, mesh.faces, uv, mesh.normals), material)


def table_top(rng: Random, wide: float, deep: float, kinds: tuple[str, ...]) -> Material:
    """The material of a level surface of that size."""
    at = plane(wide, deep, 1600)
    smear = 0.08 * noise(rng, at[::4, ::4], 9, 4)
    smear = cv2.resize(smear, at.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    kind = rng.choice(kinds)
    if kind == "wood":
        colour, height = planks(
            rng, at, str(rng.choice(["oak", "pine", "walnut", "beech", "mahogany"])), rng.choice([9.0, 14.0, 40.0])
        )
        scratch = ramp(noise(rng, at * [0.15, 3, 1], 1.2, 3), 0.9, 1.4)
        return paint(
            colour * (1 - 0.2 * scratch)[..., None], (rng.choice([0.3, 0.42, 0.55]) + smear).clip(0.1), 0.05 * height
        )
    if kind == "white":
        colour = shade(rng, rgb(226, 222, 214), 0.05) * np.exp(0.03 * noise(rng, at, 20, 4))[..., None]
        return paint(colour, (rng.choice([0.25, 0.5]) + smear).clip(0.1))
    if kind == "marble":
        return paint(marble(rng, at, rng.uniform() < 0.25), (0.14 + 0.5 * smear).clip(0.05))
    if kind == "granite":
        return paint(granite(rng, at), (0.16 + 0.5 * smear).clip(0.05))
    cloth = rng.choice(["plain", "checks", "stripes"])
    tone = np.broadcast_to(
        shade(rng, rgb(*[(226, 218, 202), (170, 178, 184), (206, 188, 160), (112, 124, 110)][rng.integers(4)])),
        at.shape,
    )
    dye = shade(rng, rgb(*[(170, 40, 40), (48, 78, 128), (70, 100, 74), (60, 56, 54)][rng.integers(4)]))
    x, y = ((at[..., k] + 0.15 * noise(rng, at, 12, 2)) / 3.2 % 1 < 0.5 for k in (0, 1))
    if cloth == "checks":
        tone = mix(tone, dye, 0.48 * x + 0.48 * y)
    elif cloth == "stripes":
        tone = mix(tone, dye, 0.85 * ((at[..., 0] % 11 < 0.8) | (abs(at[..., 0] % 11 - 1.7) < 0.25)))
    thread = weave(rng, at.shape[0], at.shape[1], int(wide / 0.16))
    crease = noise(rng, at * [1, 0.35, 1], 15, 2) + 0.6 * noise(rng, at, 9, 2)
    tone = tone * (0.72 + 0.28 * thread)[..., None] * np.exp(0.03 * noise(rng, at, 4, 4))[..., None]
    return paint(tone, 0.92, 0.03 * thread + 0.12 * crease)


def wall(rng: Random, y: float, floor: float = -76.0, width: float = 420.0) -> Part:
    """A painted wall across the view."""
    at = plane(width, 300, 500)
    colour = shade(rng, rgb(*PAINTS[rng.integers(len(PAINTS))]), 0.08)
    tone = colour * np.exp(0.04 * noise(rng, at, 60, 4) + 0.02 * noise(rng, at, 3, 2))[..., None]
    corners = np.array(
        [[[-width / 2, y, floor], [width / 2, y, floor]], [[-width / 2, y, floor + 300], [width / 2, y, floor + 300]]]
    )
    fine = plane(width, 300, 1200)
    relief = 0.05 * noise(rng, fine, 1.1, 2) + 0.25 * noise(rng, fine, 40, 2)
    return Part(sheet(corners), paint(tone, 0.8, relief))


def tiled_wall(rng: Random, y: float) -> Part:
    width, height = 240.0, 120.0
    at = plane(width, height, 2000)
    size = [(15.0, 7.5, True), (10.0, 10.0, False), (20.0, 6.0, True), (20.0, 10.0, False)][rng.integers(4)]
    colour = shade(
        rng,
        rgb(
            *[(236, 234, 228), (228, 222, 208), (150, 172, 168), (190, 204, 206), (96, 120, 116), (226, 206, 188)][
                rng.integers(6)
            ]
        ),
        0.05,
    )
    tone, relief, on = tiles(rng, at, size[0], size[1], colour, size[2])
    corners = np.array([[[-120, y, -1], [120, y, -1]], [[-120, y, 119], [120, y, 119]]], float)
    return Part(sheet(corners), paint(tone, 0.75 - 0.62 * on, 0.12 * relief))

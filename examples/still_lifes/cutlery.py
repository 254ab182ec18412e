"""Knives, forks, spoons and the board under them."""

from __future__ import annotations

import numpy as np

from .geometry import Mesh, box, curve, joined, lathe, rounded, sheet, tube, turn
from .textures import Random, mix, noise, plane, planks, ramp, rgb, wood
from .things import Material, Part, Thing, Top, laid, metal, paint


def steel(rng: Random, mesh: Mesh) -> Material:
    scratch = noise(rng, plane(3, 20, 128) * [8, 0.4, 1], 0.3, 3)
    return metal(rgb(208, 206, 202), 0.16 + 0.05 * scratch, 0.002 * scratch)


def strip(profile: list[tuple[float, float, float, float]], count: int = 90, cup: float = 0.0) -> np.ndarray:
    """The upper face of a piece of cutlery along x from (x, half width, height, depth of its hollow)."""
    x, half, z, deep = curve(profile, count).T
    s = np.linspace(-1, 1, 25)
    return np.stack(
        [
            np.broadcast_to(x[:, None], (count, 25)),
            half.clip(0.02)[:, None] * s,
            z[:, None] - deep.clip(0)[:, None] * (1 - s**2),
        ],
        -1,
    )


def thick(points: np.ndarray, by: float) -> Mesh:
    """A sheet given a thickness, with a round edge."""
    mid = points.mean(1, keepdims=True)
    wider = mid + (points - mid) * 1.0
    under = wider - [0, 0, by]
    edge = np.concatenate([points[:, :1], points, points[:, -1:] + (points[:, -1:] - points[:,
        -2:-1]) * 0.3 - [0, 0, by / 2],
                           under[:, ::-1], points[:, :1] + (points[:, :1] - points[:, 1:2]) * 0.3 - [0, 0,
                           by / 2], points[:, :1]], 1)  # fmt: skip
    middle = edge.mean(1, keepdims=True)
    return sheet(np.concatenate([edge[:1] * 0 + middle[:1], edge, edge[-1:] * 0 + middle[-1:]]))


def spoon(rng: Random) -> Thing:
    wooden = rng.uniform() < 0.4
    k = 1.5 if wooden else 1.0
    profile = [(0, 0.75, 0.35, 0), (1.5, 0.85, 0.4, 0), (5, 0.5, 0.55, 0), (10, 0.36, 1.2, 0), (13, 0.5, 0.95,
        0.1), (14.5, 1.5, 0.75, 0.4),
               (16.5, 2.0, 0.62, 0.6), (18.5, 1.5, 0.72, 0.4), (19.6, 0.4, 0.95, 0.05)]  # fmt: skip
    mesh = thick(strip(profile, 140) * [k, k * (0.9 if wooden else 1), 1], 0.7 if wooden else 0.2)
    if wooden:
        colour = wood(rng, plane(4, 30)[..., [1, 0, 2]], "beech")
        return laid("wooden spoon", [Part(mesh, paint(colour, 0.6))])
    return laid("spoon", [Part(mesh, steel(rng, mesh))])


def fork(rng: Random) -> Thing:
    profile = [
        (0, 0.75, 0.35, 0),
        (1.5, 0.85, 0.4, 0),
        (5, 0.5, 0.55, 0),
        (10, 0.36, 1.1, 0),
        (12.5, 0.5, 0.95, 0.05),
        (14, 1.15, 0.6, 0.1),
        (15.2, 1.25, 0.55, 0.05),
    ]
    meshes = [thick(strip(profile, 120), 0.2)]
    for side in (-0.99, -0.33, 0.33, 0.99):
        path = curve([(14.6, side, 0.45), (16.5, side, 0.42), (18.5, side * 0.98, 0.75), (20, side * 0.95, 1.35)], 40)
        angle = np.linspace(0, 2 * np.pi, 17)
        section = np.stack([0.1 * np.cos(angle), 0.2 * np.sin(angle)], 1)
        section[-1] = section[0]
        meshes.append(tube(path, np.linspace(1.1, 0.6, 40), section))
    mesh = joined(meshes)
    return laid("fork", [Part(mesh, steel(rng, mesh))])


def knife(rng: Random) -> Thing:
    """A kitchen knife: a steel blade and a riveted handle."""
    length, wide = rng.uniform(13, 19), rng.uniform(2.4, 4.0)
    x = np.linspace(0, length, 90)
    back = wide / 2 - 0.35 * wide * (x / length) ** 3
    edge = -wide / 2 + 0.62 * wide * (x / length) ** 3.5
    s = np.linspace(-1, 1, 21)
    y = back[:, None] * (1 + s) / 2 + edge[:, None] * (1 - s) / 2
    thickness = 0.012 + 0.09 * ((1 + s) / 2) ** 0.8 * (1 - 0.7 * x / length)[:, None]
    flat = np.stack([np.broadcast_to(x[:, None], y.shape), y], -1)
    top, under = (np.concatenate([flat, sign * thickness[..., None] + 1.0], -1) for sign in (1, -1))
    around = np.concatenate([top, under[:, ::-1], top[:, :1]], 1)
    tip = around[-1:].mean(1, keepdims=True)
    blade = sheet(np.concatenate([around, around[-1:] * 0 + tip]))
    grip = curve([(-11.5, -0.1, 1), (-8, 0.2, 1), (-4, 0.05, 1), (0.3, 0.15, 1)], 80)
    angle = np.linspace(0, 2 * np.pi, 49)
    c, d = np.cos(angle), np.sin(angle)
    section = np.stack([0.85 * np.sign(c) * np.abs(c) ** 0.6, 1.25 * np.sign(d) * np.abs(d) ** 0.7], 1)
    section[-1] = section[0]
    handle = tube(grip, 1 + 0.12 * np.cos(np.linspace(0, 9, 80)), section)
    if rng.uniform() < 0.5:
        at = plane(6, 13, 512)[..., [1, 0, 2]]
        finish = paint(wood(rng, at, str(rng.choice(["walnut", "beech", "mahogany"]))), 0.4)
    else:
        finish = paint(rgb(22, 22, 24), 0.35)
    pin = lathe(rounded([(0.32, 0), (0.32, 0.06), (0, 0.07)], 0.03, 20), 32)
    rivets = joined([pin.moved(np.eye(3), (-x0, 0.1, 1.0 + 0.86)) for x0 in (2.2, 5.5, 8.8)])
    return laid(
        "knife",
        [Part(blade, steel(rng, blade)), Part(handle, finish), Part(rivets, metal(rgb(200, 198, 194), 0.2))],
        turn("x", 3),
    )


def cutting_board(rng: Random) -> Thing:
    w, d, t = rng.uniform(26, 34), rng.uniform(17, 22), rng.uniform(1.6, 2.4)
    at = plane(w, d, 768)
    top, _ = planks(rng, at, str(rng.choice(["beech", "oak", "walnut"])), rng.uniform(3.5, 6))
    scratches = ramp(noise(rng, at * [0.6, 7, 1], 0.6, 2), 0.9, 1.3) + ramp(
        noise(rng, at * [6, 0.7, 1], 0.6, 2), 0.9, 1.3
    )
    mesh = box((w, d, t), 0.35)
    flat = Mesh(mesh.points, mesh.faces, (mesh.points[:, :2] / [w, d] + 0.5), mesh.normals)
    return laid(
        "cutting board", [Part(flat, paint(mix(top, top * 0.6, 0.4 * scratches.clip(0, 1)), 0.6))], top=Top(t, 0.46 * d)
    )

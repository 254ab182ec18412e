"""Balls and dice."""

from __future__ import annotations

import numpy as np

from .geometry import Mesh, ball_points, box, sheet, turn
from .printing import INKS
from .textures import Random, mix, noise, ramp, refined, rgb, shade
from .things import Part, Thing, laid, paint, tumbled


def seam(rng: Random, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance on the unit sphere to the seam of a tennis ball, and the share of its length there."""
    t = np.linspace(0, 2 * np.pi, 500)
    a, b = 0.72, 0.28
    line = np.stack(
        [a * np.cos(t) + b * np.cos(3 * t), a * np.sin(t) - b * np.sin(3 * t), 2 * np.sqrt(a * b) * np.sin(2 * t)], 1
    )
    line = (line / np.linalg.norm(line, axis=1, keepdims=True)).astype(np.float32)
    best, along = np.full(at.shape[:2], -2, np.float32), np.zeros(at.shape[:2], np.float32)
    unit = at.astype(np.float32)
    for number, point in enumerate(line):
        near = unit @ point
        along = np.where(near > best, number / len(line), along)
        best = np.maximum(best, near)
    return np.arccos(best.clip(-1, 1)), along


def tennis_ball(rng: Random) -> Thing:
    unit = ball_points()
    at = refined(unit, 437, 875)
    at = at / np.linalg.norm(at, axis=-1, keepdims=True)
    distance, _ = seam(rng, at)
    line = ramp(distance, 0.062, 0.045)
    nap = noise(rng, at, 0.05, 3)
    colour = shade(rng, rgb(196, 208, 48), 0.06) * np.exp(0.12 * nap + 0.08 * noise(rng, at, 0.8, 3))[..., None]
    body = Part(
        sheet(3.3 * unit), paint(mix(colour, rgb(222, 222, 206), line), 0.95, 3.3 * (0.018 * nap - 0.02 * line))
    )
    roots = rng.normal(size=(16000, 3))
    roots /= np.linalg.norm(roots, axis=1, keepdims=True)
    roots = roots[seam(rng, roots[None])[0][0] > 0.06]
    out = roots + 0.7 * rng.normal(size=roots.shape)
    side = 0.008 * np.cross(roots, rng.normal(size=roots.shape))
    length = rng.uniform(0.08, 0.2, (len(roots), 1))
    corners = np.stack([3.29 * roots - side, 3.29 * roots + side, 3.29 * roots + length * out], 1).reshape(-1, 3)
    fuzz = Mesh(corners, np.arange(len(corners)).reshape(-1, 3), np.zeros((len(corners), 2)), np.repeat(roots, 3, 0))
    return laid("tennis ball", [body, Part(fuzz, paint(rgb(206, 218, 70), 0.9))], tumbled(rng, 180))


def baseball(rng: Random) -> Thing:
    unit = ball_points()
    at = refined(unit, 480, 960)
    at = at / np.linalg.norm(at, axis=-1, keepdims=True)
    distance, along = seam(rng, at)
    stitch = (
        ramp(np.abs((along * 108 + distance * 9) % 1 - 0.5), 0.22, 0.14)
        * ramp(distance, 0.085, 0.075)
        * ramp(distance, 0.008, 0.016)
    )
    leather = rgb(232, 224, 208) * np.exp(0.05 * noise(rng, at, 0.3, 4))[..., None]
    leather = mix(leather, rgb(150, 122, 92), 0.5 * ramp(noise(rng, at, 0.7, 4), 0.2, 1.0) * rng.uniform(0.2, 1))
    colour = mix(leather, rgb(170, 28, 34), stitch)
    groove = np.exp(-((distance / 0.012) ** 2))
    height = 3.7 * (0.02 * stitch - 0.02 * groove) + 0.008 * noise(rng, at, 0.03, 2)
    return laid("baseball", [Part(sheet(3.7 * unit), paint(colour, 0.5, height))], tumbled(rng, 180))


def soccer_ball(rng: Random) -> Thing:
    golden = (1 + 5**0.5) / 2
    twelve = np.array([np.roll([0, a, b * golden], k) for a in (-1, 1) for b in (-1, 1) for k in range(3)])
    twelve = twelve / np.linalg.norm(twelve, axis=1, keepdims=True)
    near = twelve @ twelve.T > 0.4
    twenty = [
        twelve[[i, j, k]].mean(0)
        for i in range(12)
        for j in range(i)
        for k in range(j)
        if near[i, j] and near[j, k] and near[i, k]
    ]
    twenty = np.stack(twenty) / np.linalg.norm(twenty, axis=1, keepdims=True)
    unit = ball_points()
    at = refined(unit, 480, 960)
    at = at / np.linalg.norm(at, axis=-1, keepdims=True)
    score = np.concatenate([at @ twelve.T / 2.3274, at @ twenty.T / 2.2673], -1)
    order = np.sort(score, -1)
    edge = order[..., -1] - order[..., -2]
    dark = score.argmax(-1) < 12
    ink = rgb(24, 24, 28) if rng.uniform() < 0.7 else shade(rng, rgb(*INKS[rng.integers(4)]))
    colour = np.where(dark[..., None], ink, rgb(232, 232, 228)) * np.exp(0.04 * noise(rng, at, 0.5, 4))[..., None]
    colour = mix(colour, rgb(120, 98, 70), 0.4 * ramp(noise(rng, at, 0.6, 4), 0.3, 1.0) * rng.uniform(0, 1))
    groove = 1 - ramp(edge, 0.001, 0.010)
    colour = colour * (1 - 0.55 * (1 - ramp(edge, 0.0, 0.004)))[..., None]
    body = Part(sheet(11 * unit), paint(colour, 0.38, -0.28 * groove + 0.006 * noise(rng, at, 0.012)))
    return laid("soccer ball", [body], tumbled(rng, 180))


PIPS = {1: [(0, 0)], 2: [(-1, -1), (1, 1)], 3: [(-1, -1), (0, 0), (1, 1)], 4: [(-1, -1), (-1, 1), (1, -1), (1, 1)],
        5: [(-1, -1), (-1, 1), (1, -1), (1, 1), (0, 0)], 6: [(-1, -1), (-1, 0), (-1, 1), (1, -1), (1, 0), (1,
        1)]}  # fmt: skip


def die(rng: Random) -> Thing:
    size = rng.uniform(1.5, 1.9)
    y, x = np.mgrid[:256, :256] / 127.5 - 1
    mask = np.zeros((512, 768))
    for number, pips in enumerate((1, 2, 3, 6, 5, 4)):
        distance = np.min([np.hypot(x - 0.5 * px, y - 0.5 * py) for px, py in PIPS[pips]], 0)
        row, column = 256 * (number // 3), 256 * (number % 3)
        mask[row : row + 256, column : column + 256] = ramp(distance, 0.2, 0.165)
    ground, ink = [((236, 232, 222), (24, 24, 26)), ((168, 24, 30), (236, 232, 224)), ((30, 30, 34), (232, 230, 224))][
        rng.integers(3)
    ]
    body = Part(
        box((size,) * 3, 0.2 * size),
        paint(mix(np.broadcast_to(rgb(*ground), (512, 768, 3)), rgb(*ink), mask), 0.2, -0.05 * mask),
    )
    upright = turn("x", 90 * rng.integers(4)) @ turn("y", 90 * rng.integers(4))
    return laid("dice", [body], tumbled(rng, 0) @ upright)

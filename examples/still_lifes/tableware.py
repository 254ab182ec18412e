"""Crockery, glasses, bottles and cutlery."""

from __future__ import annotations

import numpy as np

from .geometry import Mesh, curve, joined, lathe, lathe_points, rounded, sheet, tube, turn
from .printing import label
from .textures import Random, mix, noise, plane, ramp, refined, rgb, shade, spots, wood
from .things import Material, Part, Thing, Top, glass, laid, metal, paint

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


TABLEWARE = (mug, plate, bowl, vase, wine_glass, tumbler, wine_bottle, teapot, spoon, fork, knife)

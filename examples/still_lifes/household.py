"""Books, toys, plants, tools and lights."""

from __future__ import annotations

import cv2
import numpy as np

from .food import leaf, ring_points
from .geometry import (
    UP,
    Mesh,
    ball_points,
    box,
    curve,
    joined,
    lathe,
    lathe_points,
    rounded,
    sheet,
    tube,
    tube_points,
    turn,
)
from .printing import INKS, PEOPLE, clock_face, cover, spine, title
from .tableware import glaze_colour, pot, steel
from .textures import Random, mix, noise, plane, planks, ramp, refined, rgb, shade
from .things import Part, Thing, Top, glass, laid, metal, paint, tumbled


def book(rng: Random, standing: bool = False) -> Thing:
    """Two boards and a round back about a block of pages."""
    w, h, d = rng.uniform(11.5, 16), rng.uniform(18, 24), rng.uniform(1.6, 4.5)
    board, lip = rng.uniform(0.18, 0.3), rng.uniform(0.2, 0.35)
    ground = shade(rng, rgb(*INKS[rng.integers(len(INKS))]), 0.15)
    words, person = title(rng), str(rng.choice(PEOPLE))
    gloss = rng.choice([0.25, 0.45, 0.7])
    front = cover(rng, 900, int(900 * w / h), ground, words, person)
    atlas = np.broadcast_to(ground, (1200, 1800, 3)).copy()
    for number in (2, 5):
        row, column = number // 3, number % 3
        atlas[600 * row : 600 * row + 600, 600 * column : 600 * column + 600] = cv2.resize(
            front[::-1], (600, 600), interpolation=cv2.INTER_AREA
        )
    boards = [box((w, h, board), board * 0.45).moved(np.eye(3), (0, 0, z)) for z in (board / 2, d - board / 2)]
    bent = np.linspace(-1, 1, 40)
    swell = 0.18 * d
    arc = np.stack([-w / 2 - swell * (1 - bent**2), 0 * bent, d / 2 + d / 2 * bent], 1)
    back = np.stack([arc + np.array([0, y, 0]) for y in np.linspace(-h / 2, h / 2, 12)])
    pages = box((w - lip, h - 2 * lip, d - 2 * board), 0.05).moved(np.eye(3), (-lip / 2, 0, d / 2))
    y = np.linspace(0, 1, 1024)
    leaf_line = 0.85 + 0.15 * noise(rng, np.stack([600 * y, 0 * y, 0 * y], -1), 2.0, 2)
    paper = rgb(232, 222, 200) * np.broadcast_to(leaf_line[:, None, None], (1024, 64, 3))
    parts = [
        Part(joined(boards), paint(atlas, gloss)),
        Part(sheet(back), paint(spine(rng, 900, max(int(900 * d / h), 24), ground, words, person)[::-1], gloss)),
        Part(pages, paint(paper, 0.9)),
    ]
    if standing:
        return laid("book", parts, turn("z", 90) @ turn("x", 90), swing=1.5)
    return laid("book", parts, tumbled(rng, 0), Top(d, 0.5 * w))


def pencil(rng: Random) -> Thing:
    length, wide, sharp = rng.uniform(12, 17.5), 0.36, rng.uniform(1.8, 2.3)
    x = np.concatenate([np.linspace(0, sharp * 1.25, 110), np.linspace(sharp * 1.25, length, 40)[1:]])
    angle = np.linspace(0, 2 * np.pi, 97)
    hexagon = wide * 0.92 / np.cos((angle % (np.pi / 3)) - np.pi / 6) ** 0.85
    cone = (0.03 + wide * 1.02 * x / sharp)[:, None]
    radius = np.minimum(cone, hexagon)
    points = np.stack([np.broadcast_to(x[:, None], radius.shape), radius * np.cos(angle), radius * np.sin(angle)], -1)
    points[:, -1] = points[:, 0]
    points = np.concatenate([points[:1] * 0 + [0, 0, 0], points, points[-1:] * 0 + [length, 0, 0]])
    at = refined(points, 1400, 256)
    bare = ramp(refined(np.repeat(((cone - hexagon)[..., None]), 3, 2), 1400, 256)[..., 0], 0.006, -0.006)
    colour = shade(
        rng, rgb(*[(226, 166, 32), (176, 40, 38), (36, 84, 60), (40, 70, 120), (30, 30, 32)][rng.integers(5)]), 0.06
    )
    timber = rgb(214, 166, 116) * np.exp(0.15 * noise(rng, at * [0.3, 1, 1], 0.12, 2))[..., None]
    tone = mix(np.broadcast_to(colour, at.shape), timber, bare)
    tone = mix(tone, rgb(44, 44, 48), ramp(at[..., 0], 0.62, 0.58))
    parts = [Part(sheet(points), paint(tone, 0.3 + 0.4 * bare))]
    if rng.uniform() < 0.6:
        band = rounded(
            [
                (wide, 0),
                (wide + 0.05, 0.05),
                (wide + 0.03, 0.4),
                (wide + 0.06, 0.5),
                (wide + 0.03, 0.6),
                (wide + 0.05, 1.1),
                (wide - 0.02, 1.15),
            ],
            0.05,
            40,
        )
        rubber = rounded([(wide - 0.02, 1.0), (wide, 1.9), (wide * 0.6, 2.05), (0, 2.05)], 0.12, 40)
        lean = turn("y", 90)
        parts += [Part(lathe(band, 48).moved(lean, (length - 0.2, 0, 0)), metal(rgb(200, 180, 120), 0.2)),
                  Part(lathe(rubber, 48).moved(lean, (length - 0.2, 0, 0)), paint(rgb(206, 110, 110),
                  0.8))]  # fmt: skip
    return laid("pencil", parts, turn("x", 30))


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


def disc(radius: float, z: float, rings: int = 6) -> Mesh:
    """A disc whose texture is the square around it, seen from above."""
    points = lathe_points(np.stack([np.linspace(radius, 0, rings), np.full(rings, z)], 1), 97)
    mesh = sheet(points)
    return Mesh(mesh.points, mesh.faces, mesh.points[:, :2] / (2 * radius) + 0.5, mesh.normals)


def alarm_clock(rng: Random) -> Thing:
    """Made lying on its back, then stood up, its face towards -y."""
    r, d = rng.uniform(4.6, 5.6), rng.uniform(3.6, 4.4)
    finish = metal(rgb(206, 180, 120), 0.22) if rng.uniform() < 0.4 else paint(glaze_colour(rng), 0.22, clearcoat=0.5)
    shell = rounded(
        [(0, -d), (r * 0.9, -d), (r, -d + 0.6), (r, 0.1), (r + 0.15, 0.25), (r - 0.15, 0.5), (r - 0.35, 0.05)],
        0.25,
        140,
    )
    dial = disc(r - 0.3, 0.0)
    parts = [Part(lathe(shell), finish), Part(dial, paint(clock_face(rng)[::-1], 0.6))]
    ink = paint(rgb(24, 24, 28), 0.4)
    hour, minute = rng.uniform(0, 12), rng.uniform(0, 60)
    for degrees, reach, wide in ((-30 * hour, 0.5, 0.17), (-6 * minute, 0.78, 0.11)):
        hand = box((wide * 2, reach * r + 0.6, 0.06), 0.02).moved(np.eye(3), (0, reach * r / 2 - 0.3, 0.15))
        parts.append(Part(hand.moved(turn("z", degrees)), ink))
    parts.append(Part(lathe(rounded([(0.3, 0.1), (0.3, 0.25), (0, 0.27)], 0.05, 20), 32), ink))
    legs = [
        tube(
            curve([(sx * r * 0.62, -r * 0.72, -d / 2), (sx * r * 0.85, -r * 1.28, -d / 2)], 12),
            np.linspace(0.5, 0.3, 12),
        )
        for sx in (-1, 1)
    ]
    parts.append(Part(joined(legs), finish))
    if rng.uniform() < 0.75:
        bell = rounded([(2.0, 0), (1.9, 0.7), (1.0, 1.5), (0, 1.65)], 0.9, 60)
        bells, posts = [], []
        for side in (-38, 38):
            way = turn("z", -side) @ turn("x", -90)
            bells.append(lathe(bell, 96).moved(way, turn("z", -side) @ [0, r + 0.75, -d / 2]))
            posts.append(
                tube(np.stack([turn("z", -side) @ [0, y, -d / 2] for y in np.linspace(r - 0.1, r + 1.4, 8)]), 0.22)
            )
        grip = tube(
            curve(
                [
                    (-2.2, r * 0.98 + 1.1, -d / 2),
                    (-1.6, r + 3.0, -d / 2),
                    (1.6, r + 3.0, -d / 2),
                    (2.2, r * 0.98 + 1.1, -d / 2),
                ],
                40,
            ),
            0.2,
        )
        hammer = tube(curve([(0, r, -d / 2), (0, r + 1.5, -d / 2)], 10), np.linspace(0.12, 0.35, 10))
        parts += [Part(joined([*bells, *posts, grip, hammer]), metal(rgb(210, 206, 196), 0.12))]
    return laid("alarm clock", parts, turn("x", 86), swing=35)


def seam(rng: Random, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance on the unit sphere to the seam of a tennis ball, and the place along it."""
    t = np.linspace(0, 2 * np.pi, 500)
    a, b = 0.72, 0.28
    line = np.stack(
        [a * np.cos(t) + b * np.cos(3 * t), a * np.sin(t) - b * np.sin(3 * t), 2 * np.sqrt(a * b) * np.sin(2 * t)], 1
    )
    line = (line / np.linalg.norm(line, axis=1, keepdims=True)).astype(np.float32)
    best, place = np.full(at.shape[:2], -2, np.float32), np.zeros(at.shape[:2], np.float32)
    unit = at.astype(np.float32)
    for number, point in enumerate(line):
        near = unit @ point
        place = np.where(near > best, number / len(line), place)
        best = np.maximum(best, near)
    return np.arccos(best.clip(-1, 1)), place


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
    distance, place = seam(rng, at)
    stitch = (
        ramp(np.abs((place * 108 + distance * 9) % 1 - 0.5), 0.22, 0.14)
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


def ribbon(x: np.ndarray, low: np.ndarray, high: np.ndarray, thickness: float) -> Mesh:
    """A flat piece between two edges over x, lying on z = 0."""
    s = np.linspace(0, 1, 9)
    y = low[:, None] + (high - low)[:, None] * s
    top = np.stack([np.broadcast_to(x[:, None], y.shape), y, np.full(y.shape, thickness)], -1)
    under = top[:, ::-1] * [1, 1, 0]
    around = np.concatenate([top, under, top[:, :1]], 1)
    middle = around.mean(1, keepdims=True)
    return sheet(np.concatenate([around[:1] * 0 + middle[:1], around, around[-1:] * 0 + middle[-1:]]))


def key(rng: Random) -> Thing:
    colour = rgb(*[(206, 178, 112), (200, 198, 194), (168, 130, 88)][rng.integers(3)])
    x = np.linspace(0, 3.4, 240)
    cuts = np.repeat(rng.uniform(0, 0.28, 9), 30)[:240]
    cuts = np.convolve(np.pad(cuts, 8, "edge"), np.ones(17) / 17, "valid")[:240]
    low = -0.36 + cuts * (x > 0.7) + 0.45 * ramp(x, 3.0, 3.4)
    blade = ribbon(x, low, 0.36 - 0.25 * ramp(x, 3.1, 3.4), 0.2)
    bow = sheet(ring_points(rng, 0.85, 0.38, 0.32) * [1.0, 1.15, 1]).moved(np.eye(3), (-1.05, 0, 0.1))
    at = refined(ring_points(rng, 1, 0.4, 0.3), 80, 160)
    ring = ring_points(rng, 1.25, 0.07, 1.0)
    hoop = sheet(ring).moved(turn("x", 8), (-2.9, 0.3, 0.25))
    body = metal(colour, 0.28 + 0.06 * noise(rng, at, 0.5, 3))
    return laid("key", [Part(joined([blade, bow]), body), Part(hoop, metal(rgb(200, 198, 194), 0.15))])


def scissors(rng: Random) -> Thing:
    spread, long = rng.uniform(8, 26), rng.uniform(8.5, 11)
    colour = shade(rng, rgb(*[(176, 34, 36), (28, 28, 30), (220, 110, 30), (34, 70, 120)][rng.integers(4)]))
    x = np.linspace(-1.6, long, 90)
    low, high = -0.75 + 0.65 * ramp(x, 2, long), 0.55 - 0.5 * ramp(x, 0.5 * long, long) ** 1.5
    blades, grips = [], []
    for side in (1, -1):
        blade = ribbon(x, low, high, 0.16)
        a = np.linspace(0, 2 * np.pi, 90)
        a[-1] = 0
        loop = np.stack([-5.2 + 2.5 * np.cos(a), 1.55 + 1.5 * np.sin(a), 0 * a + 0.25], 1)
        angle = np.linspace(0, 2 * np.pi, 25)
        section = np.stack([0.42 * np.cos(angle), 0.36 * np.sin(angle)], 1)
        section[-1] = section[0]
        bow = sheet(tube_points(np.concatenate([loop, loop[1:2]]), 1.0, section))
        neck = tube(
            curve([(-0.6, -0.1, 0.22), (-1.8, 0.15, 0.25), (-3.0, 0.75, 0.25)], 24), np.linspace(0.55, 0.45, 24)
        )
        mirror = np.diag([1.0, side, 1.0])
        for target, mesh in ((blades, blade), (grips, joined([bow, neck]))):
            flipped = Mesh(mesh.points @ mirror, mesh.faces[:, ::side], mesh.uv, mesh.normals @ mirror)
            target.append(flipped.moved(turn("z", side * spread / 2), (0, 0, 0.25 + 0.09 * side)))
    screw = lathe(rounded([(0.4, 0.3), (0.4, 0.58), (0, 0.62)], 0.1, 24), 40)
    whole = joined([*blades, screw])
    return laid("scissors", [Part(whole, steel(rng, whole)), Part(joined(grips), paint(colour, 0.3))])


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


def cell_phone(rng: Random) -> Thing:
    w, h = 7.2, rng.uniform(14, 15.5)
    body = box((w, h, 0.8), 0.28)
    screen = np.full((300, 150, 3), 0.004)
    pane = sheet(plane(w - 0.6, h - 0.6, 4) - [w / 2 - 0.3, h / 2 - 0.3, -0.403])
    frame = paint(rgb(*[(30, 30, 34), (206, 206, 208), (150, 168, 190)][rng.integers(3)]), 0.25, metallic=0.5)
    smear = 0.06 + 0.10 * ramp(noise(rng, plane(w, h, 256), 2.5, 4), 0.0, 1.0)
    return laid("cell phone", [Part(body, frame), Part(pane, paint(screen, smear, specular=0.6))], swing=50)


def remote_control(rng: Random) -> Thing:
    w, h = rng.uniform(4.2, 5), rng.uniform(15, 19)
    parts = [Part(box((w, h, 1.8), 0.6), paint(shade(rng, rgb(34, 34, 38)), 0.4))]
    rows = int(rng.integers(7, 10))
    colours = [(96, 96, 102), (200, 200, 204), (176, 40, 40), (60, 110, 60), (206, 170, 60), (50, 80, 150)]
    buttons: dict[int, list[Mesh]] = {}
    for row in range(rows):
        for column in range(3):
            if rng.uniform() < 0.15:
                continue
            tint = int(rng.integers(2, 6)) if row in (0, rows - 2) else 0 if rng.uniform() < 0.9 else 1
            place = ((column - 1) * w * 0.28, h / 2 - 1.8 - row * (h - 4) / rows, 0.93)
            buttons.setdefault(tint, []).append(box((0.85, 0.6, 0.28), 0.13, 4).moved(np.eye(3), place))
    parts += [Part(joined(meshes), paint(rgb(*colours[tint]), 0.6)) for tint, meshes in buttons.items()]
    return laid("remote control", parts)


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


HOUSEHOLD = (book, pencil, candle, alarm_clock, tennis_ball, baseball, soccer_ball, light_bulb, table_lamp,
    die, key, scissors,
             potted_plant, cell_phone, remote_control, cutting_board, salt_shaker)  # fmt: skip

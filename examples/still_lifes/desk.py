"""What lies on desks."""

from __future__ import annotations

import cv2
import numpy as np

from .crockery import glaze_colour
from .cutlery import steel
from .geometry import Mesh, box, curve, joined, lathe, lathe_points, rounded, sheet, tube, tube_points, turn
from .organic import ring_points
from .printing import INKS, PEOPLE, clock_face, cover, spine, title
from .textures import Random, mix, noise, plane, ramp, refined, rgb, shade
from .things import Part, Thing, Top, laid, metal, paint, tumbled


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
            centre = ((column - 1) * w * 0.28, h / 2 - 1.8 - row * (h - 4) / rows, 0.93)
            buttons.setdefault(tint, []).append(box((0.85, 0.6, 0.28), 0.13, 4).moved(np.eye(3), centre))
    parts += [Part(joined(meshes), paint(rgb(*colours[tint]), 0.6)) for tint, meshes in buttons.items()]
    return laid("remote control", parts)

"""Where things stand and what lights them: tables, counters, shelves and window sills, windows and lamps."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import Mesh, box, joined, lathe_points, sheet, turn
from .textures import Random, granite, marble, mix, noise, plane, planks, ramp, rgb, shade, tiles, weave
from .things import Material, Part, paint


@dataclass(frozen=True)
class Room:
    """Parts that belong to no object; the panorama around; how low and how high the camera looks down, in degrees."""

    parts: tuple[Part, ...]
    around: np.ndarray
    elevation: tuple[float, float]
    aperture: float
    """The lens's radius."""


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


def panorama(rng: Random, light: float) -> np.ndarray:
    """A blurred room around the scene (128, 256, 3): ceiling, walls, dark furniture, a doorway, a distant window."""
    rows, columns = 128, 256
    v, u = np.mgrid[:rows, :columns] / np.array([rows, columns])[:, None, None]
    tone = rgb(*PAINTS[rng.integers(len(PAINTS))])
    picture = light * np.broadcast_to(tone, (rows, columns, 3)) * (1.1 - 0.5 * v)[..., None]
    picture = mix(picture, light * 1.1 * rgb(236, 232, 226), ramp(v, 0.30, 0.27))
    picture = mix(picture, light * 0.35 * rgb(120, 90, 66), ramp(v, 0.60, 0.64))
    for _ in range(9):
        left, top = rng.uniform(0, 1), rng.uniform(0.36, 0.52)
        inside = ((u - left) % 1 < rng.uniform(0.02, 0.10)) & (v > top) & (v < top + rng.uniform(0.08, 0.25))
        picture = np.where(inside[..., None], light * shade(rng, rgb(90, 70, 56), 0.5), picture)
    for _ in range(int(rng.integers(1, 3))):
        left = rng.uniform(0, 1)
        across = (u - left) % 1 / 0.09
        inside = (across < 1) & (v > 0.32) & (v < 0.52)
        bars = (abs(across - 0.5) < 0.03) | (abs(v - 0.42) < 0.006)
        sky = 7 * light * mix(np.array([0.9, 1.0, 1.15]), np.array([0.7, 0.8, 0.6]), ramp(v, 0.44, 0.5))
        picture = np.where((inside & ~bars)[..., None], sky, picture)
    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.2)


def pane(rng: Random, centre: np.ndarray, towards: np.ndarray, width: float, height: float, power: float) -> Part:
    """A window as a light: panes with a bright sky above a darker ground."""
    v, u = np.mgrid[:96, :72] / np.array([96, 72])[:, None, None]
    sky = mix(np.array([0.92, 1.0, 1.12]), np.array([0.55, 0.6, 0.5]), ramp(v + 0.05 * np.sin(9 * u), 0.35, 0.2))
    bars = (
        (np.abs(u - 0.5) < 0.025)
        | (np.abs(v - 0.62) < 0.018)
        | (np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) < 0.03)
    )
    glow = power * np.where(bars[..., None], 0.03, sky) * np.exp(rng.normal(0, 0.04, 3))
    ahead = towards - centre
    ahead = ahead / np.linalg.norm(ahead)
    side = np.cross([0, 0, 1], ahead)
    side /= np.linalg.norm(side)
    up = np.cross(ahead, side)
    x, y = np.meshgrid([-width / 2, width / 2], [-height / 2, height / 2])
    return Part(sheet(centre + x[..., None] * side + y[..., None] * up), paint(np.full(3, 0.8)), glow)


def bulb_light(rng: Random, centre: np.ndarray, radius: float, power: float) -> Part:
    """A warm ceiling lamp."""
    points = lathe_points(np.stack([np.linspace(0, radius, 6), np.zeros(6)], 1), 33) + centre
    return Part(sheet(points[:, ::-1]), paint(np.full(3, 0.8)), power * np.array([1.0, 0.78, 0.52]))


def lights(rng: Random, back: float) -> list[Part]:
    """Daylight from one side, or a lamp above with little daylight; at times the sun through a window's bars."""
    side = rng.choice([-1, 1])
    target = np.array([0, 0, 8.0])
    where = np.array([side * rng.uniform(95, 190), rng.uniform(-110, min(40, back - 10)), rng.uniform(45, 95)])
    evening = rng.uniform() < 0.25
    parts = [
        pane(rng, where, target, rng.uniform(70, 110), rng.uniform(90, 140), 1.2 if evening else rng.uniform(7, 12))
    ]
    if evening or rng.uniform() < 0.2:
        above = np.array([rng.uniform(-50, 50), rng.uniform(-60, 10), rng.uniform(110, 150)])
        parts.append(bulb_light(rng, above, rng.uniform(9, 18), rng.uniform(60, 110) if evening else 25))
    if not evening and rng.uniform() < 0.3:
        way = np.array([side * rng.uniform(0.8, 1.2), rng.uniform(-0.7, 0.1), rng.uniform(0.5, 0.9)])
        way /= np.linalg.norm(way)
        sun = lathe_points(np.stack([np.linspace(0, 6.5, 4), np.zeros(4)], 1), 17)
        tilt = np.stack([np.cross([0, 0, 1], way), np.cross(way, np.cross([0, 0, 1], way)), way], 1)
        tilt[:, :2] /= np.linalg.norm(tilt[:, :2], axis=0)
        disc = sheet((sun @ tilt.T + way * 700)[:, :])
        strength = rng.uniform(9_000, 14_000) * np.array([1.0, 0.86, 0.66])
        parts.append(Part(disc, paint(np.full(3, 0.5)), strength))
        bars = [box((3, 160, 1), 0.2).moved(np.eye(3), (x, 0, 0)) for x in np.arange(-3, 4) * rng.uniform(24, 34)]
        bars += [box((240, 4, 1), 0.2).moved(np.eye(3), (0, y, 0)) for y in (-38, 0, 38)]
        bars += [box((400, 300, 1), 0.2).moved(np.eye(3), (0, s * 200, 0)) for s in (-1, 1)]
        parts.append(Part(joined(bars).moved(tilt, way * 240 + [0, 0, 10]), paint(np.full(3, 0.7))))
    return parts


def kitchen(rng: Random, back: float) -> Room:
    top = table_top(rng, 240, 70, ("granite", "marble", "wood", "white"))
    parts = [
        slab((-120, back - 66, -4), (120, back + 4, 0), top, radius=0.4),
        tiled_wall(rng, back),
        *lights(rng, back),
    ]
    if rng.uniform() < 0.6:
        parts.append(rail(rng, back))
    return Room(tuple(parts), panorama(rng, 0.36), (12, 34), 0.18)


def rail(rng: Random, back: float) -> Part:
    """A socket plate on the wall."""
    x, z = rng.uniform(-45, 45), rng.uniform(16, 26)
    plate = box((8.2, 0.9, 8.2), 0.35).moved(np.eye(3), (x, back - 0.4, z))
    ring = sheet(lathe_points(np.array([(2.2, 0.0), (2.1, 0.25), (1.9, 0.25), (1.8, -0.6), (0, -0.6)]), 49)).moved(
        turn("x", 90), (x, back - 0.9, z)
    )
    return Part(joined([plate, ring]), paint(rgb(236, 234, 228), 0.35))


def table(rng: Random, back: float) -> Room:
    """A table before a wall, with its far edge in view."""
    gap = rng.uniform(4, 70)
    kinds = ("wood", "wood", "cloth", "white")
    parts = [
        slab((-95, back - 90, -3.5), (95, back, 0), table_top(rng, 190, 90, kinds), radius=0.6),
        wall(rng, back + gap),
    ]
    floor = np.array([[[-300, -300, -76], [300, -300, -76]], [[-300, back + gap, -76], [300, back + gap, -76]]])
    parts.append(Part(sheet(floor), paint(rgb(120, 92, 68), 0.5)))
    if rng.uniform() < 0.5:
        parts += picture_frame(rng, back + gap)
    return Room((*parts, *lights(rng, back + gap)), panorama(rng, 0.33), (14, 40), 0.22)


def picture_frame(rng: Random, y: float) -> list[Part]:
    w, h = rng.uniform(24, 50), rng.uniform(26, 46)
    x, z = rng.uniform(-40, 40), rng.uniform(14, 40)
    bars = [box((w + 3, 2, 2), 0.3).moved(np.eye(3), (x, y - 1, z + s * h / 2 + h / 2)) for s in (-1, 1)]
    bars += [box((2, 2, h + 1), 0.3).moved(np.eye(3), (x + s * (w + 1) / 2, y - 1, z + h / 2)) for s in (-1, 1)]
    at = plane(w, h, 500)
    tone = mix(
        shade(rng, rgb(150, 160, 160), 0.4),
        shade(rng, rgb(200, 160, 110), 0.4),
        ramp(noise(rng, at * [0.5, 1, 1], 14, 4), -0.5, 0.5),
    )
    inside = np.minimum(np.minimum(at[..., 0], w - at[..., 0]), np.minimum(at[..., 1], h - at[..., 1])) > 0.14 * w
    art = np.where(inside[..., None], tone, rgb(232, 228, 218))
    canvas = np.array(
        [[[x - w / 2, y - 0.7, z], [x + w / 2, y - 0.7, z]], [[x - w / 2, y - 0.7, z + h], [x + w / 2, y - 0.7, z + h]]]
    )
    rim = paint(rgb(*[(34, 30, 28), (150, 110, 70), (226, 222, 212)][rng.integers(3)]), 0.4)
    return [Part(joined(bars), rim), Part(sheet(canvas), paint(art, 0.5))]


def shelf(rng: Random, back: float) -> Room:
    """A compartment of a bookcase, open to the viewer."""
    half, tall = rng.uniform(42, 60), rng.uniform(34, 42)
    front = back - 34
    if rng.uniform() < 0.5:
        board = paint(planks(rng, plane(120, 34, 1400), str(rng.choice(["oak", "walnut", "pine"])), 60)[0], 0.45)
    else:
        board = paint(shade(rng, rgb(232, 230, 224), 0.04), 0.4)
    tone = shade(rng, rgb(*PAINTS[rng.integers(len(PAINTS))]), 0.1)
    parts = [slab((-half, front, z), (half, back, z + 2.2), board, radius=0.15) for z in (-2.2, tall)]
    parts += [
        slab((s * half - 1.1, front, -30), (s * half + 1.1, back, tall + 30), board, (1, 2), 0.15) for s in (-1, 1)
    ]
    panel = np.array([[[-150, back, -40], [150, back, -40]], [[-150, back, 90], [150, back, 90]]], float)
    at = plane(300, 130, 800)
    parts.append(Part(sheet(panel), paint(tone * np.exp(0.05 * noise(rng, at, 25, 4))[..., None], 0.7)))
    side = rng.choice([-1, 1])
    window = pane(
        rng,
        np.array([side * rng.uniform(60, 150), rng.uniform(-210, -150), rng.uniform(40, 90)]),
        np.array([0, 0, 10.0]),
        100,
        130,
        rng.uniform(8, 13),
    )
    return Room((*parts, window), panorama(rng, 0.4), (2, 14), 0.16)


def sill(rng: Random, back: float) -> Room:
    """A window sill with the window behind it: the things stand against the light."""
    top = table_top(rng, 160, 44, ("white", "wood", "marble"))
    parts = [slab((-80, back - 40, -3), (80, back + 4, 0), top, radius=0.5)]
    white = paint(rgb(232, 230, 224), 0.35)
    width = rng.uniform(50, 66)
    bars = [box((5, 5, 130), 0.5).moved(np.eye(3), (x, back + 3, 62)) for x in (-width, 0, width)]
    bars += [box((2 * width + 6, 5, 6), 0.5).moved(np.eye(3), (0, back + 3, z)) for z in (3, 120)]
    bars += [box((2 * width, 2.4, 2.2), 0.4).moved(np.eye(3), (0, back + 3, 62))]
    parts.append(Part(joined(bars), white))
    parts += [
        slab(
            (s * width - 40 + s * 42, back - 6, -4),
            (s * width + 40 + s * 42, back + 10, 130),
            paint(shade(rng, rgb(222, 214, 200), 0.06), 0.8),
        )
        for s in (-1, 1)
    ]
    rows, columns = 220, 320
    v, u = np.mgrid[:rows, :columns] / np.array([rows, columns])[:, None, None]
    at = np.stack([u * 8, v * 5, 0 * u], -1)
    leaves = ramp(noise(rng, at, 1.4, 5) + 2.2 * (0.42 - v), -0.25, 0.35)
    green = mix(rgb(58, 84, 34), rgb(150, 168, 84), ramp(noise(rng, at, 0.35, 3), -0.4, 0.7))
    scene = mix(np.array([0.9, 1.0, 1.15]) * 1.5, 0.9 * green, leaves)
    scene = mix(scene, rgb(170, 160, 146) * 0.9, ramp(v, 0.18, 0.14))
    far = back + 420
    outside = np.array([[[420, far, -120], [-420, far, -120]], [[420, far, 330], [-420, far, 330]]])
    parts.append(
        Part(
            sheet(outside),
            paint(np.full(3, 0.1)),
            cv2.GaussianBlur(scene.astype(np.float32), (0, 0), 1.5) * rng.uniform(3.0, 4.5),
        )
    )
    parts.append(
        pane(rng, np.array([rng.choice([-1, 1]) * 150, -160, 90]), np.array([0, 0, 10.0]), 100, 120, rng.uniform(2, 5))
    )
    return Room(tuple(parts), panorama(rng, 0.9), (8, 24), 0.25)


ROOMS = {"kitchen": kitchen, "table": table, "shelf": shelf, "sill": sill}

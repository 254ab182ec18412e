"""A random still life: which things, where they stand without touching, and from where they are seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from . import food, household, tableware
from .geometry import UP, turn
from .rooms import ROOMS, Room
from .textures import Random
from .things import Part, Thing

CELL = 0.25
"""Things are set down on a grid of heights with cells of this size."""
HALF = 60.0
"""The grid reaches this far from the middle."""


@dataclass(frozen=True)
class Camera:
    eye: np.ndarray
    target: np.ndarray
    up: np.ndarray
    view: float
    """The horizontal angle of view in degrees."""
    aperture: float
    focus: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 2): x and y as shares of half the picture's width, y upwards."""
        ahead = (self.target - self.eye) / np.linalg.norm(self.target - self.eye)
        right = np.cross(ahead, self.up)
        right /= np.linalg.norm(right)
        ray = points - self.eye
        depth = np.maximum(ray @ ahead, 1e-3) * np.tan(np.deg2rad(self.view / 2))
        return np.stack([ray @ right / depth, ray @ np.cross(right, ahead) / depth], -1)


@dataclass(frozen=True)
class Scene:
    seed: int
    things: tuple[Thing, ...]
    room: tuple[Part, ...]
    around: np.ndarray
    camera: Camera


Maker = Callable[[Random], Thing]

KITCHEN: tuple[Maker, ...] = (
    *food.FOOD, tableware.mug, tableware.plate, tableware.bowl, tableware.wine_glass, tableware.tumbler,
    tableware.wine_bottle, tableware.teapot, tableware.knife, tableware.spoon, tableware.fork,
    household.cutting_board, household.salt_shaker, household.potted_plant,
)  # fmt: skip
DESK: tuple[Maker, ...] = (
    household.book, household.pencil, household.alarm_clock, household.scissors, household.key,
    household.cell_phone, household.remote_control, household.die, household.tennis_ball, household.baseball,
    household.light_bulb, household.candle, household.potted_plant, household.table_lamp, tableware.mug,
    tableware.vase, tableware.tumbler, food.apple, food.banana, food.orange,
)  # fmt: skip
SHELF: tuple[Maker, ...] = (
    household.alarm_clock, household.potted_plant, tableware.vase, household.candle, household.baseball,
    household.tennis_ball, household.soccer_ball, household.book, tableware.teapot, tableware.mug,
    household.light_bulb, household.die, tableware.bowl, household.remote_control,
)  # fmt: skip
LARGE: tuple[Maker, ...] = (
    tableware.bowl, tableware.plate, tableware.vase, tableware.wine_bottle, tableware.teapot,
    tableware.wine_glass, tableware.mug, household.potted_plant, household.table_lamp, household.book,
    household.cutting_board, household.candle, household.alarm_clock, household.soccer_ball,
)  # fmt: skip
"""A scene begins with two of these."""
KINDS = {"kitchen": KITCHEN, "table": DESK + KITCHEN, "shelf": SHELF, "sill": DESK}
SMALL = {*food.FOOD, tableware.mug, household.die, household.pencil, household.key, household.book}
"""Kinds of which two may lie in a scene."""
ROUND = (food.apple, food.orange, food.lemon, food.pear, food.tomato, food.egg, food.bell_pepper, food.banana)

ON_BOOKS = (household.key, household.die, household.pencil, tableware.mug, food.apple)


class Ground:
    """The height of what stands on the surface, cell by cell."""

    def __init__(self) -> None:
        side = int(2 * HALF / CELL)
        self.height = np.zeros((side, side), np.float32)

    def cells(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        column, row = ((points[:, k] + HALF) / CELL for k in (0, 1))
        side = len(self.height)
        inside = (column >= 1) & (column < side - 1) & (row >= 1) & (row < side - 1)
        return row.astype(int).clip(0, side - 1) * side + column.astype(int).clip(0, side - 1), inside

    def rest(self, points: np.ndarray) -> float:
        """How far points of a thing must be lifted to clear what is there; infinite beyond the grid."""
        cell, inside = self.cells(points)
        if not inside.all():
            return np.inf
        around = cv2.dilate(self.height, np.ones((3, 3), np.uint8))
        return max(float((around.ravel()[cell] - points[:, 2]).max()), 0.0)

    def add(self, points: np.ndarray) -> None:
        cell, _ = self.cells(points)
        np.maximum.at(self.height.ravel(), cell, points[:, 2].astype(np.float32))


def surface_points(rng: Random, thing: Thing, count: int = 20_000) -> np.ndarray:
    """The lowest and the highest points of the thing in small cells."""
    found = [thing.points]
    for part in thing.parts:
        corners = part.mesh.points[part.mesh.faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        chosen = corners[rng.choice(len(corners), count, p=area / area.sum())]
        weight = rng.dirichlet((1, 1, 1), count)
        found.append((chosen * weight[..., None]).sum(1))
    points = np.concatenate(found)
    cell = np.floor(points[:, :2] / (0.5 * CELL)).astype(int) @ [100_003, 1]
    order = np.lexsort((points[:, 2], cell))
    change = np.flatnonzero(np.diff(cell[order])) + 1
    return points[order[np.concatenate([[0], change, change - 1, [-1]])]]


class Arrangement:
    """Things set down one by one."""

    def __init__(self, rng: Random, back: float) -> None:
        self.rng, self.back, self.ground = rng, back, Ground()
        self.things: list[Thing] = []

    def drop(
        self,
        thing: Thing,
        anchor: np.ndarray,
        spread: float,
        limit: float = 1e-6,
        tries: int = 40,
        lowest: bool = False,
    ) -> bool:
        """Set the thing down near the anchor where it is lifted by ``limit`` at most; False if there is no such."""
        best, choice = np.inf, None
        points = surface_points(self.rng, thing)
        for _ in range(tries):
            matrix = turn("z", self.rng.uniform(-thing.swing, thing.swing))
            place = np.append(anchor + self.rng.normal(0, spread, 2), 0)
            moved = points @ matrix.T + place
            if moved[:, 1].max() > self.back - 0.5:
                continue
            lift = self.ground.rest(moved)
            cost = lift if lowest else np.linalg.norm(place[:2] - anchor)
            if lift <= limit and cost < best:
                best, choice = cost, (matrix, place + lift * UP, moved + lift * UP)
        if choice is None:
            return False
        self.ground.add(choice[2])
        self.things.append(thing.moved(choice[0], choice[1]))
        return True

    def fill(self, makers: Sequence[Maker]) -> None:
        """Put things on or into the last one set down."""
        holder = self.things[-1]
        top, middle = holder.top, (holder.points[:, :2].max(0) + holder.points[:, :2].min(0)) / 2
        for maker in makers:
            thing = maker(self.rng)
            if top.hollow:
                self.drop(thing, middle, 0.35 * top.radius, 8.0, 80, lowest=True)
            elif np.linalg.norm(np.ptp(thing.points[:, :2], axis=0)) < 2.2 * top.radius:
                self.drop(thing, middle, 0.3 * top.radius, top.height + 0.05, 40)


def arranged(rng: Random, name: str, back: float) -> tuple[Thing, ...]:
    """6 to 9 things of the room's kinds; the tall ones further back."""
    wanted = int(rng.integers(6, 10))
    group = Arrangement(rng, back)
    if name == "shelf":
        x = rng.uniform(-26, -6)
        for _ in range(int(rng.integers(3, 6))):
            volume = household.book(rng, standing=True)
            wide, deep = np.ptp(volume.points[:, 0]), np.ptp(volume.points[:, 1])
            group.drop(volume, np.array([x + wide / 2, back - 4 - deep / 2 - rng.uniform(0, 2)]), 0.2, tries=4)
            x += wide + rng.uniform(0.5, 0.7)
    makers = list(KINDS[name])
    used: dict[Maker, int] = {}
    for _ in range(60):
        if len(group.things) >= wanted:
            break
        choice = [maker for maker in makers if maker in LARGE] if len(used) < 2 else makers
        maker = choice[rng.integers(len(choice))]
        if used.get(maker, 0) >= (2 if maker in SMALL else 1):
            continue
        thing = maker(rng)
        used[maker] = used.get(maker, 0) + 1
        deep = np.ptp(thing.points[:, 1])
        y = back - 5 - deep / 2 - rng.uniform(0, 6) if thing.height > 14 else rng.uniform(back - 31, back - 9)
        if name == "shelf":
            y = rng.uniform(back - 24, back - 12)
        if not group.drop(thing, np.array([rng.normal(0, 8), y]), 5.0):
            continue
        room_left = wanted - len(group.things)
        if thing.top is not None and room_left > 0 and rng.uniform() < 0.85:
            upon = ROUND if thing.top.hollow else ON_BOOKS if maker is household.book else food.FOOD
            count = min(room_left, int(rng.integers(2, 6)) if thing.top.hollow else int(rng.integers(1, 3)))
            group.fill([upon[k] for k in rng.integers(0, len(upon), count)])
    return tuple(group.things)


def viewed(rng: Random, things: Sequence[Thing], room: Room, aspect: float) -> Camera:
    """A camera held by hand: the things about fill the picture, some may be cut by its edges."""
    points = np.concatenate([thing.points[:: max(len(thing.points) // 400, 1)] for thing in things])
    low, high = np.percentile(points, [2, 98], axis=0)
    target = (low + high) / 2
    azimuth, elevation = np.deg2rad(rng.normal(0, 14)), np.deg2rad(rng.uniform(*room.elevation))
    way = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    roll = np.deg2rad(rng.normal(0, 1.0))
    side = np.cross(-way, [0, 0, 1])
    up = np.cos(roll) * np.array([0, 0, 1]) + np.sin(roll) * side / np.linalg.norm(side)
    camera = Camera(target + way, target, up, rng.uniform(36, 54), room.aperture, 1.0)
    fit = rng.uniform(0.80, 0.98)
    for distance in np.arange(30, 160, 2.0):
        camera = replace(camera, eye=target + way * distance)
        seen = camera.project(points)
        if (np.ptp(seen, axis=0) * [1, aspect]).max() / 2 < fit:
            break
    middle = (seen.max(0) + seen.min(0)) / 2 + rng.normal(0, 0.04, 2)
    right = np.cross(-way, up)
    reach = distance * np.tan(np.deg2rad(camera.view / 2))
    aside = (middle[0] * right + middle[1] * np.cross(right, -way)) * reach
    camera = replace(camera, eye=camera.eye + aside, target=camera.target + aside)
    front = min(things, key=lambda thing: thing.points[:, 1].mean() + rng.uniform(0, 12))
    ahead = (camera.target - camera.eye) / np.linalg.norm(camera.target - camera.eye)
    focus = (front.points.mean(0) - camera.eye) @ ahead
    return replace(camera, focus=float(focus))


def compose(seed: int, aspect: float = 4 / 3) -> Scene:
    """The scene of a seed, for pictures whose width is ``aspect`` times their height."""
    rng = np.random.default_rng(seed)
    name = str(rng.choice(list(ROOMS), p=[0.35, 0.35, 0.15, 0.15]))
    back = {"kitchen": 22.0, "table": 26.0, "shelf": 17.0, "sill": 16.0}[name] + rng.uniform(-2, 6)
    things = arranged(rng, name, back)
    room = ROOMS[name](rng, back)
    return Scene(seed, things, room.parts, room.around, viewed(rng, things, room, aspect))

"""Things set down at random, without touching."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .desk import book
from .geometry import UP, turn
from .kinds import FOOD, KINDS, LARGE, ON_BOOKS, ROUND, SMALL, Maker
from .textures import Random
from .things import Thing

CELL = 0.25
"""Things are set down on a grid of heights with cells of this size."""

HALF = 60.0
"""The grid reaches this far from the middle."""


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
    clouds = [thing.points]
    for part in thing.parts:
        corners = part.mesh.points[part.mesh.faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        chosen = corners[rng.choice(len(corners), count, p=area / area.sum())]
        weight = rng.dirichlet((1, 1, 1), count)
        clouds.append((chosen * weight[..., None]).sum(1))
    points = np.concatenate(clouds)
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
            spot = np.append(anchor + self.rng.normal(0, spread, 2), 0)
            moved = points @ matrix.T + spot
            if moved[:, 1].max() > self.back - 0.5:
                continue
            lift = self.ground.rest(moved)
            cost = lift if lowest else np.linalg.norm(spot[:2] - anchor)
            if lift <= limit and cost < best:
                best, choice = cost, (matrix, spot + lift * UP, moved + lift * UP)
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
            volume = book(rng, standing=True)
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
            upon = ROUND if thing.top.hollow else ON_BOOKS if maker is book else FOOD
            count = min(room_left, int(rng.integers(2, 6)) if thing.top.hollow else int(rng.integers(1, 3)))
            group.fill([upon[k] for k in rng.integers(0, len(upon), count)])
    return tuple(group.things)

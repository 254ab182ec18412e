"""A random still life: a room, things in it, and the camera that sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrange import arranged
from .camera import Camera, viewed
from .rooms import ROOMS
from .things import Part, Thing


@dataclass(frozen=True)
class Scene:
    seed: int
    things: tuple[Thing, ...]
    room: tuple[Part, ...]
    around: np.ndarray
    camera: Camera


def compose(seed: int, aspect: float = 4 / 3) -> Scene:
    """The scene of a seed, for images whose width is ``aspect`` times their height."""
    rng = np.random.default_rng(seed)
    name = str(rng.choice(list(ROOMS), p=[0.35, 0.35, 0.15, 0.15]))
    back = {"kitchen": 22.0, "table": 26.0, "shelf": 17.0, "sill": 16.0}[name] + rng.uniform(-2, 6)
    things = arranged(rng, name, back)
    room = ROOMS[name](rng, back)
    return Scene(seed, things, room.parts, room.around, viewed(rng, things, room, aspect))

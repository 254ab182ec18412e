"""What a thing is: named parts, each a mesh with a material; and the materials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .geometry import Mesh, hull, turn

Material = dict
"""A scattering function as the renderer's plain values, with arrays for colours and textures."""


@dataclass(frozen=True)
class Part:
    """A surface and what it is made of; ``glow`` is the radiance it emits, if any."""

    mesh: Mesh
    material: Material
    glow: np.ndarray | None = None


@dataclass(frozen=True)
class Top:
    """Where a thing carries others: the height, the radius about its middle; ``hollow`` in a bowl."""

    height: float
    radius: float
    hollow: bool = False


@dataclass(frozen=True)
class Thing:
    """A named object; it stands on z = 0 around x = y = 0.

    ``swing`` is how far it may be turned from its front towards -y, in degrees.
    """

    name: str
    parts: tuple[Part, ...]
    top: Top | None = None
    swing: float = 180.0

    def moved(self, matrix: np.ndarray, shift: Sequence[float] = (0, 0, 0)) -> Thing:
        parts = tuple(Part(part.mesh.moved(matrix, shift), part.material, part.glow) for part in self.parts)
        return replace(self, parts=parts)

    @property
    def points(self) -> np.ndarray:
        return np.concatenate([part.mesh.points for part in self.parts])

    @property
    def outline(self) -> np.ndarray:
        """The convex outline (N, 2) of what it covers, seen from above."""
        return hull(self.points[:, :2])

    @property
    def height(self) -> float:
        return float(self.points[:, 2].max())


def laid(
    name: str, parts: Sequence[Part], matrix: np.ndarray | None = None, top: Top | None = None, swing: float = 180.0
) -> Thing:
    """The parts, turned, set down on z = 0 with their middle at x = y = 0."""
    thing = Thing(name, tuple(parts), top, swing).moved(np.eye(3) if matrix is None else matrix)
    points = thing.points
    low, high = points.min(0), points.max(0)
    middle = (low + high) / 2
    return thing.moved(np.eye(3), (-middle[0], -middle[1], -low[2]))


def tumbled(rng: np.random.Generator, tilt: float) -> np.ndarray:
    """A random turn about z and a random tilt of up to ``tilt`` degrees."""
    return turn("z", rng.uniform(0, 360)) @ turn("x", rng.uniform(-tilt, tilt)) @ turn("z", rng.uniform(0, 360))


def paint(
    colour: np.ndarray, roughness: np.ndarray | float = 0.4, bump: np.ndarray | None = None, **more: float
) -> Material:
    """An opaque material; ``bump`` is a height in centimetres."""
    material = {"type": "principled", "base_color": colour, "roughness": roughness, "specular": 0.5, **more}
    return material if bump is None else {"type": "bumpmap", "heights": bump, "nested": material}


def metal(colour: np.ndarray, roughness: np.ndarray | float = 0.15, bump: np.ndarray | None = None) -> Material:
    return paint(colour, roughness, bump, metallic=1.0)


def glass(tint: np.ndarray | None = None, inside: float = 1.5, outside: float = 1.0) -> Material:
    """Clear or tinted; the tint is applied at each crossing of the surface."""
    tint = np.ones(3) if tint is None else tint
    return {"type": "dielectric", "int_ior": inside, "ext_ior": outside, "specular_transmittance": tint}

"""A camera held by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .rooms import Room
from .textures import Random
from .things import Thing


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
        """(N, 2): x and y as shares of half the image's width, y upwards."""
        ahead = (self.target - self.eye) / np.linalg.norm(self.target - self.eye)
        right = np.cross(ahead, self.up)
        right /= np.linalg.norm(right)
        ray = points - self.eye
        depth = np.maximum(ray @ ahead, 1e-3) * np.tan(np.deg2rad(self.view / 2))
        return np.stack([ray @ right / depth, ray @ np.cross(right, ahead) / depth], -1)


def viewed(rng: Random, things: Sequence[Thing], room: Room, aspect: float) -> Camera:
    """A camera held by hand: the things about fill the image, some may be cut by its edges."""
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

"""Prompts as people give them, drawn from a scene's exact masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SMALLEST_AREA = 60
SEPARATE_ODDS = 0.4
"""Of an object that nothing covers, to be prompted; half-hidden ones are harder, and have up to 1 more."""


@dataclass(frozen=True)
class SampledPrompts:
    """P prompts of one kind on one scene, in pixels; ``labels[i]`` is the instance meant, 0 for the background.

    ``points`` is float32 (P, N, 2) with ``positive`` (P, N), ``boxes`` float32 (P, 4); either may be None.
    """

    labels: np.ndarray
    points: np.ndarray | None = None
    positive: np.ndarray | None = None
    boxes: np.ndarray | None = None


def visible_labels(instances: np.ndarray, smallest: int = SMALLEST_AREA) -> np.ndarray:
    """Labels of the instances with at least ``smallest`` visible pixels."""
    areas = np.bincount(np.maximum(instances, 0).ravel())
    areas[0] = 0
    return np.flatnonzero(areas >= smallest)


def centre(mask: np.ndarray) -> tuple[int, int]:
    """The pixel (x, y) of a mask that is farthest from its edge, the image's border counting as edge."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8, copy=False))
    part = np.pad(mask[y : y + height, x : x + width].astype(np.uint8, copy=False), 1)
    row, column = np.unravel_index(cv2.distanceTransform(part, cv2.DIST_L2, 3).argmax(), part.shape)
    return x + int(column) - 1, y + int(row) - 1


def box_around(mask: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 of a mask, float32."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8, copy=False))
    return np.array([x, y, x + width, y + height], np.float32)


class PromptSampler:
    """Draws prompts of each kind for one scene."""

    def __init__(self, instances: np.ndarray, rng: np.random.Generator) -> None:
        self.instances, self.rng = instances, rng
        self.labels = visible_labels(instances)
        self._odds = _covered(instances)[self.labels] + SEPARATE_ODDS
        self._masks = {label: (instances == label).astype(np.uint8) for label in (0, *self.labels)}

    def clicks(self, count: int, background: float = 0.12) -> SampledPrompts:
        """One positive point each, half of them at the object's centre, some on the background."""
        labels = self._choose(count)
        if self._masks[0].any():
            labels[self.rng.random(count) < background] = 0
        points = np.array([self._point(self._masks[label]) for label in labels], np.float32)
        return SampledPrompts(labels, points[:, None] + 0.5, np.ones((count, 1), np.int64))

    def boxes(self, count: int) -> SampledPrompts:
        """The visible part's box, loosely drawn in half of the cases."""
        labels = self._choose(count)
        return SampledPrompts(labels, boxes=np.array([self._box(label) for label in labels], np.float32))

    def points(self, count: int) -> SampledPrompts:
        """Two points inside and one that is inside or, more often, just outside."""
        labels = self._choose(count)
        points = np.empty((count, 3, 2), np.float32)
        positive = np.ones((count, 3), np.int64)
        for row, label in enumerate(labels):
            mask = self._masks[label]
            points[row, :2] = [self._point(mask), self._point(mask)]
            positive[row, 2] = self.rng.random() < 0.3
            points[row, 2] = self._point(mask) if positive[row, 2] else self._point_near(mask)
        return SampledPrompts(labels, points + 0.5, positive)

    def boxes_with_point(self, count: int) -> SampledPrompts:
        """A box and one point, inside the object or on something else in the box."""
        labels = self._choose(count)
        boxes = np.array([self._box(label) for label in labels], np.float32)
        positive = (self.rng.random((count, 1)) < 0.6).astype(np.int64)
        points = [
            self._point(self._masks[label]) if inside else self._point_near(self._masks[label])
            for label, inside in zip(labels, positive[:, 0], strict=True)
        ]
        return SampledPrompts(labels, np.array(points, np.float32)[:, None] + 0.5, positive, boxes)

    def _choose(self, count: int) -> np.ndarray:
        if len(self.labels) >= count:
            return self.rng.choice(self.labels, count, replace=False, p=self._odds / self._odds.sum())
        return self.rng.choice(self.labels, count) if len(self.labels) else np.zeros(count, np.int64)

    def _point(self, mask: np.ndarray) -> tuple[int, int]:
        if self.rng.random() < 0.4:
            return centre(mask)
        pixels = np.flatnonzero(mask)
        if not len(pixels):
            return tuple(self.rng.integers(0, mask.shape[::-1]))
        row, column = divmod(int(pixels[self.rng.integers(len(pixels))]), mask.shape[1])
        return column, row

    def _point_near(self, mask: np.ndarray) -> tuple[int, int]:
        """A pixel outside the mask, within its slightly enlarged box."""
        x1, y1, x2, y2 = box_around(mask)
        grow = 0.15 * max(x2 - x1, y2 - y1) + 2
        low = np.maximum([x1 - grow, y1 - grow], 0).astype(int)
        high = np.minimum([x2 + grow, y2 + grow], mask.shape[::-1]).astype(int)
        for _ in range(20):
            x, y = self.rng.integers(low, np.maximum(high, low + 1))
            if not mask[y, x]:
                break
        return int(x), int(y)

    def _box(self, label: int) -> np.ndarray:
        box = box_around(self._masks[label])
        if self.rng.random() < 0.5:
            sides = np.tile(box[2:] - box[:2], 2)
            box = box + self.rng.uniform(-0.1, 0.1, 4) * sides
        return box.astype(np.float32)


def _covered(instances: np.ndarray) -> np.ndarray:
    """Of each label, how much of its outline is where a later object covers it, from 0 to 1."""
    contact = np.zeros(int(max(instances.max(), 0)) + 1)
    for one, other in ((instances[1:], instances[:-1]), (instances[:, 1:], instances[:, :-1])):
        low, high = np.minimum(one, other), np.maximum(one, other)
        contact += np.bincount(low[(low > 0) & (low < high)], minlength=len(contact))
    areas = np.bincount(np.maximum(instances, 0).ravel(), minlength=len(contact)).clip(1)
    return np.minimum(contact / (2 * np.sqrt(areas)), 1)

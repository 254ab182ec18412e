"""Masks -> polygons that draw exactly the same mask: one a part, its holes joined to the outline by a line.

Programs disagree about coordinates. For some, (3, 3) is a corner of pixels, and a polygon encloses an area: `corners`.
For others it is a pixel, and drawing a polygon paints its outline too: `pixels`. Confusing the two turns a mask of one
pixel into four, or none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

Ring = list[tuple[int, int]]
"""Points (x, y) around a part or a hole; neighbours are one step apart."""

STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # clockwise, as y grows downwards


def corners(mask: np.ndarray) -> list[np.ndarray]:
    """Polygons along the edges of pixels, one a part: int (N, 2), x from 0 to width, y from 0 to height.

    ``mask`` is bool (height, width). Pixels that meet at a corner are one part. Filled by area, as pycocotools and
    CVAT do, the polygons give exactly the mask.

    >>> corners(np.ones((2, 3), bool))[0].tolist()
    [[0, 0], [3, 0], [3, 2], [0, 2]]
    """
    outer, holes = _edge_rings(mask)
    return _joined(mask, outer, holes)


def pixels(mask: np.ndarray) -> list[np.ndarray]:
    """Polygons through the outermost pixels, one a part: int (N, 2), x below width, y below height, N at least 3.

    ``mask`` is bool (height, width). Pixels that meet at a corner are one part. Drawn filled and with their outline,
    as OpenCV and Pillow do, the polygons give exactly the mask.

    >>> pixels(np.ones((2, 3), bool))[0].tolist()
    [[0, 0], [0, 1], [2, 1], [2, 0]]
    """
    contours, tree = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer: list[Ring] = []
    holes: list[Ring] = []
    for index, contour in enumerate(contours):
        ring = [(x, y) for x, y in contour[:, 0].tolist()]
        (outer if tree[0, index, 3] < 0 else holes).append(ring)
    return _joined(mask, outer, holes)


def _edge_rings(mask: np.ndarray) -> tuple[list[Ring], list[Ring]]:
    """Rings along the edges of the mask, which lies to their right: those around parts, and those around holes."""
    framed = np.pad(mask, 1)
    inside = framed[1:-1, 1:-1]
    edges: dict[tuple[int, int], set[int]] = defaultdict(set)  # start -> directions, as indices of STEPS
    for direction, (neighbour, dx, dy) in enumerate(
        [(framed[:-2, 1:-1], 0, 0), (framed[1:-1, 2:], 1, 0), (framed[2:, 1:-1], 1, 1), (framed[1:-1, :-2], 0, 1)]
    ):
        ys, xs = np.nonzero(inside & ~neighbour)
        for start in zip((xs + dx).tolist(), (ys + dy).tolist(), strict=True):
            edges[start].add(direction)
    outer: list[Ring] = []
    holes: list[Ring] = []
    for start, directions in edges.items():
        while directions:
            (x, y), direction, ring, area = start, min(directions), [], 0
            while direction in edges[x, y]:
                edges[x, y].remove(direction)
                ring.append((x, y))
                dx, dy = STEPS[direction]
                x, y, area = x + dx, y + dy, area + x * dy - y * dx
                turns = [(direction + turn) % 4 for turn in (3, 0, 1)]  # left first: pixels that meet at a corner join
                direction = next((turn for turn in turns if turn in edges[x, y]), direction)
            (outer if area > 0 else holes).append(ring)
    return outer, holes


def _joined(mask: np.ndarray, outer: Sequence[Ring], holes: Sequence[Ring]) -> list[np.ndarray]:
    """The outer rings with the holes joined in, from left to right, each to the ring on its left."""
    rings = [list(ring) for ring in outer]
    at = {point: (number, index) for number, ring in enumerate(rings) for index, point in enumerate(ring)}
    holes_at: dict[tuple[int, int], list[int]] = defaultdict(list)
    columns = np.arange(1, mask.shape[1] + 1, dtype=np.int32)
    starts = np.maximum.accumulate(np.where(mask, np.int32(0), columns), axis=1)  # of the run that a pixel lies in
    for number, hole in enumerate(sorted(holes, key=min), start=len(rings)):
        x, y = min(hole)
        first = hole.index((x, y))
        rings.append([*hole[first:], *hole[:first], (x, y)])
        holes_at[at[int(starts[y, x - 1]) if x else 0, y]].append(number)
        at |= {point: (number, index) for index, point in enumerate(rings[number][:-1])}
    return [_straightened(np.array(list(_walk(rings, holes_at, number)))) for number in range(len(outer))]


def _walk(
    rings: Sequence[Ring], holes_at: Mapping[tuple[int, int], list[int]], number: int
) -> Iterator[tuple[int, int]]:
    """The points of a ring; at each point that holes are joined to, also those of the holes, and the point again."""
    stack = [(number, 0)]  # no recursion, as holes may be joined to thousands of holes
    while stack:
        number, index = stack.pop()
        if index == len(rings[number]):
            continue
        yield rings[number][index]
        if joined := holes_at.get((number, index)):
            stack.append((number, index))
            stack.append((joined.pop(), 0))
        else:
            stack.append((number, index + 1))


def _straightened(polygon: np.ndarray) -> np.ndarray:
    """A polygon without the points where the direction stays; of at least three points, the last one repeated."""
    points = polygon[(polygon != np.roll(polygon, 1, 0)).any(1)]
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    points = points[(cross != 0) | ((before * after).sum(1) < 0)]
    points = points if len(points) else polygon[:1]
    return np.vstack([points, *[points[-1:]] * (3 - len(points))])

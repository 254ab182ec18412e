"""Surfaces as triangle meshes: lathes, swept tubes, boxes with round edges, sheets and flat outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Mesh:
    """Points (N, 3), triangles (M, 3), texture coordinates (N, 2) and unit normals (N, 3)."""

    points: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    normals: np.ndarray

    def moved(self, matrix: np.ndarray, shift: Sequence[float] = (0, 0, 0)) -> Mesh:
        """Turned by a rotation matrix, then shifted."""
        return Mesh(self.points @ matrix.T + np.asarray(shift), self.faces, self.uv, self.normals @ matrix.T)


def turn(axis: str, degrees: float) -> np.ndarray:
    """The matrix of an anticlockwise rotation about the axis "x", "y" or "z"."""
    a, b = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    angle, matrix = np.deg2rad(degrees), np.eye(3)
    matrix[[a, b], [a, b]] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def sheet(points: np.ndarray) -> Mesh:
    """A grid of points (rows, columns, 3); u runs along a row, v down the rows."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    flat = points.reshape(-1, 3).astype(np.float64)
    return Mesh(flat, faces, np.stack([u.ravel(), v.ravel()], 1), vertex_normals(flat, faces))


def vertex_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Means of the faces' normals by area; points at one position share theirs, so that seams do not show."""
    corners = points[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    _, same = np.unique(np.round(points, 5), axis=0, return_inverse=True)
    same = same.ravel()
    total = np.zeros((same.max() + 1, 3))
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(same[faces[:, corner]], normal[:, axis], len(total))
    total = total[same]
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several; all share the texture."""
    starts = np.cumsum([0] + [len(mesh.points) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.points for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
    )


def curve(knots: Sequence[Sequence[float]], count: int) -> np.ndarray:
    """A smooth curve through the knots (Catmull-Rom), (count, dimensions), evenly spaced by length."""
    knots = np.asarray(knots, float)
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    t = np.linspace(0, len(knots) - 1 - 1e-9, 40 * len(knots))
    i, f = t.astype(int), (t % 1)[:, None]
    p0, p1, p2, p3 = (padded[i + k] for k in range(4))
    cubic = 2 * p0 - 5 * p1 + 4 * p2 - p3, 3 * p1 - p0 - 3 * p2 + p3
    return resampled(p1 + f * (p2 - p0 + f * (cubic[0] + f * cubic[1])) / 2, count)


def resampled(line: np.ndarray, count: int) -> np.ndarray:
    """``count`` points on the line, evenly spaced by length."""
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, along[-1], count)
    return np.stack([np.interp(at, along, line[:, axis]) for axis in range(line.shape[1])], 1)


def rounded(corners: Sequence[Sequence[float]], radius: float, count: int = 160) -> np.ndarray:
    """A line of straight pieces with rounded corners, dense at the corners."""
    corners = np.asarray(corners, float)
    pieces = [corners[:1]]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        to, on = before - corner, after - corner
        reach = min(radius, 0.49 * np.linalg.norm(to), 0.49 * np.linalg.norm(on))
        start, end = (corner + side / np.linalg.norm(side) * reach for side in (to, on))
        t = np.linspace(0, 1, 9)[:, None]
        pieces.append((1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end)
    line = np.concatenate([*pieces, corners[-1:]])
    extra = max(count - len(line), 0)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.sort(np.concatenate([along, np.linspace(0, along[-1], extra + 2)[1:-1]]))
    return np.stack([np.interp(at, along, line[:, axis]) for axis in range(line.shape[1])], 1)


def lathe_points(profile: np.ndarray, columns: int = 128) -> np.ndarray:
    """The profile (rows, 2) of radius and height, turned about z: (rows, columns, 3)."""
    angle = np.linspace(0, 2 * np.pi, columns)
    angle[-1] = 0
    radius, height = profile[:, :1], profile[:, 1:]
    return np.stack(np.broadcast_arrays(radius * np.cos(angle), radius * np.sin(angle), height), -1)


def lathe(profile: np.ndarray, columns: int = 128) -> Mesh:
    """A solid of revolution. The outside is seen where the profile runs upwards along it."""
    return sheet(lathe_points(profile, columns))


def tube_points(path: np.ndarray, radius: np.ndarray | float, section: np.ndarray | None = None) -> np.ndarray:
    """A section (columns, 2), a circle by default, swept along a path (rows, 3), scaled by the radius of each row.

    The frame is carried along the path without twist; its first axis starts as upright as it can.
    """
    if section is None:
        angle = np.linspace(0, 2 * np.pi, 33)
        section = np.stack([np.cos(angle), np.sin(angle)], 1)
        section[-1] = section[0]
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    first = np.array([0, 0, 1.0]) if abs(tangent[0, 2]) < 0.95 else np.array([1.0, 0, 0])
    frames = []
    for direction in tangent:
        first = first - direction * (first @ direction)
        first /= np.linalg.norm(first)
        frames.append((first, np.cross(direction, first)))
    across, side = (np.stack(part)[:, None] for part in zip(*frames, strict=True))
    scale = np.broadcast_to(np.asarray(radius, float), len(path))[:, None, None]
    return path[:, None] + scale * (section[:, :1] * across + section[:, 1:] * side)


def tube(path: np.ndarray, radius: np.ndarray | float, section: np.ndarray | None = None) -> Mesh:
    """A swept tube with round ends."""
    scale = np.broadcast_to(np.asarray(radius, float), len(path))
    turns = np.linspace(0, np.pi / 2, 8)[:-1]
    start, end = path[0] - path[1], path[-1] - path[-2]
    start, end = start / np.linalg.norm(start) * scale[0], end / np.linalg.norm(end) * scale[-1]
    heads = path[0] + np.cos(turns)[:, None] * start * 0.6, path[-1] + np.cos(turns[::-1])[:, None] * end * 0.6
    whole = np.concatenate([heads[0], path, heads[1]])
    radii = np.concatenate([np.sin(turns) * scale[0], scale, np.sin(turns[::-1]) * scale[-1]])
    return sheet(tube_points(whole, radii, section))


def ball_points(rows: int = 160, columns: int = 256) -> np.ndarray:
    """The unit sphere, from the south pole up: (rows, columns, 3)."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rows)
    return lathe_points(np.stack([np.cos(angle).round(9), np.sin(angle)], 1), columns)


def box(size: Sequence[float], radius: float, cells: int = 12) -> Mesh:
    """A box around the origin with round edges; the texture holds its six faces, 3 x 2: +x, +y, +z, -x, -y, -z."""
    half = np.asarray(size, float) / 2
    radius = min(radius, half.min())
    round_part = np.linspace(0, 1, 6)
    faces = []
    for number in range(6):
        axis, sign = number % 3, 1 - 2 * (number // 3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        lines = []
        for k in (a, b):
            inner = half[k] - radius
            edge = inner + radius * np.tan(round_part * np.pi / 4)
            lines.append(np.concatenate([-edge[::-1], np.linspace(-inner, inner, cells)[1:-1], edge]))
        x, y = np.meshgrid(lines[0], lines[1])
        cube = np.empty((*x.shape, 3))
        cube[..., a], cube[..., b], cube[..., axis] = x * sign, y, sign * half[axis]
        core = np.clip(cube, radius - half, half - radius)
        away = cube - core
        away /= np.linalg.norm(away, axis=-1, keepdims=True)
        mesh = sheet(core + radius * away)
        normals = away.reshape(-1, 3)
        u = (x.ravel() / half[a] + 1) / 2
        v = (y.ravel() / half[b] + 1) / 2
        uv = np.stack([(u.clip(0.002, 0.998) + number % 3) / 3, (v.clip(0.002, 0.998) + number // 3) / 2], 1)
        faces.append(Mesh(mesh.points, mesh.faces, uv, normals))
    return joined(faces)


def plate_of(outline: np.ndarray, thickness: float, bevel: float = 0.03) -> Mesh:
    """A flat piece with a star-shaped outline (N, 2), seen from its mean, lying on z = 0, with bevelled edges."""
    closed = np.concatenate([outline, outline[:1]])
    middle = outline.mean(0)
    steps = [
        (0.0, 0.0),
        (0.5, 0.0),
        (1 - bevel, 0.0),
        (1.0, bevel),
        (1.0, 1 - bevel),
        (1 - bevel, 1.0),
        (0.5, 1.0),
        (0, 1.0),
    ]
    rows = []
    for share, height in steps:
        flat = middle + (closed - middle) * share
        rows.append(np.concatenate([flat, np.full((len(flat), 1), height * thickness)], 1))
    mesh = sheet(np.stack(rows))
    span = np.ptp(closed, axis=0).max()
    return Mesh(mesh.points, mesh.faces, (mesh.points[:, :2] - closed.min(0)) / span, mesh.normals)


def hull(points: np.ndarray) -> np.ndarray:
    """The convex hull of points (N, 2), anticlockwise."""
    angle = np.linspace(0, 2 * np.pi, 49)[:-1]
    directions = np.stack([np.cos(angle), np.sin(angle)], 1)
    extreme = points[np.argmax(points @ directions.T, axis=0)]
    keep = np.linalg.norm(extreme - np.roll(extreme, 1, 0), axis=1) > 1e-6
    return extreme[keep]


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """A lower bound of the distance between two convex outlines; negative where they overlap."""
    best = -np.inf
    for outline, other in ((a, b), (b, a)):
        edge = np.roll(outline, -1, 0) - outline
        normal = np.stack([edge[:, 1], -edge[:, 0]], 1) / np.linalg.norm(edge, axis=1, keepdims=True)
        best = max(best, ((other @ normal.T).min(0) - (outline * normal).sum(1)).max())
    return float(best)

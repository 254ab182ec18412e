"""Masks as pixels: one value a pixel where masks overlap, and run lengths along rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segzs.formats.annotations import ImageAnnotations


def flattened(annotations: ImageAnnotations, values: Sequence[int]) -> np.ndarray:
    """Int32 (height, width): at each pixel the value of the smallest segment there, 0 where there is none."""
    canvas = np.zeros((annotations.height, annotations.width), np.int32)
    for segment, value in sorted(zip(annotations.segments, values, strict=True), key=lambda pair: -pair[0].area):
        canvas[segment.mask] = value
    return canvas


def row_runs(mask: np.ndarray) -> np.ndarray:
    """Lengths of the runs of a bool array (height, width), row after row: int (N,); the first run is of False.

    CVAT and Label Studio count runs along rows, COCO along columns.

    >>> row_runs(np.array([[0, 1, 1], [1, 0, 0]], bool))
    array([1, 3, 2])
    """
    flat = np.concatenate([[False], mask.ravel()])
    borders = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], borders, [mask.size]]))

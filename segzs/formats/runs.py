"""Masks as run lengths along rows, as CVAT and Label Studio count them; COCO counts along columns."""

from __future__ import annotations

import numpy as np


def row_runs(mask: np.ndarray) -> np.ndarray:
    """Lengths of the runs of a bool array (height, width), row after row: int (N,), the first of False, maybe 0 long.

    >>> row_runs(np.array([[0, 1, 1], [1, 0, 0]], bool))
    array([1, 3, 2])
    """
    flat = np.concatenate([[False], mask.ravel()])
    borders = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], borders, [mask.size]]))

"""Overlapping masks -> one value a pixel, for formats that have room for one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segzs.formats.annotations import ImageAnnotations


def flattened(annotated: ImageAnnotations, values: Sequence[int]) -> np.ndarray:
    """Int32 (height, width): at each pixel the value of the smallest segment there, 0 where there is none."""
    canvas = np.zeros((annotated.height, annotated.width), np.int32)
    pairs = sorted(zip(annotated.segments, values, strict=True), key=lambda pair: -pair[0].area)
    for segment, value in pairs:
        canvas[segment.mask] = value
    return canvas

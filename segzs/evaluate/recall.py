"""Which masks of everything mode belong to which objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segzs.masks import RLE, iou

THRESHOLDS = np.linspace(0.5, 0.95, 10)


def matches(truths: Sequence[RLE], masks: Sequence[RLE], scores: Sequence[float]) -> np.ndarray:
    """The index of the mask of each object at each IoU threshold, whatever the names: int (10, truths), -1 for none.

    At each IoU threshold of 0.5, 0.55, ..., 0.95 the masks, best score first, take the free object that they overlap
    most, as in COCO's evaluation; the share of objects that are not -1 is COCO's average recall.

    Source: COCOeval.evaluateImg of pycocotools.

    >>> left, right = (RLE.encode(np.array([row], bool)) for row in ([1, 1, 0, 0], [0, 0, 1, 1]))
    >>> matches([left, right], [right], [0.9])[0].tolist()
    [-1, 0]
    """
    overlap = iou(masks, truths)
    result = np.full((len(THRESHOLDS), len(truths)), -1)
    for owner, threshold in zip(result, THRESHOLDS, strict=True):
        for index in np.argsort(-np.asarray(scores), kind="stable"):
            free = np.where(owner < 0, overlap[index], -1)
            if free.max() >= threshold:
                owner[free.argmax()] = index
    return result

"""Select the masks that are objects, by SAM's scores and by how well CLIP recognises each mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segzs.masks import Mask, ios

NESTED_THRESHOLD = 0.85
"""The IoS from which the smaller of two masks counts as a part of the larger one."""
PART_MARGIN = 0.05
"""How much larger the similarity of a part must be than that of the larger mask around it."""
STABILITY_WEIGHT = 0.5
"""Weight of the stability score beside the predicted IoU and the similarity."""


def select_masks(
    masks: Sequence[Mask],
    similarity: np.ndarray,
    *,
    predicted_iou_threshold: float,
    stability_score_threshold: float,
    object_threshold: float,
) -> list[int]:
    """Indices of the masks that are objects, best first.

    A mask is an object if the sum of its margins over the three thresholds is not negative: a mask that CLIP recognises
    well may have a lower predicted IoU. Of two nested masks, drop the one with the lower score unless CLIP recognises
    it better: it is mostly a part of an object, or several objects in one mask. The larger of the two is compared with
    an advantage of `PART_MARGIN` in similarity.

    Args:
        masks: masks of a lenient search, without duplicates.
        similarity: for each mask, the cosine similarity with the general label that it resembles most: float (N,).
        predicted_iou_threshold: the model's threshold of the predicted IoU.
        stability_score_threshold: the model's threshold of the stability score.
        object_threshold: the similarity below which CLIP does not recognise an object.
    """
    if not masks:
        return []
    predicted_iou = np.array([mask.predicted_iou for mask in masks]) - predicted_iou_threshold
    stability = np.array([mask.stability_score for mask in masks]) - stability_score_threshold
    scores = predicted_iou + STABILITY_WEIGHT * stability + similarity - object_threshold
    nested = ios([mask.rle for mask in masks]) > NESTED_THRESHOLD
    areas = np.array([mask.rle.area for mask in masks])
    advantage = PART_MARGIN * np.sign(areas[:, None] - areas)
    is_recognised_better = similarity[:, None] + advantage >= similarity
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if scores[index] < 0:
            break
        if not any(nested[index, other] and not is_recognised_better[index, other] for other in kept):
            kept.append(index)
    return kept

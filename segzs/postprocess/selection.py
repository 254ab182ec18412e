"""Which of everything mode's masks are objects: those that SAM is sure of, that CLIP recognises, or both a little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from segzs.checkpoints.registry import SamCheckpoint
from segzs.masks import Masks
from segzs.postprocess.merging import NESTED, ios

STABILITY_WEIGHT = 0.5
"""Of the stability beside the predicted IoU and the familiarity, which say more; chosen by hand on scenes."""


def select_masks(masks: Sequence[Masks], familiarity: Tensor, sam: SamCheckpoint, familiar: float) -> list[int]:
    """Indices of the masks that are objects, best first.

    A mask is one if its predicted IoU, its stability and its familiarity reach their thresholds together: what CLIP
    knows well may be less certain to SAM. Of two, one inside the other, the worse goes where it is less familiar as
    well: mostly a part, or several objects taken for one.

    Args:
        masks: one mask each, without duplicates, from a lenient search.
        familiarity: of each, its cosine with the word that it is most like (N,); see `familiarity`.
        sam: whose thresholds of predicted IoU and stability count.
        familiar: the threshold of the familiarity.
    """
    if not masks:
        return []
    sure = np.array([mask.predicted_iou[0] for mask in masks]) - sam.predicted_iou
    stable = np.array([mask.stability[0] for mask in masks]) - sam.stability
    known = familiarity.cpu().numpy()
    scores = sure + STABILITY_WEIGHT * stable + known - familiar
    nested = ios([mask.rles[0] for mask in masks]) > NESTED
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if scores[index] < 0:
            break
        if not any(nested[index, other] and known[other] > known[index] for other in kept):
            kept.append(index)
    return kept

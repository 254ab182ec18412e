"""Name masks by their crops and by one pass over the whole picture: what one of them misses the other sees."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.clip.build import ClipModel
from segzs.clip.crops import Cropping, crops, encode_masks
from segzs.clip.dense import means_of, pool
from segzs.clip.naming import BATCH
from segzs.clip.networks.tiny import CERTAIN, TwoTrunks
from segzs.clip.preprocess import fit, normalise
from segzs.masks import RLE


@torch.inference_mode()
def encode_both(clip: ClipModel, pixels: np.ndarray, dense: Tensor, masks: Sequence[RLE], cropping: Cropping) -> Tensor:
    """Normalised image features of masks, from their crops and from what `dense_features` saw of their picture.

    The tiny CLIP takes the mean before its head; what its gate calls a drawing is named by the crop alone. Of other
    models the mean of both features counts.

    Args:
        clip: a model with a dense path.
        pixels: uint8 RGB (height, width, 3).
        dense: `dense_features` of these.
        masks: masks of that size; an empty one has no features: zeros.
        cropping: how the crops are made.

    Returns:
        float32 (masks, width).
    """
    visual = clip.module.visual
    if not isinstance(visual, TwoTrunks) or len(cropping.scales) > 1:
        return F.normalize(encode_masks(clip, pixels, masks, cropping) + pool(clip, dense, masks), dim=-1)
    features = []
    means = means_of(dense, masks).to(clip.dtype)
    cut = (fit(crop, clip.preprocessing) for crop in crops(pixels, masks, cropping, clip.preprocessing))
    for of_picture in means.split(BATCH) if masks else ():
        pictures = torch.stack(list(islice(cut, len(of_picture))))
        pictures = normalise(pictures.to(clip.device), clip.preprocessing).to(clip.dtype)
        features.append(_answer(visual, of_picture, pictures))
    found = F.normalize(torch.cat(features).float(), dim=-1) if features else means.new_zeros(0, 0)
    found[[mask.area == 0 for mask in masks]] = 0
    return found


def _answer(visual: TwoTrunks, means: Tensor, pictures: Tensor) -> Tensor:
    """Each trunk sees only the crops that it is asked for."""
    drawn = visual.drawn(means)[:, 0] > 1 - CERTAIN
    features = means.new_zeros(len(means), visual.drawing_head.out_features)
    if drawn.any():
        features[drawn] = visual.of_drawings(pictures[drawn])
    if not drawn.all():
        others = pictures[~drawn]
        both = (means[~drawn] + visual.see(others).mean((2, 3))) / 2
        features[~drawn] = visual.answer(both, others)
    return features

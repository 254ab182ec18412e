"""Image features of masks from crops and from one pass over the whole image together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.clip.crops import Cropping, crops
from segzs.clip.dense import mask_means
from segzs.clip.image_features import BATCH, fit, normalize
from segzs.clip.model import ClipModel
from segzs.clip.networks.tiny import MIN_WEIGHT, TwoTrunks
from segzs.masks import RLE


@torch.inference_mode()
def encode_both(clip: ClipModel, pixels: np.ndarray, dense: Tensor, masks: Sequence[RLE], cropping: Cropping) -> Tensor:
    """Normalised image features of masks, from their crops and from the `dense_features` of their image.

    The tiny CLIP averages the two before its head, and uses the crop alone for what its gate calls a drawing. From
    uint8 RGB (height, width, 3) and their `dense_features` to float32 (masks, width), zero for empty masks.
    """
    visual = clip.module.visual
    batches = []
    means = mask_means(dense, masks).to(clip.dtype)
    inputs = (fit(crop, clip.preprocessing) for crop in crops(pixels, masks, cropping, clip.preprocessing))
    for batch in means.split(BATCH) if masks else ():
        images = torch.stack(list(islice(inputs, len(batch))))
        images = normalize(images.to(clip.device), clip.preprocessing).to(clip.dtype)
        batches.append(_features(visual, batch, images))
    features = F.normalize(torch.cat(batches).float(), dim=-1) if batches else means.new_zeros(0, 0)
    features[[mask.area == 0 for mask in masks]] = 0
    return features


def _features(visual: TwoTrunks, means: Tensor, images: Tensor) -> Tensor:
    """Run each trunk only on the crops that need it."""
    is_drawing = visual.drawing_probability(means)[:, 0] > 1 - MIN_WEIGHT
    features = means.new_zeros(len(means), visual.drawing_head.out_features)
    if is_drawing.any():
        features[is_drawing] = visual.encode_drawings(images[is_drawing])
    if not is_drawing.all():
        others = images[~is_drawing]
        both = (means[~is_drawing] + visual.photograph_map(others).mean((2, 3))) / 2
        features[~is_drawing] = visual.combine(both, others)
    return features

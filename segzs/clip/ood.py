"""Out-of-distribution check: are these images of a kind that the CLIP was trained on?"""

from __future__ import annotations

from torch import Tensor

from segzs.clip.model import ClipModel
from segzs.clip.text_features import general_features
from segzs.errors import UnfamiliarWarning, warn

FEW, TOLERANCE = 4, 0.05
"""The median of fewer than `FEW` objects varies more; it may lie this much below the threshold."""


def max_similarity(clip: ClipModel, image_features: Tensor) -> Tensor:
    """The largest cosine similarity of each image feature (N, width) with a label of the general vocabulary: (N,).

    Maximum concept matching as in "Delving into out-of-distribution detection with vision-language representations"
    (Ming et al. 2022), without the softmax.
    """
    return (image_features @ general_features(clip).T).amax(1)


def is_out_of_distribution(clip: ClipModel, similarity: Tensor) -> bool:
    """Whether the median of the objects' `max_similarity` (N,) lies below the CLIP's threshold; False without one."""
    threshold = clip.spec.ood_threshold
    return threshold is not None and bool(similarity.median() < threshold - TOLERANCE * (len(similarity) < FEW))


def warn_if_out_of_distribution(clip: ClipModel, image_features: Tensor) -> None:
    """Give `UnfamiliarWarning` if most objects (N, width) are of a kind that the CLIP was not trained on."""
    if clip.spec.ood_threshold is None or not len(image_features):
        return
    if is_out_of_distribution(clip, max_similarity(clip, image_features)):
        warn(
            "the embedded tiny CLIP does not recognise the objects of this image and names them badly; for "
            "a larger model run `segzs fetch vit_b` and use --model vit_b (in Python: load('vit_b'))",
            UnfamiliarWarning,
        )

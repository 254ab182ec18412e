"""How right the names of objects are: top-1, top-5, "unknown", and what a name's probability is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segzs.clip.both import encode_both
from segzs.clip.crops import Cropping, encode_masks
from segzs.clip.dense import dense_features, pool
from segzs.clip.naming import encode_pictures
from segzs.clip.vocabulary import Vocabulary
from segzs.image import Image
from segzs.masks import RLE
from segzs.segmenter import Segmenter
from segzs.segments import UNKNOWN, Name

FEW = 5


@dataclass(frozen=True)
class Judged:
    """One object's names beside its right one.

    ``answer`` is the name it gets, "unknown" or a label, with its probability, and whether it is right; ``best`` the
    most probable label. ``first`` and ``among_five`` say whether the right name is that, or among the five most
    probable, "unknown" set aside.
    """

    answer: str
    confidence: float
    answered: bool
    best: str
    first: bool
    among_five: bool


def features_of(segmenter: Segmenter, image: Image, masks: Sequence[RLE], cropping: Cropping | None = None) -> Tensor:
    """What the CLIP of a segmenter sees of masks, as its naming and cropping say, (masks, width).

    Without masks it is the whole picture, (1, width).
    """
    if not masks:
        return encode_pictures(segmenter.clip, [image.pixels])
    if segmenter.naming == "pooled" and cropping is None:
        return pool(segmenter.clip, dense_features(segmenter.clip, image.pixels), masks)
    if segmenter.naming == "both" and cropping is None:
        dense = dense_features(segmenter.clip, image.pixels)
        return encode_both(segmenter.clip, image.pixels, dense, masks, segmenter.cropping)
    return encode_masks(segmenter.clip, image.pixels, masks, cropping or segmenter.cropping)


def judge(ranked: Sequence[Name], name: str, vocabulary: Vocabulary) -> Judged | None:
    """One object by its names as `Segment.names` has them; None where the right one is no label.

    A label below the right one is right as well: a cat is an animal.

    >>> cat = judge([Name("unknown", 0.5), Name("cat", 0.3), Name("dog", 0.2)], "cat", Vocabulary.of("cat, dog"))
    >>> cat.answer, cat.best, cat.first
    ('unknown', 'cat', True)
    """
    if name not in vocabulary.labels:
        return None
    labels = [found.label for found in ranked if found.label != UNKNOWN]
    right = [name in vocabulary.lineage(label) for label in labels]
    answer = ranked[0]
    return Judged(
        answer.label, answer.probability, answer.label == labels[0] and right[0], labels[0], right[0], any(right[:FEW])
    )


def removed_labels(labels: Sequence[str], share: float, seed: int = 0) -> list[str]:
    """A share of the labels, drawn at random, to be left out of the list; at least one is, and at least one stays."""
    count = min(max(1, round(share * len(labels))), len(labels) - 1) if share else 0
    return [labels[i] for i in sorted(np.random.default_rng(seed).permutation(len(labels))[:count])]


def unknown_scores(segmenter: Segmenter, features: Tensor) -> np.ndarray | None:
    """The probability of "unknown" of features (objects, width), float (objects,); None where it is never said."""
    with torch.inference_mode():
        probabilities = segmenter.namer.exclusive(features)
    if probabilities.shape[1] == len(segmenter.vocabulary.labels):
        return None
    return probabilities[:, -1].float().cpu().numpy()

"""Whether the names of objects are right: top-1, top-5, "unknown"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segzs.clip.vocabulary import Vocabulary
from segzs.image import Image
from segzs.masks import RLE
from segzs.segmenter import Segmenter
from segzs.segments import UNKNOWN, Name

FEW = 5


@dataclass(frozen=True)
class Judged:
    """The names of one object, judged by the right name.

    ``answer`` is the first name, "unknown" or a label, ``confidence`` its probability, and ``answered`` whether it is
    right. ``best`` is the most probable label; ``first`` and ``among_five`` say whether the right name is the most
    probable label, or among the five most probable labels.
    """

    answer: str
    confidence: float
    answered: bool
    best: str
    first: bool
    among_five: bool


def features_of(segmenter: Segmenter, image: Image, masks: Sequence[RLE]) -> Tensor:
    """Image features of masks as the segmenter names them, (masks, width); without masks of the image, (1, width)."""
    return segmenter.region_encoder.encode(image, masks) if masks else segmenter.region_encoder.encode_whole(image)


def judge(ranked: Sequence[Name], name: str, vocabulary: Vocabulary) -> Judged | None:
    """Judge the names of an object, as of `Segment.names`; None where the right name is not a label.

    A label below the right one is right as well: a cat is an animal.

    >>> cat = judge([Name("unknown", 0.5), Name("cat", 0.3), Name("dog", 0.2)], "cat", Vocabulary(["cat", "dog"]))
    >>> cat.answer, cat.best, cat.first
    ('unknown', 'cat', True)
    """
    if name not in vocabulary.labels:
        return None
    labels = [one.label for one in ranked if one.label != UNKNOWN]
    right = [name in vocabulary.lineage(label) for label in labels]
    answer = ranked[0]
    return Judged(
        answer.label, answer.probability, answer.label == labels[0] and right[0], labels[0], right[0], any(right[:FEW])
    )


def removed_labels(labels: Sequence[str], share: float, seed: int = 0) -> list[str]:
    """A random share of the labels; at least one is removed, and at least one stays."""
    count = min(max(1, round(share * len(labels))), len(labels) - 1) if share else 0
    return [labels[i] for i in sorted(np.random.default_rng(seed).permutation(len(labels))[:count])]


def unknown_scores(segmenter: Segmenter, features: Tensor) -> np.ndarray | None:
    """The probability of "unknown" of features (objects, width), float (objects,); None without "unknown"."""
    with torch.inference_mode():
        probabilities = segmenter.classifier.exclusive(features)
    if probabilities.shape[1] == len(segmenter.vocabulary.labels):
        return None
    return probabilities[:, -1].float().cpu().numpy()

"""Whether the names of objects are right: top-1, top-5, "unknown"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from segzs.clip.vocabulary import Vocabulary
from segzs.segmenter import Segmenter
from segzs.segments import UNKNOWN, Name


@dataclass(frozen=True)
class Judged:
    """The names of one object, judged by the right name.

    ``best`` is the most probable label. ``top_1`` and ``top_5`` say whether the right name is the most probable label,
    or among the five most probable; ``answered`` whether it is the first name, and ``confidence`` is that one's
    probability. A first name of "unknown" is ignored by ``top_1`` and wrong for ``answered``.
    """

    best: str
    top_1: bool
    top_5: bool
    answered: bool
    confidence: float


def judge(ranked: Sequence[Name], name: str, vocabulary: Vocabulary) -> Judged | None:
    """Judge the names of an object, as of `Segment.names`; None if the right name is not a label.

    A label below the right one is right as well: a cat is an animal.

    >>> cat = judge([Name("unknown", 0.5), Name("cat", 0.3), Name("dog", 0.2)], "cat", Vocabulary(["cat", "dog"]))
    >>> cat.best, cat.top_1, cat.answered
    ('cat', True, False)
    """
    if name not in vocabulary.labels:
        return None
    labels = [each.label for each in ranked if each.label != UNKNOWN]
    right = [name in vocabulary.lineage(label) for label in labels]
    answered = right[0] and ranked[0].label == labels[0]
    return Judged(labels[0], right[0], any(right[:5]), answered, ranked[0].probability)


def removed_labels(labels: Sequence[str], share: float, seed: int = 0) -> list[str]:
    """A random share of the labels; at least one is removed, and at least one stays."""
    count = min(max(1, round(share * len(labels))), len(labels) - 1) if share else 0
    return [labels[i] for i in sorted(np.random.default_rng(seed).permutation(len(labels))[:count])]


def unknown_scores(segmenter: Segmenter, features: Tensor) -> np.ndarray | None:
    """The probability of "unknown" of features (objects, width), float (objects,); None without "unknown"."""
    probabilities = segmenter.classifier.exclusive(features)
    has_unknown = probabilities.shape[1] > len(segmenter.vocabulary.labels)
    return probabilities[:, -1].float().cpu().numpy() if has_unknown else None

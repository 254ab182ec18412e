"""The comparison of ways to tell "unknown"."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import segzs
from segzs.clip.classifier import ZeroShotClassifier
from segzs.clip.model import ClipModel
from segzs.clip.negatives import negative_labels
from segzs.clip.text_features import encode_vocabulary, general_features
from segzs.clip.vocabulary import Vocabulary
from training.packs import TRAINING_STYLES, Packs
from training.unknown import auroc, look, measure, measure_alone, pieces, ways, without

pytestmark = pytest.mark.slow


def test_pieces_lie_on_the_background() -> None:
    instances = np.zeros((200, 300), np.int16)
    instances[:, :100] = 1
    result = pieces(instances, np.random.default_rng(0))
    assert len(result) > 2
    assert not any((mask.decode() & (instances > 0)).any() for mask in result)


def test_auroc_counts_ties_half() -> None:
    assert auroc([2.0, 3.0], [0.0, 1.0]) == 1
    assert auroc([0.0], [1.0]) == 0
    assert auroc([1.0, 1.0], [1.0]) == pytest.approx(0.5)


def calibrated(clip: ClipModel, vocabulary: Vocabulary, features: torch.Tensor) -> ZeroShotClassifier:
    return ZeroShotClassifier(clip, vocabulary, features, negatives=negative_labels(clip, vocabulary, features))


def test_every_way_has_its_figures(drawn_packs: Packs, segmenter: segzs.Segmenter) -> None:
    clip = segmenter.clip
    names = [concept.name for concept in drawn_packs.concepts()]
    features = encode_vocabulary(clip, Vocabulary(tuple(names)))

    def namers(rows: torch.Tensor, hidden: torch.Tensor) -> ZeroShotClassifier:
        return without(
            calibrated(clip, Vocabulary(tuple(names[row] for row in rows)), features[rows]), features[hidden]
        )

    seen = look(segmenter, drawn_packs, TRAINING_STYLES, 2, seed=1)
    tried = ways(clip.unknown_threshold)
    alone = measure_alone(namers, seen, {name: tried[name] for name in list(tried)[:2]}, len(names))
    assert len(alone) == 2
    for name, way in tried.items():
        figures = measure(namers, seen, way, len(names), 0) | alone.get(name, {})
        assert all(0 <= value <= 1 for value in figures.values()), figures


def test_words_can_be_hidden(segmenter: segzs.Segmenter) -> None:
    general = general_features(segmenter.clip)
    classifier = calibrated(segmenter.clip, Vocabulary(["laptop", "cat"]), general[:2])
    assert classifier.negatives is not None
    hidden = without(classifier, classifier.negatives.general[3:5]).negatives
    assert hidden is not None
    assert len(hidden.general) == len(classifier.negatives.general) - 2
    assert without(classifier, general[:0]) is classifier

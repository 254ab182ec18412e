"""General labels and negatives compete with labels, so that objects can be "unknown"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import segzs
from segzs.checkpoints.locate import locate_clip
from segzs.clip.classifier import ZeroShotClassifier, build_classifier
from segzs.clip.labels import Label
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.negatives import WEIGHT, NegativeLabels, negative_labels
from segzs.clip.regions import Naming
from segzs.clip.text_features import encode_vocabulary, general_features, general_vocabulary
from segzs.clip.vocabulary import Vocabulary
from segzs.masks import RLE
from tests.clip.conftest import random_clip
from tests.conftest import Scene, read_scene

SCENES = [read_scene(name) for name in ("desk", "picnic", "toolbox")]


def fixed(classifier: ZeroShotClassifier) -> ZeroShotClassifier:
    """The classifier with a fixed similarity instead of general labels."""
    threshold = classifier.clip.unknown_threshold
    return build_classifier(classifier.clip, classifier.vocabulary, Naming(unknown=threshold))


def encode(segmenter: segzs.Segmenter, scene: Scene, masks: list[RLE]) -> torch.Tensor:
    return segmenter.region_encoder.encode(segzs.read_image(scene.path), masks)


@pytest.fixture(scope="module")
def objects(segmenter: segzs.Segmenter) -> tuple[torch.Tensor, list[str]]:
    """The features and names of the objects of the example scenes."""
    features = [encode(segmenter, scene, scene.masks) for scene in SCENES]
    return torch.cat(features), [name for scene in SCENES for name in scene.names]


@pytest.fixture(scope="module")
def background(segmenter: segzs.Segmenter) -> torch.Tensor:
    """The features of squares of the example scenes without objects."""
    features = []
    for scene in SCENES:
        free = ~np.any([mask.decode() for mask in scene.masks], axis=0)
        squares = np.zeros((12, *free.shape), bool)
        for square, corner in zip(squares, range(12), strict=True):
            y, x = 30 + 170 * (corner // 4), 20 + 180 * (corner % 4)
            square[y : y + 110, x : x + 110] = free[y : y + 110, x : x + 110]
        features.append(encode(segmenter, scene, [RLE.encode(square) for square in squares if square.sum() > 4000]))
    return torch.cat(features)


@pytest.mark.slow
def test_a_single_label_hardly_ever_names_background(
    clip: ClipModel, objects: tuple[torch.Tensor, list[str]], background: torch.Tensor
) -> None:
    features, names = objects
    assert len(background) >= 10
    own, wrong, wrong_fixed = 0, 0, 0
    for name in sorted(set(names)):
        classifier = build_classifier(clip, [name])
        of_background = classifier.probabilities(background)[:, 0]
        wrong += int((of_background > 0.5).sum())
        wrong_fixed += int((fixed(classifier).probabilities(background)[:, 0] > 0.5).sum())
        rows = [index for index, other in enumerate(names) if other == name]
        own += int((classifier.probabilities(features[rows])[:, 0] > 0.5).sum())
    assert wrong_fixed >= 20
    assert wrong <= wrong_fixed / 10
    assert own >= 0.9 * len(names)


@pytest.mark.slow
def test_general_labels_detect_absent_labels_better_than_a_fixed_similarity(
    clip: ClipModel, objects: tuple[torch.Tensor, list[str]]
) -> None:
    features, names = objects
    kept = sorted(set(names))[::2]
    present = torch.tensor([name in kept for name in names])
    classifier = build_classifier(clip, kept)
    unknown = [one.probabilities(features).argmax(1) == len(kept) for one in (classifier, fixed(classifier))]
    right = [int((predicted != present).sum()) for predicted in unknown]
    assert right[0] >= right[1]
    assert right[0] >= 0.8 * len(names)


@pytest.mark.slow
def test_labels_synonyms_and_similar_words_are_no_negatives(clip: ClipModel) -> None:
    names, general = general_vocabulary(clip).labels, general_features(clip)
    vocabulary = Vocabulary([Label("laptop", synonyms=("hammer",), negatives=("pencil", "wrench")), "wrench"])
    negatives = negative_labels(clip, vocabulary, general[[names.index("laptop"), names.index("wrench")]])
    kept = {name for name, row in zip(names, general, strict=True) if (negatives.general == row).all(1).any()}
    assert not kept & {"laptop", "wrench", "hammer"}
    assert "red apple" in kept
    assert 0.8 * len(names) < len(kept) < len(names) - 2
    assert len(negatives.negatives) == 1  # the wrench is a label
    assert negatives.weight == WEIGHT / 2


def test_a_negative_counts_as_much_as_a_label() -> None:
    general, negatives = torch.eye(4)[:2], torch.eye(4)[2:3]
    image_features = torch.tensor([[0.0, 0.0, 0.9, 0.0]])
    for used, expected in (
        (NegativeLabels(general, negatives, weight=1.0, threshold=-1.0), 0.9),
        (NegativeLabels(general, negatives[:0], 1.0, -1.0), 0),
        (NegativeLabels(general[:0], negatives[:0], 1.0, -1.0), -1.0),
    ):
        assert float(used.similarity(image_features, 100.0)) == pytest.approx(expected, abs=1e-4)


def test_negatives_make_objects_unknown(clip: ClipModel, objects: tuple[torch.Tensor, list[str]]) -> None:
    features, names = objects
    laptop, plain = features[[names.index("laptop")]], Vocabulary(["keyboard"])
    for unknown in ("auto", 0.0):
        without, against = (
            build_classifier(clip, vocabulary, Naming(unknown=unknown)).probabilities(laptop)[0]
            for vocabulary in (plain, replace(plain, negatives=("desktop computer", "laptop")))
        )
        assert against[1] > without[1]


def test_with_all_general_labels_the_clips_own_threshold_is_used(segmenter: segzs.Segmenter) -> None:
    classifier = segmenter.classifier
    assert classifier.negatives is not None
    assert len(classifier.negatives.general) == 0
    assert classifier.negatives.threshold == segmenter.clip.unknown_threshold
    features = torch.eye(classifier.text_features.shape[1])[:1]
    torch.testing.assert_close(classifier.probabilities(features), fixed(classifier).probabilities(features))


def test_every_clip_has_general_negatives(tmp_path: Path) -> None:
    clip = load_clip(locate_clip(random_clip(tmp_path / "clip")))
    vocabulary = Vocabulary(["zebra crossing", "cat"])
    negatives = negative_labels(clip, vocabulary, encode_vocabulary(clip, vocabulary))
    assert 0 < len(negatives.general) < len(general_features(clip))


def test_general_labels_like_examples_are_no_negatives(clip: ClipModel) -> None:
    """The number does not depend on the number of examples of a label, because their mean is used."""
    vocabulary = Vocabulary(["gizmo", "gadget"])
    features = encode_vocabulary(clip, vocabulary)
    plain = negative_labels(clip, vocabulary, features)
    with_examples = negative_labels(clip, vocabulary, features, examples=plain.general[:2])
    assert len(plain.general) - 10 <= len(with_examples.general) < len(plain.general)
    assert not (with_examples.general[:, None] == plain.general[:2]).all(-1).any()


def test_without_general_labels_the_clips_own_threshold_is_used(clip: ClipModel) -> None:
    vocabulary, general = Vocabulary(["gizmo"]), general_features(clip)
    negatives = negative_labels(clip, vocabulary, encode_vocabulary(clip, vocabulary), examples=general)
    assert (len(negatives.general), negatives.threshold) == (0, clip.unknown_threshold)


def test_parents_do_not_change_the_weight_of_unknown(clip: ClipModel) -> None:
    tree = Vocabulary([Label("cat", parent="animal"), Label("dog", parent="animal")])
    for vocabulary in (Vocabulary(["cat", "dog"]), tree):
        negatives = build_classifier(clip, vocabulary).negatives
        assert negatives is not None
        assert negatives.weight == WEIGHT / 2

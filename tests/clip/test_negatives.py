""" "unknown" is what general words and negatives get."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import segzs
from segzs.checkpoints.locate import locate_clip
from segzs.clip.classifier import ZeroShotClassifier, encode_pictures
from segzs.clip.crops import crops
from segzs.clip.labels import Label
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.negatives import WEIGHT, NegativeLabels, fixed_negative_labels, negative_labels
from segzs.clip.vocabulary import Vocabulary, encode_labels, general_features, general_vocabulary
from segzs.masks import RLE
from tests.clip.conftest import random_clip
from tests.conftest import read_scene

SCENES = [read_scene(name) for name in ("desk", "picnic", "toolbox")]


def calibrated(clip: ClipModel, vocabulary: Vocabulary) -> ZeroShotClassifier:
    features = encode_labels(clip, vocabulary)
    return ZeroShotClassifier(
        clip, vocabulary, features, "auto", negative_labels(clip, vocabulary, features, general_features(clip))
    )


def by_similarity(classifier: ZeroShotClassifier) -> ZeroShotClassifier:
    """The same with one similarity in place of contrast words."""
    clip = classifier.clip
    return replace(
        classifier, contrast=fixed_negative_labels(clip, classifier.vocabulary, classifier.label_features, clip.unknown)
    )


@pytest.fixture(scope="module")
def objects(segmenter: segzs.Segmenter) -> tuple[torch.Tensor, list[str]]:
    """The features and names of the example scenes' objects."""
    features = [
        encode_pictures(
            segmenter.clip, crops(segzs.read_image(scene.path).pixels, scene.masks, segmenter.region_encoder.cropping)
        )
        for scene in SCENES
    ]
    return torch.cat(features), [name for scene in SCENES for name in scene.names]


@pytest.fixture(scope="module")
def background(segmenter: segzs.Segmenter) -> torch.Tensor:
    """The features of pieces of the example scenes on which there is no object."""
    features = []
    for scene in SCENES:
        pixels, free = segzs.read_image(scene.path).pixels, ~np.any([mask.decode() for mask in scene.masks], axis=0)
        squares = np.zeros((12, *free.shape), bool)
        for square, corner in zip(squares, range(12), strict=True):
            y, x = 30 + 170 * (corner // 4), 20 + 180 * (corner % 4)
            square[y : y + 110, x : x + 110] = free[y : y + 110, x : x + 110]
        masks = [RLE.encode(square) for square in squares if square.sum() > 4000]
        features.append(encode_pictures(segmenter.clip, crops(pixels, masks, segmenter.region_encoder.cropping)))
    return torch.cat(features)


def test_one_label_is_hardly_ever_said_where_there_is_nothing(
    clip: ClipModel, objects: tuple[torch.Tensor, list[str]], background: torch.Tensor
) -> None:
    features, names = objects
    assert len(background) >= 10
    own, said, before = 0, [], []
    for name in sorted(set(names)):
        classifier = calibrated(clip, Vocabulary.of([name], general_vocabulary(clip).templates))
        said.append(classifier.probabilities(background)[:, 0])
        before.append(by_similarity(classifier).probabilities(background)[:, 0])
        rows = [index for index, other in enumerate(names) if other == name]
        own += int((classifier.probabilities(features[rows])[:, 0] > 0.5).sum())
    wrong, wrong_before = (int((torch.stack(table) > 0.5).sum()) for table in (said, before))
    assert wrong_before >= 20
    assert wrong <= wrong_before / 10
    assert torch.stack(said).max() < 0.7
    assert own >= 0.9 * len(names)


def test_absent_objects_are_told_better_than_by_one_similarity(
    clip: ClipModel, objects: tuple[torch.Tensor, list[str]]
) -> None:
    features, names = objects
    kept = sorted(set(names))[::2]
    there = torch.tensor([name in kept for name in names])
    classifier = calibrated(clip, Vocabulary.of(kept, general_vocabulary(clip).templates))
    said = [one.probabilities(features).argmax(1) == len(kept) for one in (classifier, by_similarity(classifier))]
    right = [int((unknown != there).sum()) for unknown in said]
    assert right[0] >= right[1]
    assert right[0] >= 0.9 * len(names)


def test_what_is_a_label_or_near_one_is_no_contrast(clip: ClipModel) -> None:
    names, general = general_vocabulary(clip).labels, general_features(clip)
    plain = Vocabulary.of([Label("laptop", synonyms=("hammer",), negatives=("pencil", "wrench")), "wrench"])
    contrast = negative_labels(clip, plain, general[[names.index("laptop"), names.index("wrench")]], general)
    texts = {name for name, row in zip(names, general, strict=True) if (contrast.words == row).all(1).any()}
    assert not texts & {"laptop", "wrench", "hammer"}
    assert "red apple" in texts
    assert 0.8 * len(names) < len(texts) < len(names) - 2
    assert (len(contrast.negatives), contrast.weight) == (1, WEIGHT / 2)  # a wrench is asked for


def test_a_negative_counts_as_a_label_does() -> None:
    """Beside a label of the same likeness it has half."""
    words, negatives = torch.eye(4)[:2], torch.eye(4)[2:3]
    picture = torch.tensor([[0.0, 0.0, 0.9, 0.0]])
    contrast = NegativeLabels(words, negatives, weight=1.0, least=-1.0)
    assert float(contrast.similarity(picture, 100.0)) == pytest.approx(0.9, abs=1e-4)
    assert float(NegativeLabels(words, negatives[:0], 1.0, -1.0).similarity(picture, 100.0)) == pytest.approx(
        0, abs=1e-6
    )
    assert float(NegativeLabels(words[:0], negatives[:0], 1.0, -1.0).similarity(picture, 100.0)) == -1.0


def test_negatives_take_what_would_be_a_labels(clip: ClipModel, objects: tuple[torch.Tensor, list[str]]) -> None:
    features, names = objects
    laptop = features[[names.index("laptop")]]
    templates = general_vocabulary(clip).templates
    mistaken = "desktop computer"
    without, against = (
        calibrated(clip, Vocabulary(("keyboard",), templates, negatives=words)).probabilities(laptop)[0]
        for words in ((), (mistaken, "laptop"))
    )
    assert against[1] > without[1]


def test_a_vocabulary_of_all_words_has_the_models_own_similarity(segmenter: segzs.Segmenter) -> None:
    classifier = segmenter.classifier
    assert classifier.contrast is not None
    assert (len(classifier.contrast.words), classifier.contrast.least) == (0, segmenter.clip.unknown)
    features = torch.eye(classifier.label_features.shape[1])[:1]
    expected = by_similarity(classifier).probabilities(features)
    torch.testing.assert_close(classifier.probabilities(features), expected)


def test_any_clip_has_contrast_words(tmp_path: Path) -> None:
    clip = load_clip(locate_clip(str(random_clip(tmp_path / "clip"))))
    general = encode_labels(clip, general_vocabulary(clip))
    vocabulary = Vocabulary.of("zebra crossing, cat")
    contrast = negative_labels(clip, vocabulary, encode_labels(clip, vocabulary), general)
    assert 0 < len(contrast.words) < len(general)


def test_words_like_a_labels_examples_are_no_contrast(clip: ClipModel) -> None:
    """Once a label, however often it is shown: the hundredth example leaves as much of "unknown" as the first."""
    vocabulary, general = Vocabulary.of("gizmo, gadget"), general_features(clip)
    features = encode_labels(clip, vocabulary)
    plain = negative_labels(clip, vocabulary, features, general)
    shown = negative_labels(clip, vocabulary, features, general, plain.words[:2])
    assert len(plain.words) - 10 <= len(shown.words) < len(plain.words)
    assert not (shown.words[:, None] == plain.words[:2]).all(-1).any()


def test_where_no_word_is_left_labels_must_be_similar(clip: ClipModel) -> None:
    vocabulary, general = Vocabulary.of("gizmo"), general_features(clip)
    contrast = negative_labels(clip, vocabulary, encode_labels(clip, vocabulary), general, general)
    assert (len(contrast.words), contrast.least) == (0, clip.unknown)


def test_parents_take_nothing_from_unknown(clip: ClipModel) -> None:
    flat = Vocabulary.of("cat, dog")
    tree = Vocabulary.of([Label("cat", parent="animal"), Label("dog", parent="animal")])
    weights = {
        negative_labels(clip, one, encode_labels(clip, one), general_features(clip)).weight for one in (flat, tree)
    }
    assert weights == {WEIGHT / 2}


def test_negatives_count_beside_a_fixed_similarity(clip: ClipModel, objects: tuple[torch.Tensor, list[str]]) -> None:
    features, names = objects
    laptop = features[[names.index("laptop")]]
    shares = []
    for negatives in ((), ("laptop",)):
        vocabulary = Vocabulary(("keyboard",), general_vocabulary(clip).templates, negatives=negatives)
        classifier = segzs.load(labels=vocabulary, unknown=0.0, cache=False).classifier
        shares.append(float(classifier.probabilities(laptop)[0, 1]))
    assert shares[1] > shares[0]

"""Similarities become ranked names; "unknown" can win against a single label."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segzs.checkpoints.locate import locate_clip
from segzs.clip.classifier import build_classifier, probabilities, rank
from segzs.clip.image_features import encode_images
from segzs.clip.labels import Label
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.regions import Naming
from segzs.clip.support_set import SupportSet
from segzs.clip.text_features import encode_vocabulary
from segzs.clip.vocabulary import Vocabulary
from segzs.errors import UnfamiliarWarning, UsageError

LABELS = torch.eye(8)[:3]


def feature_of(*similarities: float) -> torch.Tensor:
    """A normalised image feature with these cosine similarities to the labels."""
    feature = torch.zeros(8)
    feature[: len(similarities)] = torch.tensor(similarities)
    feature[7] = (1 - feature.square().sum()).sqrt()
    return feature[None]


def test_probabilities_without_unknown_are_a_softmax(clip: ClipModel) -> None:
    values = probabilities(feature_of(0.3, 0.2, 0.1) @ LABELS.T, clip.logit_scale)
    expected = (clip.logit_scale * torch.tensor([[0.3, 0.2, 0.1]])).softmax(1)
    torch.testing.assert_close(values, expected)
    assert values.sum() == pytest.approx(1)


@pytest.mark.parametrize("unknown", [None, 0.0, 0.25, 0.9])
def test_probabilities_sum_to_one(unknown: float | None, clip: ClipModel) -> None:
    image_features = torch.cat([feature_of(0.3, 0.2, 0.1), feature_of(0, 0, 0), feature_of(0.9, -0.2, 0)])
    values = probabilities(image_features @ LABELS.T, clip.logit_scale, unknown)
    assert values.shape == (3, 3 if unknown is None else 4)
    assert values.sum(1).tolist() == pytest.approx([1, 1, 1])
    assert values.min() >= 0


def test_unknown_can_win_against_a_single_label(clip: ClipModel) -> None:
    (far,), (near,) = (
        rank(probabilities(torch.tensor([[similarity]]), clip.logit_scale, 0.3), ["cat"]) for similarity in (0.1, 0.5)
    )
    assert [name.label for name in far] == ["unknown", "cat"]
    assert [name.label for name in near] == ["cat", "unknown"]
    assert far[0].probability > 0.5 < near[0].probability
    ((alone,),) = rank(probabilities(torch.tensor([[0.1]]), clip.logit_scale), ["cat"])
    assert (alone.label, alone.probability) == ("cat", pytest.approx(1))


def test_unknown_competes_at_its_similarity(clip: ClipModel) -> None:
    values = probabilities(feature_of(0.3, 0.2, 0.1) @ LABELS.T, clip.logit_scale, 0.2)[0]
    assert values[3] == pytest.approx(float(values[1]))


def test_names_are_ranked_by_probability() -> None:
    (names,) = rank(torch.tensor([[0.1, 0.6, 0.0, 0.3]]), ["cat", "dog", "mug"])
    assert [(name.label, round(name.probability, 3)) for name in names] == [
        ("dog", 0.6),
        ("unknown", 0.3),
        ("cat", 0.1),
        ("mug", 0.0),
    ]


def test_names_are_the_ten_most_probable() -> None:
    values = torch.rand(3, 1000, generator=torch.Generator().manual_seed(0)).softmax(1)
    labels = [f"thing {number}" for number in range(1000)]
    for names, row in zip(rank(values, labels), values, strict=True):
        assert len(names) == 10
        assert names[0].label == f"thing {row.argmax()}"
        assert names[0].probability == pytest.approx(float(row.max()))
        assert [name.probability for name in names] == sorted((n.probability for n in names), reverse=True)


def test_no_images_have_no_names(clip: ClipModel) -> None:
    assert len(encode_images(clip, [])) == 0
    assert rank(torch.zeros(0, 4), ["cat", "dog", "mug"]) == []


@pytest.mark.slow
def test_bfloat16_features_are_close_to_float32(clip: ClipModel) -> None:
    halved = load_clip(locate_clip("tiny"), dtype=torch.bfloat16)
    images = [np.random.default_rng(seed).integers(0, 255, (90, 70, 3), np.uint8) for seed in range(4)]
    ours, reference = encode_images(halved, images), encode_images(clip, images)
    assert (halved.dtype, ours.dtype) == (torch.bfloat16, torch.float32)
    assert ours.norm(dim=1).tolist() == pytest.approx([1] * 4, abs=1e-5)
    assert (ours * reference).sum(1).min() > 0.99


@pytest.mark.slow
def test_templates_are_those_of_the_naming_the_vocabulary_or_the_clip(clip: ClipModel) -> None:
    own = Vocabulary(["cat"], "one {}")
    assert build_classifier(clip, own, Naming(templates="two {}")).vocabulary.templates == ("two {}",)
    assert build_classifier(clip, own).vocabulary.templates == ("one {}",)
    assert build_classifier(clip, ["cat"]).vocabulary.templates == clip.spec.templates
    assert build_classifier(clip, naming=Naming(templates="one {}")).vocabulary.templates == ("one {}",)


def test_other_labels_keep_the_options(clip: ClipModel) -> None:
    examples = SupportSet(torch.eye(512)[:1], ("mug",), "digest")
    naming = Naming(unknown=0.25, templates="one {}")
    classifier = build_classifier(clip, ["cat"], naming, support_set=examples).with_labels(["dog", "mug"])
    assert classifier.vocabulary.labels == ("dog", "mug")
    assert classifier.vocabulary.templates == ("one {}",)
    assert (classifier.naming, classifier.support_set) == (naming, examples)
    assert classifier.negatives is not None
    assert classifier.negatives.threshold == 0.25


def test_labels_of_examples_are_added(clip: ClipModel) -> None:
    classifier = build_classifier(clip, [Label("cat", synonyms="kitten"), "dog"])
    extended = classifier.with_examples(SupportSet(torch.eye(512)[:2], ("mug", "dog"), "digest"))
    assert extended.vocabulary.entries == (*classifier.vocabulary.entries, Label("mug"))
    assert torch.equal(extended.text_features[:2], classifier.text_features)
    torch.testing.assert_close(extended.text_features, encode_vocabulary(clip, extended.vocabulary))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown weighting 'best'; choose from mean, autoclip"):
        Naming(weighting="best")
    with pytest.raises(UsageError, match="unknown is 2; a cosine similarity"):
        Naming(unknown=2)


def test_labels_with_unseen_words_give_a_warning(clip: ClipModel) -> None:
    with pytest.warns(UnfamiliarWarning, match="not trained on some words of 'theodolite of zyzzyva'"):
        build_classifier(clip, ["red apple", "theodolite of zyzzyva"])

"""Probabilities of children add up to their parent's, and uncertain children get its name."""

from __future__ import annotations

import pytest
import torch

from segzs.clip.classifier import ZeroShotClassifier
from segzs.clip.hierarchy import Hierarchy
from segzs.clip.labels import Label
from segzs.clip.model import ClipModel
from segzs.clip.negatives import negative_labels
from segzs.clip.vocabulary import Vocabulary

ANIMALS = Vocabulary([Label("cat", parent="animal"), Label("dog", parent="animal"), "mug"])  # and then "animal"


def classifier(clip: ClipModel, vocabulary: Vocabulary = ANIMALS, unknown: float | None = 0.0) -> ZeroShotClassifier:
    features = torch.eye(8)[: len(vocabulary.labels)]
    negatives = None if unknown is None else negative_labels(clip, vocabulary, features, threshold=unknown)
    return ZeroShotClassifier(clip, vocabulary, features, negatives=negatives)


def image_feature(*similarities: float) -> torch.Tensor:
    feature = torch.zeros(1, 8)
    feature[0, : len(similarities)] = torch.tensor(similarities)
    return feature


def test_a_parent_has_the_sum_of_its_children(clip: ClipModel) -> None:
    cat, dog, mug, animal, unknown = classifier(clip).probabilities(image_feature(0.3, 0.25, 0.28, 0.1))[0].tolist()
    assert animal == pytest.approx(cat + dog)
    assert cat + dog + mug + unknown == pytest.approx(1)
    assert cat > dog > 0


def test_the_parent_weights_its_leaves(clip: ClipModel) -> None:
    """The order of the children stays; the parent decides between groups."""
    low, high = (classifier(clip).probabilities(image_feature(0.3, 0.25, 0.32, animal))[0] for animal in (0.1, 0.4))
    assert low[2] > low[3]
    assert high[3] > high[2]
    logits = clip.logit_scale * torch.tensor([[0.3, 0.25, 0.32, 0.4]])
    leaf, group = logits[:, :3].softmax(1), logits[:, 2:].softmax(1)[:, [1, 1, 0]]
    expected = (leaf * group / (leaf * group).sum())[0] * (1 - high[4])
    torch.testing.assert_close(high[:3], expected)


def test_an_uncertain_leaf_gets_its_parents_name(clip: ClipModel) -> None:
    certain, uncertain = (classifier(clip).names(image_feature(0.5, dog, 0.1, 0.4))[0] for dog in (0.1, 0.49))
    assert [name.label for name in certain][:2] == ["cat", "animal"]
    assert [name.label for name in uncertain][:3] == [
        "cat",
        "animal",
        "dog",
    ]  # a share of one half is enough
    birds = Vocabulary([Label(name, parent="bird") for name in ("jay", "owl", "hen")])
    (names,) = classifier(clip, birds).names(image_feature(0.4, 0.4, 0.4, 0.4))
    assert names[0].label == "bird"
    assert {name.label for name in names[1:4]} == {"jay", "owl", "hen"}
    assert names[0].probability > 0.9


def test_unknown_can_win_against_a_tree(clip: ClipModel) -> None:
    (names,) = classifier(clip, unknown=0.5).names(image_feature(0.1, 0.1, 0.1, 0.1))
    assert names[0].label == "unknown"


def test_grandparents(clip: ClipModel) -> None:
    labels = [Label("jay", parent="bird"), Label("bird", parent="animal"), Label("cat", parent="animal")]
    vocabulary = Vocabulary(labels)
    assert vocabulary.labels == ("jay", "bird", "cat", "animal")
    assert Hierarchy.of(vocabulary).parents == (1, 3, 3, -1)
    jay, bird, cat, animal = (
        classifier(clip, vocabulary, None).probabilities(image_feature(0.3, 0.3, 0.2, 0.3))[0].tolist()
    )
    assert jay == pytest.approx(bird)
    assert animal == pytest.approx(bird + cat) == pytest.approx(1)


def test_vocabularies_without_parents_are_a_softmax(clip: ClipModel) -> None:
    flat = classifier(clip, Vocabulary(["cat", "dog", "mug", "animal"]), None)
    features = image_feature(0.3, 0.25, 0.28, 0.1)
    assert torch.equal(flat.probabilities(features), (clip.logit_scale * features[:, :4]).softmax(1))


def test_no_features_have_no_names(clip: ClipModel) -> None:
    assert classifier(clip).names(torch.zeros(0, 8)) == []

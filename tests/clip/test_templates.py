"""Templates weighted for each picture."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

import segzs
from segzs.clip.labels import Label
from segzs.clip.model import ClipModel
from segzs.clip.templates import ENTROPY, _with_entropy, autoclip, zero_shot_weights
from segzs.clip.vocabulary import Vocabulary, encode_labels, encode_sentences
from segzs.errors import SegzsError, VocabularyError


@pytest.fixture
def pictures() -> torch.Tensor:
    return normalize(torch.randn(5, 256, generator=torch.Generator().manual_seed(0)), dim=1)


def test_templates_that_agree_are_the_mean(clip: ClipModel, pictures: torch.Tensor) -> None:
    one = Vocabulary.of("cat, dog, coffee mug", "a {}")
    same = Vocabulary(one.labels, ("a {}", "a {}", "a {}"))
    for vocabulary in (one, same):
        answer = autoclip(pictures, encode_sentences(clip, vocabulary), clip.logit_scale)
        torch.testing.assert_close(answer, pictures @ encode_labels(clip, one).T, rtol=0, atol=1e-5)


def test_weights_have_the_wanted_entropy() -> None:
    gradient = torch.randn(6, 7, generator=torch.Generator().manual_seed(0)) * 1e-3
    weights = _with_entropy(gradient, ENTROPY * math.log(7))
    torch.testing.assert_close(weights.sum(1), torch.ones(6))
    torch.testing.assert_close(torch.special.entr(weights).sum(1), torch.full((6,), ENTROPY * math.log(7)))
    assert torch.equal(weights.argmax(1), gradient.argmax(1))


def test_a_template_that_tells_labels_apart_counts_more() -> None:
    """One template says the same of all labels, at a distance; the other knows them."""
    sentences = torch.eye(4)[torch.tensor([[0, 3], [1, 3]])]
    (near, far), mean = autoclip(torch.eye(4)[:1], sentences, 20.0)[0], 1 / math.sqrt(2)
    assert near > mean + 0.1
    assert far == pytest.approx(0)


def test_a_segmenter_keeps_its_weighting(pictures: torch.Tensor) -> None:
    segmenter = segzs.load("tiny", labels="cat, dog", weighting="autoclip", cache=False)
    for one in (segmenter, segmenter.with_labels("hammer, laptop")):
        plain = pictures @ one.classifier.label_features.T
        assert one.classifier.similarity(pictures).shape == plain.shape
        assert not torch.allclose(one.classifier.similarity(pictures), plain, atol=1e-4)
    with pytest.raises(VocabularyError, match="'cat' is asked for in other sentences than the rest"):
        segmenter.with_labels([Label("cat", synonyms=("kitten",)), "dog"])
    with pytest.raises(SegzsError, match="the weighting 'best' is unknown; one of mean, autoclip"):
        segzs.load("tiny", weighting="best")


def test_templates_that_tell_pictures_apart_weigh_more() -> None:
    """The first template says the same of all pictures, if loudly; the second knows which label is which."""
    sentences = torch.eye(4)[torch.tensor([[0, 1], [0, 2]])]
    pictures = normalize(torch.tensor([[1, 0.5, 0, 0], [1, 0, 0.5, 0]]), dim=1)
    weights = zero_shot_weights(pictures, sentences, 20.0)
    assert sum(weights) == pytest.approx(1)
    assert weights[1] > 0.9
    with pytest.raises(SegzsError, match="1 pictures cannot weigh templates"):
        zero_shot_weights(pictures[:1], sentences, 20.0)


def test_a_vocabulary_with_weights(clip: ClipModel) -> None:
    templates = ("a {}", "a photo of a {}")
    labels = [Label("cat", synonyms=("kitten",)), Label("dog", templates=("{}", "one {}", "my {}"))]
    plain = Vocabulary.of([*labels, "mug"], templates)
    first = Vocabulary(plain.labels, templates, plain.details, weights=(1.0, 0.0))
    alike = Vocabulary(plain.labels, templates, plain.details, weights=(0.5, 0.5))
    torch.testing.assert_close(encode_labels(clip, alike), encode_labels(clip, plain), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        encode_labels(clip, first), encode_labels(clip, Vocabulary.of(plain, "a {}")), rtol=0, atol=1e-6
    )
    assert len({plain.digest, first.digest, alike.digest}) == 3
    assert Vocabulary.of(first, templates) == plain
    for wrong in ((1.0,), (0.0, 0.0), (2.0, -1.0), ("a", "b")):
        with pytest.raises(VocabularyError, match="weigh"):
            Vocabulary(plain.labels, templates, plain.details, weights=wrong)  # type: ignore[arg-type]

"""AutoCLIP weights templates for each image."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from segzs.clip.autoclip import ENTROPY, _with_entropy, autoclip
from segzs.clip.classifier import build_classifier
from segzs.clip.labels import Label
from segzs.clip.model import ClipModel
from segzs.clip.regions import Naming
from segzs.clip.text_features import encode_templates, encode_vocabulary
from segzs.clip.vocabulary import Vocabulary
from segzs.errors import UsageError, VocabularyError


@pytest.fixture
def image_features() -> torch.Tensor:
    return normalize(torch.randn(5, 512, generator=torch.Generator().manual_seed(0)), dim=1)


def test_equal_templates_give_the_mean(clip: ClipModel, image_features: torch.Tensor) -> None:
    one = Vocabulary(["cat", "dog", "coffee mug"], "a {}")
    same = Vocabulary(one.entries, ["a {}", "a {}", "a {}"])
    for vocabulary in (one, same):
        similarity = autoclip(image_features, encode_templates(clip, vocabulary), clip.logit_scale)
        torch.testing.assert_close(similarity, image_features @ encode_vocabulary(clip, one).T, rtol=0, atol=1e-5)


def test_weights_have_the_entropy_of_the_paper() -> None:
    gradient = torch.randn(6, 7, generator=torch.Generator().manual_seed(0)) * 1e-3
    weights = _with_entropy(gradient, ENTROPY * math.log(7))
    torch.testing.assert_close(weights.sum(1), torch.ones(6))
    torch.testing.assert_close(torch.special.entr(weights).sum(1), torch.full((6,), ENTROPY * math.log(7)))
    assert torch.equal(weights.argmax(1), gradient.argmax(1))


def test_a_template_that_separates_labels_gets_a_larger_weight() -> None:
    """The features of one template are the same for all labels; those of the other differ."""
    template_features = torch.eye(4)[torch.tensor([[0, 3], [1, 3]])]
    near, far = autoclip(torch.eye(4)[:1], template_features, 20.0)[0]
    assert near > 1 / math.sqrt(2) + 0.1
    assert far == pytest.approx(0)


def test_a_classifier_keeps_its_weighting(clip: ClipModel, image_features: torch.Tensor) -> None:
    weighted = build_classifier(clip, ["cat", "dog"], Naming(weighting="autoclip"))
    for one in (weighted, weighted.with_labels(["hammer", "laptop"])):
        plain = image_features @ one.text_features.T
        assert one.similarity(image_features).shape == plain.shape
        assert not torch.allclose(one.similarity(image_features), plain, atol=1e-4)
    with pytest.raises(VocabularyError, match=r"needs the same templates for every label; .* of 'cat'"):
        weighted.with_labels([Label("cat", synonyms="kitten"), "dog"])
    with pytest.raises(UsageError, match="unknown weighting 'best'; choose from mean, autoclip"):
        Naming(weighting="best")

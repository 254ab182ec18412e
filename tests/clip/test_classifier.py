"""Similarities become ranked names, among which "unknown" can win even against a single label."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segzs.checkpoints.locate import locate_clip
from segzs.clip.classifier import encode_pictures, probabilities, rank
from segzs.clip.model import ClipModel, load_clip

LABELS = torch.eye(8)[:3]


def picture(*similarities: float) -> torch.Tensor:
    """A normalised picture with these cosine similarities to the labels."""
    feature = torch.zeros(8)
    feature[: len(similarities)] = torch.tensor(similarities)
    feature[7] = (1 - feature.square().sum()).sqrt()
    return feature[None]


def test_without_unknown_it_is_a_softmax(clip: ClipModel) -> None:
    shares = probabilities(picture(0.3, 0.2, 0.1) @ LABELS.T, clip.logit_scale)
    expected = (clip.logit_scale * torch.tensor([[0.3, 0.2, 0.1]])).softmax(1)
    torch.testing.assert_close(shares, expected)
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("unknown", [None, 0.0, 0.25, 0.9])
def test_probabilities_sum_to_one(unknown: float | None, clip: ClipModel) -> None:
    pictures = torch.cat([picture(0.3, 0.2, 0.1), picture(0, 0, 0), picture(0.9, -0.2, 0)])
    shares = probabilities(pictures @ LABELS.T, clip.logit_scale, unknown)
    assert shares.shape == (3, 3 if unknown is None else 4)
    assert shares.sum(1).tolist() == pytest.approx([1, 1, 1])
    assert shares.min() >= 0


def test_a_single_label_can_be_refused(clip: ClipModel) -> None:
    (far,), (near,) = (
        rank(probabilities(torch.tensor([[similarity]]), clip.logit_scale, 0.3), ["cat"]) for similarity in (0.1, 0.5)
    )
    assert [name.label for name in far] == ["unknown", "cat"]
    assert [name.label for name in near] == ["cat", "unknown"]
    assert far[0].probability > 0.5 < near[0].probability
    ((alone,),) = rank(probabilities(torch.tensor([[0.1]]), clip.logit_scale), ["cat"])
    assert (alone.label, alone.probability) == ("cat", pytest.approx(1))


def test_unknown_stands_at_its_similarity(clip: ClipModel) -> None:
    shares = probabilities(picture(0.3, 0.2, 0.1) @ LABELS.T, clip.logit_scale, 0.2)[0]
    assert shares[3] == pytest.approx(float(shares[1]))


def test_names_are_ranked_with_their_probabilities() -> None:
    (names,) = rank(torch.tensor([[0.1, 0.6, 0.0, 0.3]]), ["cat", "dog", "mug"])
    assert [(name.label, round(name.probability, 3)) for name in names] == [
        ("dog", 0.6),
        ("unknown", 0.3),
        ("cat", 0.1),
        ("mug", 0.0),
    ]


def test_of_many_labels_the_ten_best_are_named() -> None:
    shares = torch.rand(3, 1000, generator=torch.Generator().manual_seed(0)).softmax(1)
    labels = [f"thing {number}" for number in range(1000)]
    for names, row in zip(rank(shares, labels), shares, strict=True):
        assert len(names) == 10
        assert names[0].label == f"thing {row.argmax()}"
        assert names[0].probability == pytest.approx(float(row.max()))
        assert [name.probability for name in names] == sorted((n.probability for n in names), reverse=True)


def test_nothing_to_name(clip: ClipModel) -> None:
    assert len(encode_pictures(clip, [])) == 0
    assert rank(torch.zeros(0, 4), ["cat", "dog", "mug"]) == []


def test_bfloat16_names_as_float32(clip: ClipModel) -> None:
    halved = load_clip(locate_clip("tiny"), dtype=torch.bfloat16)
    pictures = [np.random.default_rng(seed).integers(0, 255, (90, 70, 3), np.uint8) for seed in range(4)]
    ours, theirs = encode_pictures(halved, pictures), encode_pictures(clip, pictures)
    assert (halved.dtype, ours.dtype) == (torch.bfloat16, torch.float32)
    assert ours.norm(dim=1).tolist() == pytest.approx([1] * 4, abs=1e-5)
    assert (ours * theirs).sum(1).min() > 0.99

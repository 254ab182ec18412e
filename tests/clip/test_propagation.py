"""Label propagation: against a dense solution, and what it promises about given names and odd inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.clip import propagation
from segzs.clip.propagation import ALPHA, BETWEEN, NEIGHBOURS, POWER, neighbours, propagate
from segzs.errors import SegzsError
from segzs.segments import Name

LABELS = [f"label {number:03}" for number in range(70)]


def objects(count: int = 60, kinds: int = 6) -> tuple[Tensor, list[tuple[Name, ...]]]:
    """Noisy features around a few centres, with random names."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(kinds, 16, generator=generator)
    rows = torch.arange(count) % kinds
    features = F.normalize(centres[rows] + 0.3 * torch.randn(count, 16, generator=generator), dim=1)
    values, order = torch.rand(count, len(LABELS), generator=generator).square().softmax(1).topk(5)
    pairs = zip(order.tolist(), values.tolist(), strict=True)
    return features, [tuple(Name(LABELS[i], p) for i, p in zip(*row, strict=True)) for row in pairs]


def dense(features: Tensor, names: list[tuple[Name, ...]]) -> Tensor:
    """The scores of all labels by the formulas on full matrices: float64 (N, labels)."""
    count, labels = len(names), sorted({name.label for ranked in names for name in ranked})
    centred = F.normalize(features.double() - features.double().mean(0), dim=1)
    similarity = (centred @ centred.T).fill_diagonal_(0)
    nearest = torch.zeros_like(similarity).scatter(1, similarity.topk(NEIGHBOURS).indices, 1.0)
    weight = similarity.clamp(min=0) ** POWER * torch.maximum(nearest, nearest.T)
    to_labels = torch.zeros(count, len(labels), dtype=torch.float64)
    for row, ranked in enumerate(names):
        for name in ranked:
            to_labels[row, labels.index(name.label)] = name.probability
    edges = torch.zeros(count + len(labels), count + len(labels), dtype=torch.float64)
    edges[:count, :count] = weight * BETWEEN * to_labels.sum() / weight.sum()
    edges[:count, count:], edges[count:, :count] = to_labels, to_labels.T
    degree = edges.sum(1).sqrt()
    system = torch.eye(len(edges)) - ALPHA * edges / degree[:, None] / degree
    return torch.linalg.inv(system)[:count, count:]


def test_equals_the_dense_solution() -> None:
    features, names = objects()
    scores = dense(features, names)
    values, order = (scores / scores.sum(1, keepdim=True)).topk(5)
    labels = sorted({name.label for ranked in names for name in ranked})
    for ranked, expected, row in zip(propagate(features, names), values, order.tolist(), strict=True):
        assert [name.label for name in ranked] == [labels[i] for i in row]
        assert [name.probability for name in ranked] == pytest.approx(expected.tolist(), abs=1e-3)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _ = objects()
    whole = neighbours(features)
    monkeypatch.setattr(propagation, "SIMILARITIES", 7 * len(features))
    blocks = neighbours(features)
    assert torch.equal(whole.indices(), blocks.indices())
    torch.testing.assert_close(whole.values(), blocks.values())


def test_given_names_stay_and_pull_their_neighbours() -> None:
    features, _ = objects(kinds=2)
    names = [(Name("cup", 0.6), Name("bowl", 0.3), Name("vase", 0.1))] * len(features)
    names[0] = (Name("vase", 1.0),)
    refined = propagate(features, names, given=[0])
    assert refined[0] == (Name("vase", 1.0),)
    share = [{name.label: name.probability for name in ranked}.get("vase", 0) for ranked in refined]
    assert min(share[2::2]) > max(share[1::2])


def test_label_that_only_a_person_gave_reaches_neighbours() -> None:
    features, _ = objects(kinds=2)
    names = [(Name("cup", 0.6), Name("bowl", 0.4))] * len(features)
    names[0] = (Name("teapot", 1.0),)
    refined = propagate(features, names, given=[0])
    assert sum(any(name.label == "teapot" for name in ranked) for ranked in refined[2::2]) > 20


def test_objects_without_features_or_names_keep_theirs() -> None:
    features, names = objects()
    features[3] = 0
    names[4] = ()
    refined = propagate(features, names)
    assert refined[3][0].label == names[3][0].label
    assert refined[4] == ()


def test_features_and_names_must_be_of_the_same_objects() -> None:
    features, names = objects()
    with pytest.raises(SegzsError, match="60 features for the names of 59 objects"):
        propagate(features, names[1:])


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_objects(count: int) -> None:
    names = [(Name("cup", 0.6), Name("bowl", 0.4))] * count
    refined = propagate(F.normalize(torch.ones(count, 4), dim=1), names)
    assert [ranked[0].label for ranked in refined] == ["cup"] * count

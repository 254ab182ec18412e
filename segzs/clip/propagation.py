"""Label propagation: names spread among objects that look alike.

"Label propagation for zero-shot classification with vision-language models" (Stojnić, Kalantidis & Tolias 2024,
https://arxiv.org/abs/2404.04072): objects and labels are the nodes of a graph, and each label's score of an object is
the solution of a linear system on it. Unlike the paper, the weight of an object's edge to a label is the probability of
that name instead of a power of the cosine similarity, because that also covers "unknown", parents and examples.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.errors import SegzsError
from segzs.segments import Name

NEIGHBOURS = 5
POWER = 3
"""Of the cosine similarity of two objects, in the weight of their edge."""
BETWEEN = 4.0
"""The weight of all edges between objects, as a multiple of that of all edges to labels."""
ALPHA = 0.95
"""The share of a score that comes through edges. The four were chosen on objects of `benchmarks.quality.names`."""
TOP = 5
LABELS = 64
"""Labels that are solved at once."""
ITERATIONS = 100
TOLERANCE = 1e-4
SIMILARITIES = 2**25
"""Cosine similarities that are in memory at once."""


@torch.inference_mode()
def propagate(
    image_features: Tensor, names: Sequence[Sequence[Name]], given: Collection[int] = ()
) -> list[tuple[Name, ...]]:
    """The five most probable names of objects after each has taken those of its neighbours into account.

    A label that many objects got counts less for each of them. Memory grows with the number of objects, not with its
    square.

    Args:
        image_features: float32 (N, width), normalised; zero for objects without neighbours.
        names: of each object, with probabilities, as `ZeroShotClassifier.names` returns them.
        given: the objects whose first name a person gave. They keep their names, and their neighbours get them more.

    Raises:
        SegzsError: there are more or fewer features than objects with names.

    >>> cup, bowl = (Name("cup", 0.9), Name("bowl", 0.1)), (Name("bowl", 0.9), Name("cup", 0.1))
    >>> unsure = (Name("bowl", 0.55), Name("cup", 0.45))
    >>> features = F.normalize(torch.tensor([[1, 0.1], [1, 0.2], [1, 0.3], [-1, 0.1], [-1, 0.2]]), dim=1)
    >>> [ranked[0].label for ranked in propagate(features, [cup, unsure, cup, bowl, bowl])]
    ['cup', 'cup', 'cup', 'bowl', 'bowl']
    """
    labels = sorted({name.label for ranked in names for name in ranked})
    count, fixed = len(names), set(given)
    if len(image_features) != count:
        raise SegzsError(f"{len(image_features)} features for the names of {count} objects; give one for each")
    if not labels:
        return [tuple(ranked) for ranked in names]
    edges = _graph(neighbours(image_features), _to_labels(names, labels, fixed), count, len(labels))
    columns = {label: column for column, label in enumerate(labels)}
    sources = torch.tensor([(row, columns[names[row][0].label]) for row in sorted(fixed)], dtype=torch.long).reshape(
        -1, 2
    )
    best, order, total = torch.zeros(count, 0), torch.zeros(count, 0, dtype=torch.long), torch.zeros(count, 1)
    for start in range(0, len(labels), LABELS):
        block = torch.arange(start, min(start + LABELS, len(labels)))
        source = torch.zeros(count + len(labels), len(block))
        source[count + block, block - start] = 1
        inside = sources[(sources[:, 1] >= start) & (sources[:, 1] <= block[-1])]
        source[inside[:, 0], inside[:, 1] - start] = 1
        scores = _solve(edges, source)[:count].clamp(min=0)
        total += scores.sum(1, keepdim=True)
        best, kept = torch.cat([best, scores], 1).topk(min(TOP, best.shape[1] + len(block)), dim=1)
        order = torch.cat([order, block.expand(count, -1)], 1).gather(1, kept)
    shares = (best / total.clamp(min=1e-12)).tolist()
    return [
        tuple(names[row])
        if row in fixed or not names[row]
        else tuple(Name(labels[i], share) for i, share in zip(order[row].tolist(), shares[row], strict=True) if share)
        for row in range(count)
    ]


def neighbours(image_features: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """The weights of edges between each object and those most similar to it: a symmetric sparse matrix (N, N).

    Similar are those whose features point in the same direction from the mean feature.
    """
    rows = len(image_features)
    empty = ~image_features.any(1)
    centred = image_features - image_features[~empty].mean(0) if not empty.all() else image_features
    centred = F.normalize(centred.masked_fill(empty[:, None], 0), dim=1)
    pairs, weights = [], []
    step = max(1, SIMILARITIES // max(rows, 1))
    for start in range(0, rows, step):
        block = torch.arange(start, min(start + step, rows))
        similarity = centred[block] @ centred.T
        similarity[block - start, block] = 0
        similarity, nearest = similarity.topk(min(count, rows), dim=1)
        ends = torch.stack([block[:, None].expand_as(nearest), nearest], -1).flatten(0, 1)
        positive = similarity.flatten() > 0
        pairs.append(ends[positive].sort(1).values)
        weights.append(similarity.flatten()[positive] ** POWER)
    ends, index = torch.unique(torch.cat([torch.zeros(0, 2, dtype=torch.long), *pairs]), dim=0, return_inverse=True)
    weight = torch.zeros(len(ends)).scatter_reduce(0, index, torch.cat([torch.zeros(0), *weights]), "amax")
    both = torch.cat([ends, ends.flip(1)]).T
    return torch.sparse_coo_tensor(both, weight.repeat(2), (rows, rows), check_invariants=True).coalesce()


def _to_labels(names: Sequence[Sequence[Name]], labels: Sequence[str], fixed: Collection[int]) -> Tensor:
    """The edges from objects to labels, as rows (object, label, probability) in float64."""
    columns = {label: column for column, label in enumerate(labels)}
    rows = [
        (row, columns[name.label], 1.0 if row in fixed else name.probability)
        for row, ranked in enumerate(names)
        for name in (ranked[:1] if row in fixed else ranked[:TOP])
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)


def _graph(objects: Tensor, to_labels: Tensor, count: int, labels: int) -> Tensor:
    """The normalised weights of all edges: sparse (objects + labels, objects + labels)."""
    row, column, probability = to_labels.T
    row, column, probability = row.long(), column.long() + count, probability.float()
    weight = objects.values() * (BETWEEN * probability.sum() / objects.values().sum().clamp(min=1e-12))
    ends = torch.cat([objects.indices(), torch.stack([row, column]), torch.stack([column, row])], 1)
    weights = torch.cat([weight, probability, probability])
    degree = torch.zeros(count + labels).index_add(0, ends[0], weights).clamp(min=1e-12)
    weights = weights / (degree[ends[0]] * degree[ends[1]]).sqrt()
    return torch.sparse_coo_tensor(ends, weights, (count + labels,) * 2, check_invariants=True).coalesce()


def _solve(edges: Tensor, source: Tensor) -> Tensor:
    """The solution of (1 - `ALPHA` edges) x = source for each column, by conjugate gradients."""
    solution = source.clone()
    residual = ALPHA * torch.sparse.mm(edges, source)
    direction, power = residual.clone(), residual.square().sum(0)
    limit = TOLERANCE**2 * source.square().sum(0)
    for _ in range(ITERATIONS):
        if (power <= limit).all():
            break
        image = direction - ALPHA * torch.sparse.mm(edges, direction)
        step = power / (direction * image).sum(0).clamp(min=1e-30)
        solution += step * direction
        residual -= step * image
        power, before = residual.square().sum(0), power
        direction = residual + power / before.clamp(min=1e-30) * direction
    return solution

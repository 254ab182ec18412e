"""What the tiny CLIP's image tower learns from named images: a correction for photographs, drawings, and the gate.

All of it works on features of frozen trunks, so that it takes minutes.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from training.joint import DRAWN, SEEN, Classes
from training.pictures import Views
from training.words import Words

STEPS, BATCH, RATE, DECAY = 600, 256, 3e-3, 1.0
SCALE, SMOOTHING = 20.0, 0.05
BALANCE, MOST = 0.5, 40
"""A name with n photographs is drawn as often as the square root of n says, of at most forty."""
STAY, STAY_TEXT = 2.0, 0.3
"""How much it costs to move images, and names, away from where they were untrained."""
RELATED, SAME = 0.75, 0.9
"""Names so near in WordNet's tree are no mistakes for each other: dogs and their breeds, words of one meaning."""
IMAGINED, IMAGINED_WEIGHT = 128, 0.5
IMAGINED_LENGTH = 25.0
GATE_DECAY = 3e-3


@dataclass(frozen=True, eq=False)
class Photographs:
    """The trained correction (channels, 384) of image features, and the shifts (M, 384) of the names' targets."""

    names: tuple[str, ...]
    correction: Tensor = field(repr=False)
    shifts: Tensor = field(repr=False)


def mixed(views: dict[str, Tensor]) -> Tensor:
    """The views of one thing, and the means that naming by "both" makes of them: (views, channels)."""
    seen = [views[kind].float() for kind in ("keep", "grey", "dense") if kind in views]
    if len(seen) == 3:
        keep, grey, dense = seen
        seen += [(keep + grey + dense) / 3, (grey + dense) / 2, (grey + dense) / 2]
    return torch.stack(seen)


def train_photographs(classes: Classes, views: Views, words: Words, steps: int = STEPS, seed: int = 0) -> Photographs:
    """Train on photographs of the names in ``words``, the 1,000 classes beside them.

    A photograph shall be nearest to its name among all names and classes that are no relatives of it. Images that are
    imagined from the rows of the classifier keep the classes where they are.
    """
    rng = random.Random(seed)
    torch.manual_seed(seed)
    row_of = {name: row for row, name in enumerate(words.names)}
    positions: dict[str, list[range]] = defaultdict(list)
    stacked: list[Tensor] = []
    total = 0
    for name, each in zip(views.names, views.features, strict=True):
        if name in row_of:
            stacked.append(mixed(each))
            positions[name].append(range(total, total + len(stacked[-1])))
            total += len(stacked[-1])
    means = torch.cat(stacked)
    anchors, spread = classes.features(means), _scaled(classes, means)
    names = list(positions)
    weights = [min(len(positions[name]), MOST) ** BALANCE for name in names]
    start = classes.targets(words)
    own = classes.own_targets
    relatives = _relatives(words, classes.anchors)
    correction = torch.zeros(means.shape[1], SEEN, requires_grad=True)
    shifts = torch.zeros(len(words.names), SEEN, requires_grad=True)
    optimiser = torch.optim.AdamW([correction, shifts], lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        drawn = rng.choices(names, weights, k=BATCH)
        rows = [rng.choice(rng.choice(positions[name])) for name in drawn]
        right = torch.tensor([row_of[name] for name in drawn])
        targets = F.normalize(torch.cat([start + shifts, own]), dim=-1)
        features = F.normalize(anchors[rows] + spread[rows] @ correction, dim=-1)
        loss = _apart(features, targets, right, relatives[right])
        loss = loss + STAY * (1 - (features * anchors[rows]).sum(1)).mean()
        loss = loss + STAY_TEXT * (1 - (targets[: len(start)] * start).sum(1)).mean()
        chosen = torch.randint(len(own), (IMAGINED,))
        imagined = _imagined(classes, means, chosen)
        features = F.normalize(classes.features(imagined) + _scaled(classes, imagined) @ correction, dim=-1)
        theirs = F.pad(relatives[:, len(start) :].T[chosen], (0, len(own)))
        loss = loss + IMAGINED_WEIGHT * _apart(features, targets, len(start) + chosen, theirs)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    size = means.std(0).mean() * means.shape[1] ** 0.5
    return Photographs(words.names, (correction / size).detach(), shifts.detach())


def _apart(features: Tensor, targets: Tensor, right: Tensor, ignored: Tensor) -> Tensor:
    """Cross-entropy of features with their targets among all that are not ignored."""
    logits = (SCALE * features @ targets.T).masked_fill(ignored, -100.0)
    smooth = (SCALE * features @ targets.T - logits.logsumexp(1, keepdim=True)).masked_fill(ignored, 0).mean(1)
    return (1 - SMOOTHING) * F.cross_entropy(logits, right) - SMOOTHING * smooth.mean()


def _scaled(classes: Classes, means: Tensor) -> Tensor:
    return (means - classes.usual) / (means.std(0).mean() * means.shape[1] ** 0.5)


def _imagined(classes: Classes, means: Tensor, chosen: Tensor) -> Tensor:
    """Features as images of classes may have them: along their rows, with noise."""
    length = IMAGINED_LENGTH * (0.7 + 0.6 * torch.rand(len(chosen), 1))
    noise = 0.3 * means.std(0).mean() * torch.randn(len(chosen), means.shape[1])
    return classes.usual + classes.rows[chosen] * length + noise


def _relatives(words: Words, anchors: Words) -> Tensor:
    """Which names (N, N + classes) are too near to be mistakes for one another."""
    among = torch.from_numpy((words.tree @ words.tree.T).toarray()) > SAME
    among.fill_diagonal_(False)
    return torch.cat([among, torch.from_numpy((words.tree @ anchors.tree.T).toarray()) > RELATED], 1)


@dataclass(frozen=True, eq=False)
class Gate:
    """Where a mean of EfficientNet-Lite's map is of a drawing: the sigmoid of weight @ mean + bias."""

    weight: Tensor
    bias: Tensor


def train_gate(photographs: Tensor, drawings: Tensor) -> Gate:
    """Logistic regression on means (N, channels) of photographs, of objects and textures alike, and of drawings."""
    seen = torch.cat([photographs, drawings]).float()
    right = torch.cat([torch.zeros(len(photographs)), torch.ones(len(drawings))])
    weights = torch.where(right > 0, len(photographs) / len(drawings), 1.0)
    centre, size = seen.mean(0), seen.std(0).mean()
    scaled = (seen - centre) / size
    weight, bias = torch.zeros(seen.shape[1], requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        wrong = F.binary_cross_entropy_with_logits(scaled @ weight + bias, right, weights)
        total = wrong + GATE_DECAY * weight.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    return Gate((weight / size).detach(), (bias - (centre / size) @ weight).detach())


def drawing_prototypes(features: Tensor, concepts: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
    """Where drawings of each concept lie (count, 128), and the basis (channels, 128) of these coordinates.

    The direction that all drawings share is left out: it tells no concepts apart, and is most of a text's target.
    """
    unit = F.normalize(features.float(), dim=-1)
    means = torch.zeros(count, unit.shape[1]).index_add_(0, torch.tensor(concepts), unit)
    means = F.normalize(means, dim=-1)
    shared = F.normalize(means.mean(0), dim=0)
    means = means - (means @ shared)[:, None] * shared
    basis = torch.linalg.svd(means, full_matrices=False)[2][:DRAWN].T
    return F.normalize(means @ basis, dim=-1), basis

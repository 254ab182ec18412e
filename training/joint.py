"""The joint space of the tiny CLIP, in which names are targets: what a photograph's classes mean, and drawings.

A target has three parts. The first, 256 wide, is where the rows of ImageNet's classifier would lie for a name, by
kernel ridge regression from what MiniLM and WordNet say of the 1,000 classes; the second, 128 wide, are the principal
components of MiniLM itself; the third, 128 wide, is where drawings of that name lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from scipy.sparse import vstack
from torch import Tensor, nn
from torch.nn import functional as F

from training.pretrained import imagenet_synsets
from training.words import Lexicon, Words

DIRECT, MEANING, DRAWN = 256, 128, 128
SEEN = DIRECT + MEANING
RIDGE = 0.1
DRAWN_WEIGHT = 0.6
"""The length of a target's third part; the first two have the rest of its length of 1."""


def kernel_ridge(names: Words, anchors: Words, values: Tensor, strength: float = RIDGE) -> Tensor:
    """Values (M, ...) that anchors have, carried over to names like them: (N, ...)."""
    among = anchors.kernel(anchors)
    return names.kernel(anchors) @ torch.linalg.solve(among + strength * torch.eye(len(among)), values)


@dataclass(frozen=True, eq=False)
class Classes:
    """ImageNet's classes in the joint space, and the maps there from the mean of EfficientNet-Lite's last map.

    ``usual`` is the mean that the last batch norm expects of an image, the origin of the first part.
    """

    trunk: nn.Module = field(repr=False)
    lexicon: Lexicon = field(repr=False)

    @cached_property
    def anchors(self) -> Words:
        return self.lexicon.of_synsets(imagenet_synsets())

    @cached_property
    def usual(self) -> Tensor:
        norm = self.trunk.bn2
        noise = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
        return (norm.bias + norm.weight.abs() * noise).clamp(0, 6).mean(0)

    @cached_property
    def rows(self) -> Tensor:
        rows = self.trunk.classifier.weight
        return F.normalize(rows - rows.mean(0), dim=-1)

    @cached_property
    def direct(self) -> Tensor:
        """The projection of the first part: (channels, 256)."""
        return torch.linalg.svd(self.rows, full_matrices=False)[2][:DIRECT].T

    @cached_property
    def _sentences(self) -> tuple[Tensor, Tensor]:
        mean = self.anchors.sentence.mean(0)
        return mean, torch.linalg.svd(self.anchors.sentence - mean, full_matrices=False)[2][:MEANING].T

    def meaning_of(self, words: Words) -> Tensor:
        """The second part of names: (N, 128)."""
        mean, basis = self._sentences
        return F.normalize((words.sentence - mean) @ basis, dim=-1)

    def targets(self, words: Words) -> Tensor:
        """The first two parts of names, as nobody saw a photograph of them: unit rows (N, 384)."""
        first = F.normalize(kernel_ridge(words, self.anchors, self.rows) @ self.direct, dim=-1)
        return torch.cat([first, self.meaning_of(words)], 1) / 2**0.5

    @cached_property
    def own_targets(self) -> Tensor:
        """Those of the 1,000 classes themselves: (1000, 384)."""
        return torch.cat([F.normalize(self.rows @ self.direct, dim=-1), self.meaning_of(self.anchors)], 1) / 2**0.5

    def features(self, means: Tensor) -> Tensor:
        """Image features of means (N, channels) without any training: (N, 384)."""
        probable = self.trunk.classifier(means).softmax(-1)
        first = F.normalize((means - self.usual) @ self.direct, dim=-1)
        return torch.cat([first, F.normalize(probable @ self.meaning_of(self.anchors), dim=-1)], 1) / 2**0.5


def joined(one: Words, other: Words) -> Words:
    """The names of both."""
    tree = vstack([one.tree, other.tree]).tocsr()
    return Words(one.names + other.names, torch.cat([one.sentence, other.sentence]), tree)


@dataclass(frozen=True, eq=False)
class Targets:
    """Where every name belongs, after training.

    ``shifts`` (M, 384) say how far photographs moved the ``photographed`` names away from `Classes.targets`, and the
    classes not at all; ``drawings`` (K, 128) are where drawings of the ``drawn`` names lie. Names like these follow.
    """

    classes: Classes
    photographed: Words
    shifts: Tensor
    drawn: Words
    drawings: Tensor

    def of(self, words: Words, batch: int = 4096) -> Tensor:
        """Unit rows (N, 512)."""
        content = joined(self.classes.anchors, self.photographed)
        shifts = torch.cat([torch.zeros(len(self.classes.anchors.names), SEEN), self.shifts])
        solved = [
            (each.kernel(each) + RIDGE * torch.eye(len(each.names)), values)
            for each, values in ((content, shifts), (self.drawn, self.drawings))
        ]
        by_photographs, by_drawings = (torch.linalg.solve(among, values) for among, values in solved)
        result = []
        for start in range(0, len(words.names), batch):
            part = words.rows(range(start, min(start + batch, len(words.names))))
            seen = F.normalize(self.classes.targets(part) + part.kernel(content) @ by_photographs, dim=-1)
            drawn = F.normalize(part.kernel(self.drawn) @ by_drawings, dim=-1)
            result.append(torch.cat([(1 - DRAWN_WEIGHT**2) ** 0.5 * seen, DRAWN_WEIGHT * drawn], 1))
        targets = torch.cat(result)
        return self._exact(words.names, targets)

    def _exact(self, names: Sequence[str], targets: Tensor) -> Tensor:
        """Names that were drawn are where their drawings lie, not where those like them do."""
        row_of = {name: row for row, name in enumerate(self.drawn.names)}
        for row, name in enumerate(names):
            if name in row_of:
                targets[row, SEEN:] = DRAWN_WEIGHT * F.normalize(self.drawings[row_of[name]], dim=-1)
        return targets

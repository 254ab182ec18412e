"""Labels above labels: what their children have in common rolls up, what is sure drills down."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from segzs.clip.vocabulary import Vocabulary

SURE = 0.5


@dataclass(frozen=True)
class Hierarchy:
    """The tree of a vocabulary: of each label the row of its parent, -1 where it has none.

    >>> from segzs.clip.labels import Label
    >>> Hierarchy.of(Vocabulary.of([Label("cat", parent="animal"), "mug"])).parents
    (2, -1, -1)
    """

    parents: tuple[int, ...]

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Hierarchy:
        """The tree that the labels' parents make."""
        row = {name: index for index, name in enumerate(vocabulary.labels)}
        above = {label.name: row[label.parent] for label in vocabulary.details if label.parent}
        return cls(tuple(above.get(name, -1) for name in vocabulary.labels))

    @property
    def is_flat(self) -> bool:
        """Whether no label has a parent."""
        return max(self.parents) < 0

    @property
    def inner(self) -> list[int]:
        """The labels that have children."""
        return sorted(set(self.parents) - {-1})

    def roll_up(self, logits: Tensor, shares: Tensor) -> Tensor:
        """Probabilities in which a parent has the sum of its children.

        What is not "unknown" is divided among the leaves, labels without children: a leaf's share is its softmax among
        leaves times the softmax of its parent (of itself, where it has none) among parents, as in "CHiLS: zero-shot
        image classification with hierarchical label sets" (Novack et al. 2023). Leaves and "unknown" add up to 1.

        Args:
            logits: scaled similarities, float32 (N, labels).
            shares: the flat probabilities, float32 (N, labels), or (N, labels + 1) with "unknown" last.

        Returns:
            Of the shape of ``shares``.
        """
        count = len(self.parents)
        leaves = [row for row in range(count) if row not in self.parents]
        groups = [row if self.parents[row] < 0 else self.parents[row] for row in leaves]
        among, place = torch.tensor(groups).unique(return_inverse=True)
        of_group = logits[:, among].log_softmax(1)[:, place]
        of_leaf = (logits[:, leaves].log_softmax(1) + of_group).softmax(1) * shares[:, :count].sum(1, keepdim=True)
        rolled = shares.clone()
        rolled[:, :count] = of_leaf @ self._lines(leaves).to(of_leaf)
        return rolled

    def choose(self, shares: Tensor) -> list[int]:
        """Which column names each row of `roll_up`'s answer: the best at the top, then down while one child is sure.

        A child is sure when it has at least half of its parent's share.
        """
        tops = [row for row, parent in enumerate(self.parents) if parent < 0]
        tops += range(len(self.parents), shares.shape[1])
        children = {parent: [r for r, p in enumerate(self.parents) if p == parent] for parent in set(self.parents)}
        chosen = []
        for row in shares.tolist():
            best = max(tops, key=row.__getitem__)
            while below := children.get(best):
                child = max(below, key=row.__getitem__)
                if row[child] < SURE * row[best]:
                    break
                best = child
            chosen.append(best)
        return chosen

    def _lines(self, leaves: list[int]) -> Tensor:
        """Bool (leaves, labels): which labels are a leaf or above it."""
        table = torch.zeros(len(leaves), len(self.parents), dtype=torch.bool)
        for index, row in enumerate(leaves):
            while row >= 0:
                table[index, row] = True
                row = self.parents[row]
        return table

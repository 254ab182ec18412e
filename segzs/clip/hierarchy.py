"""Label hierarchy: the probabilities of children add up to their parent's, and uncertain children get its name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from segzs.clip.vocabulary import Vocabulary

MIN_SHARE = 0.5
"""A child names an object if it has at least this share of its parent's probability."""


@dataclass(frozen=True)
class Hierarchy:
    """The tree of a vocabulary: for each label the index of its parent, or -1.

    >>> from segzs.clip.labels import Label
    >>> Hierarchy.of(Vocabulary([Label("cat", parent="animal"), "mug"])).parents
    (2, -1, -1)
    """

    parents: tuple[int, ...]

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Hierarchy:
        """The tree that the labels' parents make."""
        index = {name: i for i, name in enumerate(vocabulary.labels)}
        return cls(tuple(index.get(vocabulary.parents.get(name, ""), -1) for name in vocabulary.labels))

    @property
    def is_flat(self) -> bool:
        """Whether no label has a parent."""
        return max(self.parents) < 0

    @property
    def inner(self) -> list[int]:
        """The labels that have children."""
        return sorted(set(self.parents) - {-1})

    def roll_up(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Probabilities in which each parent has the sum of its children.

        The probability that is not of "unknown" is divided among the leaves, which are labels without children. A leaf
        gets its softmax among leaves, multiplied by the softmax of its parent among parents (a leaf without a parent is
        its own), as in "CHiLS: zero-shot image classification with hierarchical label sets" (Novack et al. 2023).
        Leaves and "unknown" add up to 1. ``logits`` (N, labels) are scaled similarities; the flat ``probabilities``
        are (N, labels), or (N, labels + 1) with "unknown" last, as is the result.
        """
        count = len(self.parents)
        leaves = [i for i in range(count) if i not in self.parents]
        parents = [i if self.parents[i] < 0 else self.parents[i] for i in leaves]
        groups, group_of_leaf = torch.tensor(parents).unique(return_inverse=True)
        log_group = logits[:, groups].log_softmax(1)[:, group_of_leaf]
        total = probabilities[:, :count].sum(1, keepdim=True)
        of_leaf = (logits[:, leaves].log_softmax(1) + log_group).softmax(1) * total
        rolled = probabilities.clone()
        rolled[:, :count] = of_leaf @ self._ancestors(leaves).to(of_leaf)
        return rolled

    def choose(self, probabilities: Tensor) -> list[int]:
        """The column that names each row of what `roll_up` returns.

        It is the most probable label without a parent, or "unknown"; then the most probable child, as long as that has
        at least half of its parent's probability.
        """
        tops = [i for i, parent in enumerate(self.parents) if parent < 0]
        tops += range(len(self.parents), probabilities.shape[1])
        children = {parent: [i for i, p in enumerate(self.parents) if p == parent] for parent in self.inner}
        chosen = []
        for row in probabilities.tolist():
            best = max(tops, key=row.__getitem__)
            while best in children:
                child = max(children[best], key=row.__getitem__)
                if row[child] < MIN_SHARE * row[best]:
                    break
                best = child
            chosen.append(best)
        return chosen

    def _ancestors(self, leaves: list[int]) -> Tensor:
        """Bool (leaves, labels): whether a label is a leaf itself or above it."""
        table = torch.zeros(len(leaves), len(self.parents), dtype=torch.bool)
        for row, label in enumerate(leaves):
            while label >= 0:
                table[row, label] = True
                label = self.parents[label]
        return table

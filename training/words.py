"""English nouns as vectors: what MiniLM and WordNet's tree say of them, and how alike two of them are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from training.pretrained import MiniLM, WordNet

CONCRETE = {3, 5, 6, 8, 11, 13, 14, 15, 17, 18, 19, 20, 25, 27}
"""WordNet's files of what can be seen, such as animals, artifacts and food, and of what is above these."""
SENTENCE_SHARE = 0.5
"""Of MiniLM in the kernel."""

_LINES = (Path(__file__).parent / "meant.txt").read_text().splitlines()
MEANT = dict(line.split(": ") for line in _LINES)
"""Words newer than WordNet, and those of which it knows another sense better: what they mean in its words."""


@dataclass(frozen=True, eq=False)
class Words:
    """Names, their MiniLM features (N, 384), and their WordNet ancestors (N, ancestors): unit rows or zero."""

    names: tuple[str, ...]
    sentence: Tensor = field(repr=False)
    tree: csr_matrix = field(repr=False)

    def kernel(self, others: Words) -> Tensor:
        """How alike names are: float32 (N, M)."""
        tree = torch.from_numpy((self.tree @ others.tree.T).toarray()).float()
        return SENTENCE_SHARE * self.sentence @ others.sentence.T + tree

    def rows(self, chosen: Sequence[int]) -> Words:
        index = list(chosen)
        return Words(tuple(self.names[i] for i in index), self.sentence[index], self.tree[index])


class Lexicon:
    """Makes `Words` of names and of synsets."""

    def __init__(self, inputs: Path) -> None:
        self.wordnet, self.minilm = WordNet(inputs), MiniLM(inputs)
        self.columns = {offset: column for column, offset in enumerate(self.wordnet.synsets)}
        under = np.zeros(len(self.columns))
        above = {offset: self.wordnet.above(offset) for offset in self.columns}
        for parents in above.values():
            for parent in parents:
                under[self.columns[parent]] += 1
        weight = 1 - np.log(under) / math.log(len(under))
        self._places = {}
        for offset, parents in above.items():
            columns = np.array([self.columns[parent] for parent in sorted(parents)])
            self._places[offset] = columns, weight[columns] / max(np.linalg.norm(weight[columns]), 1e-9)
        self.above = above

    def of_synsets(self, offsets: Sequence[int]) -> Words:
        """Synsets; MiniLM's features are the mean over their names."""
        names = [self.wordnet.synsets[offset].names for offset in offsets]
        features = self.minilm([name for each in names for name in each]).split([len(each) for each in names])
        sentence = torch.nn.functional.normalize(torch.stack([each.mean(0) for each in features]), dim=-1)
        return Words(tuple(each[0] for each in names), sentence, self._tree([{offset: 1.0} for offset in offsets]))

    def of_names(self, names: Sequence[str], sentence: Tensor | None = None) -> Words:
        """Names by their visible senses; names that WordNet lacks, by those of their last words or of what is alike."""
        sentence = self.minilm(names) if sentence is None else sentence
        senses = [self.senses(name) for name in names]
        return Words(tuple(names), sentence, self._tree(senses))

    def visible(self, offset: int) -> bool:
        """Whether a synset is of things that can be seen, and no person or place with a name of its own."""
        synset = self.wordnet.synsets[offset]
        return synset.kind in CONCRETE and not synset.single

    def senses(self, name: str) -> dict[int, float]:
        """The visible senses of a name, the frequent ones heavier; of "red cars", those of "car"."""
        name = name.lower()
        words = MEANT.get(name, name).split()
        for start in range(len(words)):
            for lemma in singulars(" ".join(words[start:])):
                if offsets := self.wordnet.senses.get(lemma):
                    seen = [offset for offset in offsets if self.visible(offset)] or offsets
                    weights = [1 / (rank + 1) ** 2 for rank in range(len(seen[:4]))]
                    return {o: w / sum(weights) for o, w in zip(seen, weights, strict=False)}
        return {}

    def _tree(self, senses: Iterable[dict[int, float]]) -> csr_matrix:
        rows, columns, values = [], [], []
        count = 0
        for row, weights in enumerate(senses):
            count = row + 1
            for offset, weight in weights.items():
                where, value = self._places[offset]
                rows.append(np.full(len(where), row))
                columns.append(where)
                values.append(weight * value)
        shape = count, len(self.columns)
        if not rows:
            return csr_matrix(shape, dtype=np.float32)
        matrix = csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape)
        length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
        scale = csr_matrix((1 / np.maximum(length, 1e-9), (range(count), range(count))), (count, count))
        return (scale @ matrix).astype(np.float32).tocsr()


def singulars(name: str) -> list[str]:
    """A name and what it may be the plural of."""
    result = [name]
    for ending, instead in (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", "")):
        if name.endswith(ending) and len(name) > len(ending) + 2:
            result.append(name.removesuffix(ending) + instead)
    if name.endswith("men"):
        result.append(name.removesuffix("men") + "man")
    return result


def plural(name: str) -> str:
    """The regular plural of a name."""
    if re.search(r"(s|x|z|ch|sh)$", name):
        return name + "es"
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    if name.endswith("man"):
        return name[:-2] + "en"
    return name + "s"

"""What the tiny CLIP reads: the labels of every concept, the templates around them, and their tokens."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES, SimpleTokenizer
from torch import Tensor

from training.packs import Concept

TEMPLATES = (
    "{}",
    "a {}",
    "a photo of a {}",
    "a photo of a {}.",
    "a photo of {}",
    "a picture of a {}",
    "a picture of {}",
    "an image of a {}",
    "an icon of a {}",
    "an emoji of a {}",
    "a drawing of {}",
    "a drawing of a {}",
    "a drawing of a {}.",
    "clip art of a {}",
)
EVALUATION_TEMPLATES = ("{}", "a photo of a {}.", "an icon of a {}", "a drawing of a {}")
Template = str | Callable[[str], str]
BARE_SHARE = 0.35
OPEN_CLIP_SHARE = 0.25
KIND_SHARES = {"name": 0.65, "keyword": 0.28, "subgroup": 0.05, "group": 0.02}
RELEVANCE = {"name": 1.0, "keyword": 0.5, "subgroup": 0.2, "group": 0.1}
HOMONYM_RELEVANCE = 0.03


@dataclass(frozen=True)
class Text:
    """A filled template and the index of the label inside it."""

    words: str
    label: int


class Labels:
    """Every name, keyword, subgroup and group, and how much each says about each concept."""

    def __init__(self, concepts: tuple[Concept, ...]) -> None:
        self.concepts = concepts
        by_kind = {
            "name": [{concept.name} for concept in concepts],
            "keyword": [set(concept.keywords) for concept in concepts],
            "subgroup": [{concept.subgroup.replace("-", " ")} for concept in concepts],
            "group": [{concept.group} for concept in concepts],
        }
        self.names = [concept.name for concept in concepts]
        distinct = {label for owned in by_kind.values() for labels in owned for label in labels}
        self.labels = self.names + sorted(distinct - set(self.names))
        self._index = {label: index for index, label in enumerate(self.labels)}
        self._owned = {
            kind: [sorted(self._index[label] for label in labels) for labels in owned]
            for kind, owned in by_kind.items()
        }

    @cached_property
    def relevance(self) -> Tensor:
        """Labels x concepts: 1 for a concept's own name, less for what it shares with others."""
        table = torch.zeros(len(self.labels), len(self.concepts))
        for kind in reversed(RELEVANCE):
            for concept, labels in enumerate(self._owned[kind]):
                table[labels, concept] = RELEVANCE[kind]
        names = table[: len(self.names)]
        names[names < RELEVANCE["name"]] *= HOMONYM_RELEVANCE
        return table

    def sample(self, concepts: list[int], rng: random.Random) -> list[Text]:
        """One random text for each of the given concepts."""
        kinds = rng.choices(list(KIND_SHARES), list(KIND_SHARES.values()), k=len(concepts))
        picked = [
            rng.choice(self._owned[kind][concept] or self._owned["name"][concept])
            for kind, concept in zip(kinds, concepts, strict=True)
        ]
        return [Text(fill(random_template(rng), self.labels[label]), label) for label in picked]

    def evaluation_tokens(self, vocabulary: Vocabulary) -> list[Tensor]:
        """For each evaluation template, the names as concepts x length token rows."""
        return [vocabulary([fill(template, name) for name in self.names]) for template in EVALUATION_TEMPLATES]


class Vocabulary:
    """open_clip's tokenizer over only the tokens that training can ever see.

    Tokens keep their order, so that the end-of-text token stays the largest, as open_clip's pooling expects.
    """

    def __init__(self, labels: Labels, context_length: int) -> None:
        self._tokenizer = SimpleTokenizer(context_length=context_length)
        blanks = [fill(template, "") for template in (*TEMPLATES, *OPENAI_IMAGENET_TEMPLATES)]
        stopped = [f"{label}." for label in labels.labels]
        seen = {row for text in (*labels.labels, *stopped, *blanks) for row in self._tokenizer.encode(text)}
        specials = {0, self._tokenizer.sot_token_id, self._tokenizer.eot_token_id}
        self.rows = np.array(sorted(seen | specials), dtype=np.int32)

    def __call__(self, texts: list[str]) -> Tensor:
        """Texts -> T L rows of this vocabulary, cut to the longest text."""
        tokens = self._tokenizer(texts).numpy()
        longest = int(tokens.argmax(axis=1).max()) + 1
        rows = np.searchsorted(self.rows, tokens[:, :longest])
        return torch.from_numpy(rows)


def fill(template: Template, label: str) -> str:
    """Put the label into a format string, or into one of open_clip's template functions."""
    return template(label) if callable(template) else template.format(label)


def random_template(rng: random.Random) -> Template:
    """The bare label most often, then ours, then open_clip's eighty."""
    draw = rng.random()
    if draw < BARE_SHARE:
        return "{}"
    if draw < BARE_SHARE + OPEN_CLIP_SHARE:
        return rng.choice(OPENAI_IMAGENET_TEMPLATES)
    return rng.choice(TEMPLATES)

"""Pictures -> names: similarity with a vocabulary, as probabilities, with "unknown" among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.clip.build import ClipModel
from segzs.clip.contrast import Contrast
from segzs.clip.exemplars import Exemplars
from segzs.clip.hierarchy import Hierarchy
from segzs.clip.preprocess import fit, normalise
from segzs.clip.templates import autoclip
from segzs.clip.vocabulary import Vocabulary
from segzs.errors import UsageError
from segzs.segments import UNKNOWN, Name

NAMINGS = ("crops", "pooled", "both")
BATCH = 32
RANKED = 10


def check_naming(naming: str) -> None:
    """Raise `UsageError` unless it is one of `NAMINGS`."""
    if naming not in NAMINGS:
        raise UsageError(f"the naming {naming!r} is unknown; one of {', '.join(NAMINGS)} is expected")


@dataclass(frozen=True, eq=False)
class Namer:
    """What turns the image features of one CLIP into names of one vocabulary.

    ``label_features`` is float32 (labels, width), from `encode_labels`. ``contrast`` is what labels must beat not to be
    "unknown", which is never said where it is None; it was made as ``unknown`` says, see `segzs.load`. With
    ``sentences`` (labels, templates, width), from `encode_sentences`, the templates are weighed for each picture, see
    `autoclip`. ``exemplars`` have a say beside the words.
    """

    clip: ClipModel
    vocabulary: Vocabulary
    label_features: Tensor = field(repr=False)
    unknown: float | Literal["auto"] | None = None
    contrast: Contrast | None = field(default=None, repr=False)
    sentences: Tensor | None = field(default=None, repr=False)
    exemplars: Exemplars | None = None

    def probabilities(self, pictures: Tensor) -> Tensor:
        """Of normalised image features (N, width): float32 (N, labels), with "unknown" last unless it is never said.

        They add up to 1; where labels have parents, those without children and "unknown" do, see `Hierarchy`.
        """
        similarity, scale, tree = self.similarity(pictures), self.clip.logit_scale, self.hierarchy
        unknown = None if self.contrast is None else self.contrast.similarity(pictures, scale)
        shares = probabilities(similarity, scale, unknown)
        return shares if tree.is_flat else tree.roll_up(scale * similarity, shares)

    def exclusive(self, pictures: Tensor) -> Tensor:
        """`probabilities` of which labels with children have none: rows add up to 1, and the largest is a name."""
        shares = self.probabilities(pictures)
        shares[:, self.hierarchy.inner] = 0
        return shares

    def similarity(self, pictures: Tensor) -> Tensor:
        """Cosines of normalised image features (N, width) with the labels: float32 (N, labels).

        Those of labels with `exemplars` are raised or lowered by what these say.
        """
        scale = self.clip.logit_scale
        if self.sentences is None:
            cosines = pictures @ self.label_features.T
        else:
            cosines = autoclip(pictures, self.sentences, scale)
        if self.exemplars is None:
            return cosines
        return cosines + self.exemplars.evidence(pictures, self.vocabulary.labels) / scale

    def names(self, pictures: Tensor) -> list[tuple[Name, ...]]:
        """The most probable names of normalised image features (N, width), best first.

        Where labels have parents, the first is the lowest that is sure, see `Hierarchy`; the rest are by probability.
        """
        shares, tree = self.probabilities(pictures), self.hierarchy
        return rank(shares, self.vocabulary.labels, None if tree.is_flat else tree.choose(shares))

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """The tree of the labels."""
        return Hierarchy.of(self.vocabulary)


@torch.inference_mode()
def encode_pictures(clip: ClipModel, pictures: Iterable[np.ndarray]) -> Tensor:
    """Normalised image features of uint8 RGB pictures, each through the model's own preprocessing: (N, width)."""
    features, fitted = [], (fit(picture, clip.preprocessing) for picture in pictures)
    while batch := list(islice(fitted, BATCH)):
        pixels = normalise(torch.stack(batch).to(clip.device), clip.preprocessing).to(clip.dtype)
        features.append(F.normalize(clip.module.encode_image(pixels).float(), dim=-1))
    return torch.cat(features) if features else torch.zeros(0, 0)


def probabilities(similarity: Tensor, scale: float, unknown: float | Tensor | None = None) -> Tensor:
    """Of cosines (N, labels) the probability of each label: float32 (N, labels [+ 1]), with "unknown" last.

    Without ``unknown`` this is open_clip's zero-shot classifier: a softmax over scaled cosine similarities. With it,
    "unknown" stands beside the labels as if it had that similarity, of all pictures or (N, 1), so that even a single
    label can be refused.
    """
    if unknown is not None:
        against = torch.as_tensor(unknown, dtype=similarity.dtype, device=similarity.device)
        similarity = torch.cat([similarity, against.expand(len(similarity), 1)], dim=1)
    return (scale * similarity).softmax(dim=-1)


def rank(shares: Tensor, labels: Sequence[str], first: Sequence[int] | None = None) -> list[tuple[Name, ...]]:
    """The ten most probable names of each picture, best first, from probabilities (N, labels [+ "unknown"]).

    ``first`` are the columns that go before all others.
    """
    names = [*labels, UNKNOWN][: shares.shape[1]]
    shares = shares.cpu()
    order = shares
    if first is not None and len(shares):
        order = shares.scatter(1, torch.tensor(first)[:, None], 2.0)
    indices = order.topk(min(RANKED, len(names)), dim=1).indices
    values = shares.gather(1, indices)
    return [
        tuple(Name(names[i], float(value)) for value, i in zip(row, columns, strict=True))
        for row, columns in zip(values.tolist(), indices.tolist(), strict=True)
    ]

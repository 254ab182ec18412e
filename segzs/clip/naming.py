"""Pictures -> names: similarity with a vocabulary, as probabilities, with "unknown" among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.clip.build import ClipModel
from segzs.clip.crops import Cropping, crop
from segzs.clip.exemplars import Exemplars
from segzs.clip.preprocess import fit, normalise
from segzs.clip.vocabulary import Vocabulary, encode_labels
from segzs.errors import SegzsError
from segzs.image import Image
from segzs.masks import RLE
from segzs.segments import UNKNOWN, Name

NAMINGS = ("crops", "pooled")
BATCH = 32
RANKED = 10


def check_naming(naming: str) -> None:
    """Raise `SegzsError` unless it is one of `NAMINGS`."""
    if naming not in NAMINGS:
        raise SegzsError(f"the naming {naming!r} is unknown; one of {', '.join(NAMINGS)} is expected")


@dataclass(frozen=True, eq=False)
class Namer:
    """What turns the image features of one CLIP into names of one vocabulary.

    ``label_features`` is float32 (labels, width), from `encode_labels`; ``unknown`` is the cosine similarity that a
    label must reach to beat "unknown", None where that is never said. ``exemplars`` have a say beside the words.
    """

    clip: ClipModel
    vocabulary: Vocabulary
    label_features: Tensor = field(repr=False)
    unknown: float | None
    exemplars: Exemplars | None = None

    def probabilities(self, pictures: Tensor) -> Tensor:
        """Of normalised image features (N, width): float32 (N, labels), with "unknown" last unless it is never said."""
        return probabilities(self.similarity(pictures), self.clip.logit_scale, self.unknown)

    def similarity(self, pictures: Tensor) -> Tensor:
        """Cosines of normalised image features (N, width) with the labels: float32 (N, labels).

        Those of labels with `exemplars` are raised or lowered by what these say.
        """
        cosines = pictures @ self.label_features.T
        if self.exemplars is None:
            return cosines
        return cosines + self.exemplars.evidence(pictures, self.vocabulary.labels) / self.clip.logit_scale

    def shown(self, exemplars: Exemplars) -> Namer:
        """One that knows these examples besides its own; labels that were not in its vocabulary join it.

        Raises:
            VocabularyError: an example is called by what cannot be a label.
            ModelMismatchError: they were not seen as those that it has.
        """
        known = exemplars if self.exemplars is None else self.exemplars + exemplars
        new = tuple(label for label in exemplars.counts if label not in self.vocabulary.labels)
        if not new:
            return replace(self, exemplars=known)
        features = encode_labels(self.clip, Vocabulary(new, self.vocabulary.templates))
        return replace(
            self,
            vocabulary=replace(self.vocabulary, labels=(*self.vocabulary.labels, *new)),
            label_features=torch.cat([self.label_features, features]),
            exemplars=known,
        )

    def names(self, pictures: Tensor) -> list[tuple[Name, ...]]:
        """The most probable names of normalised image features (N, width), best first."""
        return rank(self.probabilities(pictures), self.vocabulary.labels)


@torch.inference_mode()
def encode_pictures(clip: ClipModel, pictures: Iterable[np.ndarray]) -> Tensor:
    """Normalised image features of uint8 RGB pictures, each through the model's own preprocessing: (N, width)."""
    features, fitted = [], (fit(picture, clip.preprocessing) for picture in pictures)
    while batch := list(islice(fitted, BATCH)):
        pixels = normalise(torch.stack(batch).to(clip.device), clip.preprocessing).to(clip.dtype)
        features.append(F.normalize(clip.module.encode_image(pixels).float(), dim=-1))
    return torch.cat(features) if features else torch.zeros(0, 0)


def encode_object(clip: ClipModel, image: Image) -> Tensor:
    """The normalised image feature of a picture of one object, all of it, whatever its shape: (1, width)."""
    whole = RLE.encode(np.ones((image.height, image.width), bool))
    return encode_pictures(clip, [crop(image.pixels, whole, Cropping("keep", 0))])  # else ends may be cut off


def probabilities(similarity: Tensor, scale: float, unknown: float | None = None) -> Tensor:
    """Of cosines (N, labels) the probability of each label: float32 (N, labels [+ 1]), with "unknown" last.

    Without ``unknown`` this is open_clip's zero-shot classifier: a softmax over scaled cosine similarities. With it,
    "unknown" stands beside the labels as if it had that similarity, so that even a single label can be refused.
    """
    if unknown is not None:
        similarity = torch.cat([similarity, similarity.new_full((len(similarity), 1), unknown)], dim=1)
    return (scale * similarity).softmax(dim=-1)


def rank(shares: Tensor, labels: Sequence[str]) -> list[tuple[Name, ...]]:
    """The ten most probable names of each picture, best first, from probabilities (N, labels [+ "unknown"])."""
    names = [*labels, UNKNOWN][: shares.shape[1]]
    values, order = shares.cpu().topk(min(RANKED, len(names)), dim=1)
    return [
        tuple(Name(names[i], float(value)) for value, i in zip(row, indices, strict=True))
        for row, indices in zip(values.tolist(), order.tolist(), strict=True)
    ]

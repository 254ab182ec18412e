"""Zero-shot classifier: image features to names with probabilities, "unknown" among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.cache import EmbeddingCache
from segzs.clip import text_features as encoder
from segzs.clip.autoclip import autoclip
from segzs.clip.hierarchy import Hierarchy
from segzs.clip.model import ClipModel
from segzs.clip.negatives import NegativeLabels, negative_labels
from segzs.clip.regions import Naming
from segzs.clip.support_set import SupportSet
from segzs.clip.templates import resolve_templates
from segzs.clip.vocabulary import Labels, Vocabulary
from segzs.errors import UnfamiliarWarning, warn
from segzs.segments import UNKNOWN, Name

TOP = 10


@dataclass(frozen=True, eq=False)
class ZeroShotClassifier:
    """Names image features of one CLIP by the labels of one vocabulary; `build_classifier` makes one.

    ``text_features`` is float32 (labels, width), normalised. Without ``negatives``, nothing is "unknown". With
    ``template_features``, float32 (labels, templates, width), the templates are weighted for each image, see
    `autoclip`. The examples of ``support_set`` add to the labels' logits.
    """

    clip: ClipModel
    vocabulary: Vocabulary
    text_features: Tensor = field(repr=False)
    naming: Naming = field(default_factory=Naming)
    negatives: NegativeLabels | None = field(default=None, repr=False)
    template_features: Tensor | None = field(default=None, repr=False)
    support_set: SupportSet | None = None

    def similarity(self, image_features: Tensor) -> Tensor:
        """Cosine similarities of image features (N, width) with the labels, corrected by examples: (N, labels)."""
        scale = self.clip.logit_scale
        if self.template_features is None:
            similarity = image_features @ self.text_features.T
        else:
            similarity = autoclip(image_features, self.template_features, scale)
        if self.support_set is None:
            return similarity
        return similarity + self.support_set.logits(image_features, self.vocabulary.labels) / scale

    def probabilities(self, image_features: Tensor) -> Tensor:
        """The probability of each label for normalised image features (N, width), with that of "unknown" last.

        Rows add up to 1. Where labels have parents, only labels without children and "unknown" do; see `Hierarchy`.
        The shape is (N, labels + 1), or (N, labels) where nothing is "unknown".
        """
        similarity, scale, tree = self.similarity(image_features), self.clip.logit_scale, self.hierarchy
        unknown = None if self.negatives is None else self.negatives.similarity(image_features, scale)
        flat = probabilities(similarity, scale, unknown)
        return flat if tree.is_flat else tree.roll_up(scale * similarity, flat)

    def exclusive(self, image_features: Tensor) -> Tensor:
        """`probabilities` with 0 for labels that have children, so that all rows add up to 1."""
        exclusive = self.probabilities(image_features)
        exclusive[:, self.hierarchy.inner] = 0
        return exclusive

    def names(self, image_features: Tensor) -> list[tuple[Name, ...]]:
        """The ten most probable names of normalised image features (N, width), best first.

        Where labels have parents, the first is that of `Hierarchy.choose`; the others are ordered by probability.
        """
        values, tree = self.probabilities(image_features), self.hierarchy
        return rank(values, self.vocabulary.labels, None if tree.is_flat else tree.choose(values))

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """The tree of the labels."""
        return Hierarchy.of(self.vocabulary)

    def with_labels(self, labels: Labels, cache: EmbeddingCache | None = None) -> ZeroShotClassifier:
        """The same classifier with other labels; see `build_classifier`. Examples stay."""
        return build_classifier(self.clip, labels, self.naming, cache, self.support_set)

    def with_examples(self, examples: SupportSet, cache: EmbeddingCache | None = None) -> ZeroShotClassifier:
        """The same classifier with additional examples; their labels are added to the vocabulary.

        Raises:
            ModelMismatchError: another CLIP encoded the examples, or they were cropped in another way.
        """
        support_set = examples if self.support_set is None else self.support_set + examples
        vocabulary, text, templates = self.vocabulary, self.text_features, self.template_features
        if added := [label for label in examples.counts if label not in vocabulary.labels]:
            new = Vocabulary(added, vocabulary.templates)
            new_text, new_templates = _encode(self.clip, new, self.naming, cache)
            vocabulary = replace(vocabulary, entries=(*vocabulary.entries, *new.entries))
            text = torch.cat([text, new_text])
            if templates is not None and new_templates is not None:
                templates = torch.cat([templates, new_templates])
        negatives = _negatives(self.clip, vocabulary, text, self.naming, cache, support_set)
        return ZeroShotClassifier(self.clip, vocabulary, text, self.naming, negatives, templates, support_set)


def build_classifier(
    clip: ClipModel,
    labels: Labels | None = None,
    naming: Naming = Naming(),
    cache: EmbeddingCache | None = None,
    support_set: SupportSet | None = None,
) -> ZeroShotClassifier:
    """Encode labels into a `ZeroShotClassifier`; without labels, those of the CLIP's general vocabulary.

    The templates are those of ``naming``, or else of the vocabulary, or else of the CLIP.

    Raises:
        VocabularyError: the labels or templates cannot be used, or a sentence has more tokens than the CLIP reads.

    Warns:
        UnfamiliarWarning: the CLIP was not trained on words of the labels.
    """
    vocabulary = encoder.general_vocabulary(clip) if labels is None else Vocabulary.of(labels)
    if naming.templates is not None:
        vocabulary = replace(vocabulary, templates=resolve_templates(naming.templates))
    vocabulary = encoder.with_templates(clip, vocabulary)
    if labels is not None and (unseen := encoder.unseen_labels(clip, vocabulary)):
        listed = ", ".join(map(repr, unseen[:5])) + (", ..." if len(unseen) > 5 else "")
        warn(
            f"the embedded CLIP was not trained on some words of {listed} and names them badly; larger models know all "
            "words, see: segzs models",
            UnfamiliarWarning,
        )
    text, templates = _encode(clip, vocabulary, naming, cache)
    negatives = _negatives(clip, vocabulary, text, naming, cache, support_set)
    return ZeroShotClassifier(clip, vocabulary, text, naming, negatives, templates, support_set)


def _encode(
    clip: ClipModel, vocabulary: Vocabulary, naming: Naming, cache: EmbeddingCache | None
) -> tuple[Tensor, Tensor | None]:
    """The text features of labels, and for "autoclip" those of each template."""
    if naming.weighting == "autoclip":
        template_features = encoder.encode_templates(clip, vocabulary, cache)
        return F.normalize(template_features.mean(1), dim=-1), template_features
    if vocabulary == encoder.general_vocabulary(clip):
        return encoder.general_features(clip, cache), None
    return encoder.encode_vocabulary(clip, vocabulary, cache), None


def _negatives(
    clip: ClipModel,
    vocabulary: Vocabulary,
    text: Tensor,
    naming: Naming,
    cache: EmbeddingCache | None,
    support_set: SupportSet | None,
) -> NegativeLabels | None:
    if naming.unknown is None:
        return None
    threshold = None if naming.unknown == "auto" else naming.unknown
    examples = None if support_set is None else support_set.means(vocabulary.labels)
    return negative_labels(clip, vocabulary, text, threshold=threshold, examples=examples, cache=cache)


def probabilities(similarity: Tensor, logit_scale: float, unknown: float | Tensor | None = None) -> Tensor:
    """Probabilities of labels from cosine similarities (N, labels).

    Without ``unknown`` this is open_clip's zero-shot classifier: the softmax of the scaled cosine similarities. With
    it, "unknown" competes as a label of that similarity, a number or float32 (N, 1).

    Returns:
        float32 (N, labels), or (N, labels + 1) with "unknown" last.

    >>> probabilities(torch.tensor([[0.3, 0.3]]), 100.0, unknown=0.3).shape
    torch.Size([1, 3])
    """
    if unknown is not None:
        column = torch.as_tensor(unknown, dtype=similarity.dtype, device=similarity.device)
        similarity = torch.cat([similarity, column.expand(len(similarity), 1)], dim=1)
    return (logit_scale * similarity).softmax(dim=-1)


def rank(probabilities: Tensor, labels: Sequence[str], first: Sequence[int] | None = None) -> list[tuple[Name, ...]]:
    """The ten most probable names of each row, best first; ``first`` is for each row the column before all others.

    ``probabilities`` is float32 (N, labels), or (N, labels + 1) with "unknown" last.

    >>> rank(torch.tensor([[0.2, 0.7, 0.1]]), ["cat", "dog"])[0][0].label
    'dog'
    """
    names = [*labels, UNKNOWN][: probabilities.shape[1]]
    probabilities = probabilities.cpu()
    order = probabilities
    if first is not None and len(order):
        order = order.scatter(1, torch.tensor(first)[:, None], 2.0)
    columns = order.topk(min(TOP, len(names)), dim=1).indices
    values = probabilities.gather(1, columns)
    return [
        tuple(Name(names[i], value) for i, value in zip(*row, strict=True))
        for row in zip(columns.tolist(), values.tolist(), strict=True)
    ]

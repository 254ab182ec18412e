"""What else a picture may show: words that stand against a vocabulary, so that "unknown" can win.

A softmax over the user's labels alone is sure of whatever is least wrong. Here the words of the CLIP's general
vocabulary that come near none of the labels compete as well, as negative labels do in "Negative label guided OOD
detection with pretrained vision-language models" (Jiang et al. 2024); what they get is "unknown".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from segzs.clip.model import ClipModel
from segzs.clip.vocabulary import Vocabulary, encode_labels, general_vocabulary

NEAR = 0.75
"""A word is near a label if it is nearer than this share of general words has its nearest neighbour."""
WEIGHT = 60
"""So many words of average likeness does "unknown" stand for beside one label; beside n labels an n-th of them."""
LIKELY = 5
"""So many general words may be other names of what a label's examples show."""


@dataclass(frozen=True, eq=False)
class NegativeLabels:
    """Text features, float32: of general ``words`` (K, width) and of the user's ``negatives`` (J, width).

    The mean word counts ``weight`` times, and every negative once, as a label does; ``least`` is the cosine similarity
    that a label must beat beside them all.
    """

    words: Tensor
    negatives: Tensor
    weight: float
    least: float

    def similarity(self, pictures: Tensor, scale: float) -> Tensor:
        """Where "unknown" stands beside labels, for normalised image features (N, width): cosines, float32 (N, 1)."""
        logits = scale * pictures @ torch.cat([self.words, self.negatives]).T
        logits[:, : len(self.words)] += math.log(self.weight / max(len(self.words), 1))
        return logits.logsumexp(1, keepdim=True).logaddexp(logits.new_tensor(scale * self.least)) / scale


def negative_labels(
    clip: ClipModel, vocabulary: Vocabulary, label_features: Tensor, general: Tensor, shown: Tensor | None = None
) -> NegativeLabels:
    """What stands against a vocabulary.

    What is a label is neither a negative nor a contrast word, nor is a synonym or a near relative of one. Where no word
    is left, labels must reach the CLIP's own similarity.

    Args:
        clip: the model that names.
        vocabulary: the labels and their negatives.
        label_features: those of its labels, normalised, float32 (labels, width).
        general: those of the model's general vocabulary, (words, width).
        shown: image features of what examples of labels look like, a row a label, (shown, width): words that these are
            most like are no contrast either.

    Raises:
        VocabularyError: a negative is longer than what the model reads.
    """
    among = general @ general.T
    limit = among.fill_diagonal_(-1).amax(1).quantile(NEAR)
    own = _own_words(vocabulary)
    far = (general @ label_features.T).amax(1) < limit
    far &= torch.tensor([name not in own for name in general_vocabulary(clip).labels], device=far.device)
    if shown is not None:
        far[(shown.to(general) @ general.T).topk(min(LIKELY, len(general)), dim=1).indices.flatten()] = False
    leaves = len(vocabulary.labels) - len({label.parent for label in vocabulary.details if label.parent})
    words, negatives = general[far], _negatives(clip, vocabulary, label_features)
    return NegativeLabels(words, negatives, WEIGHT / leaves, 0.0 if len(words) else clip.unknown)


def fixed_negative_labels(
    clip: ClipModel, vocabulary: Vocabulary, label_features: Tensor, least: float
) -> NegativeLabels:
    """What stands against a vocabulary if its labels must reach a similarity, and beat its negatives.

    Raises:
        VocabularyError: a negative is longer than what the model reads.
    """
    return NegativeLabels(label_features[:0], _negatives(clip, vocabulary, label_features), 1.0, least)


def _negatives(clip: ClipModel, vocabulary: Vocabulary, like: Tensor) -> Tensor:
    listed = (*vocabulary.negatives, *(text for label in vocabulary.details for text in label.negatives))
    negatives = tuple(dict.fromkeys(text for text in listed if text not in _own_words(vocabulary)))
    return encode_labels(clip, Vocabulary(negatives, vocabulary.templates)) if negatives else like[:0]


def _own_words(vocabulary: Vocabulary) -> set[str]:
    return {*vocabulary.labels, *(word for label in vocabulary.details for word in label.synonyms)}

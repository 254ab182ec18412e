"""What else a picture may show: words that stand against a vocabulary, so that "unknown" can win.

A softmax over the user's labels alone is sure of whatever is least wrong. Here the words of the CLIP's general
vocabulary that come near none of the labels compete as well, as negative labels do in "Negative label guided OOD
detection with pretrained vision-language models" (Jiang et al. 2024); what they get is "unknown".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from segzs.clip.build import ClipModel
from segzs.clip.vocabulary import Vocabulary, encode_labels, general_vocabulary, usual_templates

NEAR = 0.75
"""A word is near a label if it is nearer than this share of general words has its nearest neighbour."""
WEIGHT = 60
"""So many words of average likeness does "unknown" stand for beside one label; beside n labels an n-th of them."""

LIKELY = 5
"""So many general words may be other names of what an example shows."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """Text features, float32: of general ``words`` (K, width) and of the user's ``negatives`` (J, width).

    The mean word counts ``weight`` times, and every negative once, as a label does.
    """

    words: Tensor
    negatives: Tensor
    weight: float

    def similarity(self, pictures: Tensor, scale: float) -> Tensor:
        """Where "unknown" stands beside labels, for normalised image features (N, width): cosines, float32 (N, 1)."""
        logits = scale * pictures @ torch.cat([self.words, self.negatives]).T
        logits[:, : len(self.words)] += math.log(self.weight / max(len(self.words), 1))
        return logits.logsumexp(1, keepdim=True) / scale

    def without(self, pictures: Tensor) -> Contrast:
        """The same without the words that normalised image features (N, width), which have names, are most like."""
        if not len(pictures) or not len(self.words):
            return self
        likely = (pictures.to(self.words) @ self.words.T).topk(min(LIKELY, len(self.words)), dim=1).indices
        kept = torch.ones(len(self.words), dtype=torch.bool, device=self.words.device)
        kept[likely.flatten()] = False
        return replace(self, words=self.words[kept])


def contrast_vocabulary(clip: ClipModel) -> Vocabulary:
    """The general words, asked for as labels usually are."""
    return Vocabulary(general_vocabulary(clip).labels, usual_templates(clip))


def contrast_of(clip: ClipModel, vocabulary: Vocabulary, label_features: Tensor, general: Tensor) -> Contrast:
    """What stands against a vocabulary; ``general`` are the features of `contrast_vocabulary`.

    What is a label is neither a negative nor a contrast word, nor is a synonym or a near relative of one.

    Raises:
        VocabularyError: a negative is longer than what the model reads.
    """
    among = general @ general.T
    limit = among.fill_diagonal_(-1).amax(1).quantile(NEAR)
    own = {*vocabulary.labels, *(word for label in vocabulary.details for word in label.synonyms)}
    names = contrast_vocabulary(clip).labels
    far = (general @ label_features.T).amax(1) < limit
    far &= torch.tensor([name not in own for name in names], device=far.device)
    listed = (*vocabulary.negatives, *(text for label in vocabulary.details for text in label.negatives))
    negatives = tuple(text for text in dict.fromkeys(listed) if text not in own)
    features = general[:0] if not negatives else encode_labels(clip, Vocabulary(negatives, vocabulary.templates))
    return Contrast(general[far], features, WEIGHT / len(vocabulary.labels))

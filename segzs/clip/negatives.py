"""Negative labels: what competes with a vocabulary, so that an object can be "unknown".

A softmax over the user's labels alone is certain of the label that fits least badly. Therefore the labels of the CLIP's
general vocabulary that are not similar to any of the user's labels compete as well, as in "Negative label guided OOD
detection with pretrained vision-language models" (Jiang et al. 2024). Their probability is that of "unknown".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from segzs.cache import EmbeddingCache
from segzs.clip.model import ClipModel
from segzs.clip.text_features import encode_vocabulary, general_features, general_vocabulary
from segzs.clip.vocabulary import Vocabulary

NEAR = 0.75
"""A general label is similar to a label above this quantile of the general labels' similarities to their neighbours."""
WEIGHT = 60
"""The mean general label counts this many times beside one label, and a n-th of it beside n labels."""
SAME_OBJECT = 5
"""So many general labels may be other names of an example."""


@dataclass(frozen=True, eq=False)
class NegativeLabels:
    """Text features that compete with the labels.

    ``general`` is float32 (K, width), general labels; their mean counts ``weight`` times. ``negatives`` is float32
    (J, width), the user's negatives; each counts once, as a label does. ``threshold`` is a cosine similarity that a
    label must exceed besides them.
    """

    general: Tensor
    negatives: Tensor
    weight: float
    threshold: float

    def similarity(self, image_features: Tensor, logit_scale: float) -> Tensor:
        """The similarity at which "unknown" competes with labels for normalised image features (N, width): (N, 1)."""
        logits = logit_scale * image_features @ torch.cat([self.general, self.negatives]).T
        logits[:, : len(self.general)] += math.log(self.weight / max(len(self.general), 1))
        threshold = logits.new_tensor(logit_scale * self.threshold)
        return logits.logsumexp(1, keepdim=True).logaddexp(threshold) / logit_scale


def negative_labels(
    clip: ClipModel,
    vocabulary: Vocabulary,
    text_features: Tensor,
    *,
    threshold: float | None = None,
    examples: Tensor | None = None,
    cache: EmbeddingCache | None = None,
) -> NegativeLabels:
    """The negatives of a vocabulary, and the general labels that resemble neither its labels nor its examples.

    With a threshold, a cosine similarity that labels must exceed, there are no general labels. If no general label is
    left, the threshold is the CLIP's own. ``text_features`` (labels, width) are those of the vocabulary, ``examples``
    (M, width) the mean image features of labels with examples.
    """
    own = {word for label in vocabulary.entries for word in (label.name, *label.synonyms)}
    listed = (*vocabulary.negatives, *(text for label in vocabulary.entries for text in label.negatives))
    texts = [text for text in listed if text not in own]
    negatives = encode_vocabulary(clip, Vocabulary(texts, vocabulary.templates), cache) if texts else text_features[:0]
    if threshold is not None:
        return NegativeLabels(text_features[:0], negatives, 1.0, threshold)
    general = general_features(clip, cache)
    limit = (general @ general.T).fill_diagonal_(-1).amax(1).quantile(NEAR)
    far = (general @ text_features.T).amax(1) < limit
    far &= torch.tensor([name not in own for name in general_vocabulary(clip).labels], device=far.device)
    if examples is not None:
        far[(examples.to(general) @ general.T).topk(min(SAME_OBJECT, len(general)), dim=1).indices.flatten()] = False
    leaves = len(vocabulary.labels) - len(set(vocabulary.parents.values()))
    kept = general[far]
    return NegativeLabels(kept, negatives, WEIGHT / leaves, 0.0 if len(kept) else clip.unknown_threshold)

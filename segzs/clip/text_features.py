"""Text features: what the text tower of a CLIP makes of labels in templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from segzs.cache import EmbeddingCache
from segzs.clip.model import ClipModel
from segzs.clip.vocabulary import Vocabulary
from segzs.errors import VocabularyError
from segzs.memory import run_in_parts
from segzs.settings import embedded_folder

BATCH = 256


def with_templates(clip: ClipModel, vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary with its own templates, or with the CLIP's where it has none."""
    return vocabulary if vocabulary.templates else replace(vocabulary, templates=clip.spec.templates)


def encode_vocabulary(clip: ClipModel, vocabulary: Vocabulary, cache: EmbeddingCache | None = None) -> Tensor:
    """The text feature of each label, normalised.

    For a label without details it is the normalised mean of the features of its templates: the zero-shot classifier of
    "Learning transferable visual models from natural language supervision" (Radford et al. 2021, section 3.1.4). With
    synonyms and descriptions it is the normalised mean of the features of the name, of each synonym and of each
    description, as in "What does a platypus look like?" (Pratt et al. 2023). The mean, because the maximum favours
    labels with many synonyms. The shape is (labels, width). Raises `VocabularyError` if a sentence is too long.
    """
    vocabulary = with_templates(clip, vocabulary)
    return _cached(clip, vocabulary, "labels", lambda: _encode_labels(clip, vocabulary), cache)


def encode_templates(clip: ClipModel, vocabulary: Vocabulary, cache: EmbeddingCache | None = None) -> Tensor:
    """The normalised text feature of each label in each template, for `autoclip`: float32 (labels, templates, width).

    Raises `VocabularyError` if a label has synonyms or descriptions, or a sentence is too long.
    """
    vocabulary = with_templates(clip, vocabulary)
    for label in vocabulary.entries:
        if label.synonyms or label.descriptions:
            raise VocabularyError(
                f"weighting='autoclip' needs the same templates for every label; remove the synonyms and "
                f"descriptions of {label.name!r}, or choose weighting='mean'"
            )
    texts = [template.replace("{}", name) for name in vocabulary.labels for template in vocabulary.templates]
    shape = len(vocabulary.labels), len(vocabulary.templates)
    return _cached(clip, vocabulary, "templates", lambda: encode_texts(clip, texts).unflatten(0, shape), cache)


@torch.inference_mode()
def encode_texts(clip: ClipModel, texts: Sequence[str]) -> Tensor:
    """Normalised text features of sentences, none of which may have more tokens than the CLIP reads: (texts, width)."""
    features: list[Tensor] = []
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        tokens = clip.tokenizer(batch)
        _check_length(clip, batch, tokens)
        features += run_in_parts(lambda part: clip.module.encode_text(part.to(clip.device), normalize=True), tokens)
    return torch.cat(features)


def general_vocabulary(clip: ClipModel) -> Vocabulary:
    """The labels that are used when the user gives none: the CLIP's own general vocabulary, or everyday things."""
    own = clip.spec.general and embedded_folder() / f"{clip.spec.general}.txt"
    return with_templates(clip, Vocabulary.read(own) if own else Vocabulary.everyday())


_general_features: WeakKeyDictionary[ClipModel, Tensor] = WeakKeyDictionary()


def general_features(clip: ClipModel, cache: EmbeddingCache | None = None) -> Tensor:
    """The text features of the general vocabulary, float32 (labels, width): computed, or read, once for each model."""
    if clip not in _general_features:
        vocabulary = general_vocabulary(clip)
        stored = _stored_features(clip, vocabulary)
        _general_features[clip] = encode_vocabulary(clip, vocabulary, cache) if stored is None else stored
    return _general_features[clip]


def unseen_labels(clip: ClipModel, vocabulary: Vocabulary) -> list[str]:
    """Labels with words that the text tower was not trained on; none for a CLIP that was trained on all words."""
    if clip.known_tokens is None:
        return []
    pairs = zip(vocabulary.labels, clip.tokenizer(list(vocabulary.labels)).tolist(), strict=True)
    return [label for label, tokens in pairs if not clip.known_tokens.issuperset(token for token in tokens if token)]


def _stored_features(clip: ClipModel, vocabulary: Vocabulary) -> Tensor | None:
    """The features that are stored beside the general vocabulary, if the same weights and labels made them."""
    path = embedded_folder() / f"{clip.spec.general}.safetensors"
    if clip.spec.general and path.is_file():
        with safe_open(path, "pt") as file:
            if file.metadata() == {"weights": clip.digest, "vocabulary": vocabulary.digest}:
                return file.get_tensor("features").float().to(clip.device)
    return None


def _encode_labels(clip: ClipModel, vocabulary: Vocabulary) -> Tensor:
    ensembles: list[list[str]] = []  # sentences whose mean is one vote for a label
    votes: list[int] = []
    for label in vocabulary.entries:
        words = (label.name, *label.synonyms)
        own = [[template.replace("{}", word) for template in vocabulary.templates] for word in words]
        own += [[description] for description in label.descriptions]
        ensembles += own
        votes.append(len(own))
    features = encode_texts(clip, [text for texts in ensembles for text in texts])
    features = _means(features, [len(texts) for texts in ensembles])
    return features if len(features) == len(votes) else _means(features, votes)


def _means(features: Tensor, counts: Sequence[int]) -> Tensor:
    """Normalised means of consecutive rows; ``counts`` says of how many rows each."""
    if len(set(counts)) == 1:
        means = features.unflatten(0, (len(counts), counts[0])).mean(1)
    else:
        means = torch.stack([part.mean(0) for part in features.split(list(counts))])
    return F.normalize(means, dim=-1)


def _cached(
    clip: ClipModel, vocabulary: Vocabulary, kind: str, encode: Callable[[], Tensor], cache: EmbeddingCache | None
) -> Tensor:
    """Features from the cache; those of more than a batch of texts are kept on disk as well."""
    if cache is None:
        return encode()
    key = f"{vocabulary.digest} {clip.digest} {clip.config} {kind}"
    on_disk = len(vocabulary.labels) * len(vocabulary.templates) > BATCH
    return cache.get(key, encode, on_disk=on_disk).to(clip.device, torch.float32)


def _check_length(clip: ClipModel, texts: Sequence[str], tokens: Tensor) -> None:
    """Raise `VocabularyError` if a tokenizer with a longer context returns other tokens."""
    length = tokens.shape[1]
    suspects = [i for i, text in enumerate(texts) if len(text.encode()) > length - 4]  # a token is at least one byte
    if not suspects:
        return
    longer = clip.tokenizer([texts[i] for i in suspects], context_length=4 * length)
    for i, row in zip(suspects, longer, strict=True):
        if not torch.equal(row[:length], tokens[i]) or row[length] != row[-1]:
            raise VocabularyError(
                f"{texts[i]!r} has more than the {length} tokens that {clip.spec.name} reads; use fewer words"
            )

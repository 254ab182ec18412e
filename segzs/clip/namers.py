"""Labels -> a `Namer`: their vocabulary, its features, remembered, and what "unknown" is measured by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from os import PathLike
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.checks import check_number
from segzs.clip.build import ClipModel
from segzs.clip.contrast import Contrast, contrast_of, fixed_contrast
from segzs.clip.exemplars import Exemplars
from segzs.clip.labels import Label, LabelList, label_list
from segzs.clip.naming import Namer
from segzs.clip.templates import check_weighting
from segzs.clip.vocabulary import (
    TEXT_BATCH,
    Vocabulary,
    check_lengths,
    encode_labels,
    encode_sentences,
    general_features,
    general_vocabulary,
    named_templates,
    unknown_words,
    usual_templates,
)
from segzs.errors import UnfamiliarWarning, UsageError, warn
from segzs.sam.cache import EmbeddingCache

Labels = Vocabulary | LabelList | str | PathLike[str] | Iterable[str | Label]


def check_names(weighting: str, unknown: float | str | None) -> None:
    """Raise `UsageError` unless `namer_of` takes these."""
    check_weighting(weighting)
    if unknown is not None and unknown != "auto":
        check_number("unknown", unknown, "a cosine similarity from -1 to 1, 'auto' or None", -1, 1, error=UsageError)


def vocabulary_of(
    clip: ClipModel,
    labels: Labels | None,
    templates: str | Sequence[str] | None,
    usual: str | Sequence[str] | None = None,
) -> Vocabulary:
    """The vocabulary of labels, or the general one, in ``templates``.

    Left out, it keeps those that it has itself, and else gets the ``usual`` ones, or those that suit the CLIP.

    Raises:
        VocabularyError: nothing can be named with these.
    """
    if labels is None:
        return Vocabulary.of(general_vocabulary(clip), templates)
    given = labels if isinstance(labels, Vocabulary) else label_list(labels)
    vocabulary = Vocabulary.of(given, templates, usual_templates(clip) if usual is None else named_templates(usual))
    if isinstance(given, LabelList):
        check_lengths(clip, vocabulary, given.places)
    if strange := unknown_words(clip, vocabulary):
        shown = ", ".join(map(repr, strange[:5])) + (", ..." if len(strange) > 5 else "")
        warn(
            f"the embedded CLIP never saw some words of {shown} and will name badly with them; models that know all "
            "words: segzs models",
            UnfamiliarWarning,
        )
    return vocabulary


def namer_of(
    clip: ClipModel,
    vocabulary: Vocabulary,
    unknown: float | Literal["auto"] | None,
    weighting: str,
    cache: EmbeddingCache,
    exemplars: Exemplars | None = None,
    earlier: Namer | None = None,
) -> Namer:
    """A namer for a vocabulary.

    Args:
        clip: the model that names.
        vocabulary: the labels.
        unknown: see `segzs.load`.
        weighting: see `segzs.load`.
        cache: remembers the features of labels.
        exemplars: have a say beside the words; what general words they are most like does not stand against a label.
        earlier: a namer of the same CLIP, whose labels need not be encoded again.

    Raises:
        VocabularyError: a sentence is longer than what the model reads, or templates cannot be weighed.
    """
    if weighting == "mean":
        sentences = None
        known = None if earlier is None else (earlier.vocabulary, earlier.label_features)
        features = _grown(clip, vocabulary, encode_labels, cache, known)
    else:
        known = None if earlier is None or earlier.sentences is None else (earlier.vocabulary, earlier.sentences)
        sentences = _grown(clip, vocabulary, encode_sentences, cache, known)
        features = F.normalize(sentences.mean(1), dim=-1)
    contrast = _contrast(clip, vocabulary, features, unknown, cache, exemplars)
    return Namer(clip, vocabulary, features, unknown, contrast, sentences, exemplars)


def relabelled(namer: Namer, vocabulary: Vocabulary, cache: EmbeddingCache) -> Namer:
    """The same namer for another vocabulary, with its examples."""
    return namer_of(namer.clip, vocabulary, namer.unknown, _weighting(namer), cache, namer.exemplars)


def shown_to(namer: Namer, exemplars: Exemplars, cache: EmbeddingCache) -> Namer:
    """A namer that knows these examples besides its own; labels that were not in its vocabulary join it."""
    known = exemplars if namer.exemplars is None else namer.exemplars + exemplars
    labels = tuple(dict.fromkeys((*namer.vocabulary.labels, *exemplars.counts)))
    vocabulary = replace(namer.vocabulary, labels=labels)
    return namer_of(namer.clip, vocabulary, namer.unknown, _weighting(namer), cache, known, earlier=namer)


def _weighting(namer: Namer) -> str:
    return "mean" if namer.sentences is None else "autoclip"


def _contrast(
    clip: ClipModel,
    vocabulary: Vocabulary,
    features: Tensor,
    unknown: float | Literal["auto"] | None,
    cache: EmbeddingCache,
    exemplars: Exemplars | None,
) -> Contrast | None:
    if unknown is None:
        return None
    if unknown != "auto":
        return fixed_contrast(clip, vocabulary, features, unknown)
    general = general_of(clip, cache)
    shown = None if exemplars is None else exemplars.means(vocabulary.labels)
    return contrast_of(clip, vocabulary, features, general, shown)


def general_of(clip: ClipModel, cache: EmbeddingCache) -> Tensor:
    """`encode_labels` of the general vocabulary, remembered."""
    return _features(clip, general_vocabulary(clip), encode_labels, cache)


Encode = Callable[[ClipModel, Vocabulary], Tensor]


def _grown(
    clip: ClipModel,
    vocabulary: Vocabulary,
    encode: Encode,
    cache: EmbeddingCache,
    known: tuple[Vocabulary, Tensor] | None,
) -> Tensor:
    """What ``encode`` makes of a vocabulary, (labels, ...); what is known of another one is taken from there."""
    rows = {} if known is None else vocabulary.rows_of(known[0])
    if known is None or not rows:
        return _features(clip, vocabulary, encode, cache)
    old = known[1][list(rows.values())]
    if len(rows) == len(vocabulary.labels):
        return old
    there = torch.tensor([label in rows for label in vocabulary.labels], device=old.device)
    features = old.new_empty(len(there), *old.shape[1:])
    features[there] = old
    features[~there] = _features(clip, vocabulary.without(rows), encode, cache)
    return features


def _features(clip: ClipModel, vocabulary: Vocabulary, encode: Encode, cache: EmbeddingCache) -> Tensor:
    """What ``encode`` makes of a vocabulary, remembered: on disk as well where the text tower took its time."""
    if clip.row.general and encode is encode_labels and vocabulary == general_vocabulary(clip):
        return general_features(clip)
    features = cache.remember(
        f"{vocabulary.digest} {clip.digest} {clip.config} {'labels' if encode is encode_labels else 'sentences'}",
        lambda: encode(clip, vocabulary),
        on_disk=len(vocabulary.labels) * len(vocabulary.templates) > TEXT_BATCH,
    )
    return features.to(clip.device, torch.float32)


FEW, STRAYING = 4, 0.05
"""The median of fewer objects strays: so much less familiar they must be."""


def familiarity(clip: ClipModel, pictures: Tensor) -> Tensor:
    """Of normalised image features (N, width) each one's cosine with the general word that it is most like, (N,)."""
    return (pictures @ general_features(clip).T).amax(1)


def is_unfamiliar(clip: ClipModel, best: Tensor) -> bool:
    """Whether objects are of a kind that a CLIP was not made for; ``best`` is each one's likeness to its best word."""
    familiar = clip.row.familiar
    return familiar is not None and bool(best.median() < familiar - STRAYING * (len(best) < FEW))


def say_if_unfamiliar(clip: ClipModel, features: Tensor) -> None:
    """Warn when the embedded CLIP recognises hardly any of the objects."""
    if clip.row.familiar is not None and len(features) and is_unfamiliar(clip, familiarity(clip, features)):
        warn(
            "the embedded tiny CLIP recognises hardly anything here, and names may be wrong; for a model that knows "
            "more run `segzs fetch vit_b`, then use --model vit_b (in Python: load('vit_b'))",
            UnfamiliarWarning,
        )

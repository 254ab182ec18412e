"""Labels -> a `Namer`: their vocabulary, its features, remembered, and what "unknown" is measured by."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from typing import Literal

import torch
from torch import Tensor

from segzs.checks import check_number
from segzs.clip.build import ClipModel
from segzs.clip.contrast import contrast_vocabulary
from segzs.clip.exemplars import Exemplars
from segzs.clip.labels import Label, Listing
from segzs.clip.naming import Namer
from segzs.clip.templates import check_weighting
from segzs.clip.vocabulary import (
    TEXT_BATCH,
    Vocabulary,
    encode_labels,
    encode_sentences,
    general_features,
    general_vocabulary,
    unknown_words,
    usual_templates,
)
from segzs.errors import UnfamiliarWarning
from segzs.sam.cache import EmbeddingCache

Labels = Vocabulary | Listing | str | PathLike[str] | Iterable[str | Label]


def check_names(weighting: str, unknown: float | str | None) -> None:
    """Raise `SegzsError` unless `namer_of` takes these."""
    check_weighting(weighting)
    if unknown is not None and unknown != "auto":
        check_number("unknown", unknown, "a cosine similarity from -1 to 1, 'auto' or None", -1, 1)


def vocabulary_of(clip: ClipModel, labels: Labels | None, templates: str | Sequence[str] | None) -> Vocabulary:
    """The vocabulary of labels, or the general one, in the sentences that suit the CLIP unless others are given.

    Raises:
        VocabularyError: nothing can be named with these.
    """
    if labels is None:
        general = general_vocabulary(clip)
        return general if templates is None else Vocabulary.of(general, templates)
    vocabulary = Vocabulary.of(labels, templates, usual_templates(clip))
    if strange := unknown_words(clip, vocabulary):
        shown = ", ".join(map(repr, strange[:5])) + (", ..." if len(strange) > 5 else "")
        warnings.warn(
            f"the embedded CLIP never saw some words of {shown} and will name badly with them; models that know all "
            "words: segzs models",
            UnfamiliarWarning,
            stacklevel=3,
        )
    return vocabulary


def namer_of(
    clip: ClipModel,
    vocabulary: Vocabulary,
    unknown: float | Literal["auto"] | None,
    weighting: str,
    cache: EmbeddingCache,
) -> Namer:
    """A namer for a vocabulary; ``unknown`` and ``weighting`` are those of `segzs.load`."""
    features = _features(clip, vocabulary, cache)
    if unknown == "auto":
        namer = Namer.calibrated(clip, vocabulary, features, _features(clip, contrast_vocabulary(clip), cache))
    else:
        namer = Namer(clip, vocabulary, features, unknown)
    return namer if weighting == "mean" else replace(namer, sentences=encode_sentences(clip, vocabulary))


def relabelled(
    namer: Namer, vocabulary: Vocabulary, cache: EmbeddingCache, exemplars: Exemplars | None = None
) -> Namer:
    """The same namer for another vocabulary, with its own examples or others.

    What general words the examples of a label are most like does not stand against it.
    """
    exemplars = exemplars or namer.exemplars
    unknown: float | Literal["auto"] | None = namer.unknown if namer.contrast is None else "auto"
    weighting = "mean" if namer.sentences is None else "autoclip"
    made = namer_of(namer.clip, vocabulary, unknown, weighting, cache)
    if exemplars is None or made.contrast is None:
        return replace(made, exemplars=exemplars)
    named = [label in vocabulary.labels for label in exemplars.labels]
    return replace(made, exemplars=exemplars, contrast=made.contrast.without(exemplars.features[named]))


def shown_to(namer: Namer, exemplars: Exemplars, cache: EmbeddingCache) -> Namer:
    """A namer that knows these examples besides its own; labels that were not in its vocabulary join it."""
    known = exemplars if namer.exemplars is None else namer.exemplars + exemplars
    labels = tuple(dict.fromkeys((*namer.vocabulary.labels, *exemplars.counts)))
    return relabelled(namer, replace(namer.vocabulary, labels=labels), cache, known)


def _features(clip: ClipModel, vocabulary: Vocabulary, cache: EmbeddingCache) -> Tensor:
    """The labels' features, remembered: on disk as well where the text tower took its time."""
    if clip.row.name == "tiny" and vocabulary == general_vocabulary(clip):
        return general_features(clip)
    features = cache.remember(
        f"{vocabulary.digest} {clip.digest} {clip.config} labels",
        lambda: encode_labels(clip, vocabulary),
        on_disk=len(vocabulary.labels) * len(vocabulary.templates) > TEXT_BATCH,
    )
    return features.to(clip.device, torch.float32)


def say_if_unfamiliar(clip: ClipModel, features: Tensor, stacklevel: int) -> None:
    """Warn when the embedded CLIP recognises hardly any of the objects: a photograph, most likely."""
    if clip.row.familiar is None or not len(features):
        return
    best = (features @ general_features(clip).T).amax(1)
    if best.median() < clip.row.familiar:
        warnings.warn(
            "the embedded tiny models know drawings and emoji, and this looks like something else; for photographs "
            "run `segzs fetch vit_b`, then use --model vit_b (in Python: load('vit_b'))",
            UnfamiliarWarning,
            stacklevel=stacklevel,
        )

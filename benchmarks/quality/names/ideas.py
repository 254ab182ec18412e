"""The ideas: each gives every object a name, from features that are at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log2
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality.names.objects import Objects
from segzs.clip.classifier import ZeroShotClassifier, build_classifier
from segzs.clip.labels import Label
from segzs.clip.model import ClipModel
from segzs.clip.propagation import propagate
from segzs.clip.support_set import SupportSet
from segzs.clip.text_features import encode_templates
from segzs.clip.vocabulary import Vocabulary
from segzs.segments import UNKNOWN, Name
from training.pretrained import WordNet

Idea = Callable[[ClipModel, Objects], list[str]]


def first_labels(ranked: list[tuple[Name, ...]]) -> list[str]:
    """The most probable name of each object besides "unknown"."""
    return [next((name.label for name in names if name.label != UNKNOWN), UNKNOWN) for names in ranked]


def plain(clip: ClipModel, objects: Objects) -> list[str]:
    """The names of `Segmenter.name`."""
    return first_labels(build_classifier(clip, objects.labels).names(objects.features))


def neighbours(clip: ClipModel, objects: Objects) -> list[str]:
    """Label propagation."""
    names = build_classifier(clip, objects.labels).names(objects.features)
    return first_labels(propagate(objects.features, names))


def views(clip: ClipModel, objects: Objects) -> list[str]:
    """Views against descriptions, both weighted by their similarity to the whole.

    "Visual-text cross alignment" (Li et al. 2024, https://arxiv.org/abs/2406.02915), with the templates of a label as
    its descriptions and the object itself among its views.
    """
    scale, vocabulary = clip.logit_scale, Vocabulary(objects.labels, "simple")
    descriptions = encode_templates(clip, vocabulary)
    whole = torch.nn.functional.normalize(descriptions.mean(1, keepdim=True), dim=-1)
    weight = (scale * (descriptions * whole).sum(-1)).softmax(1)
    labels = (weight[..., None] * descriptions).sum(1)
    seen = torch.cat([objects.features[:, None], objects.views], 1)
    weight = (scale * (seen * objects.features[:, None]).sum(-1)).softmax(1)
    best = ((weight[..., None] * seen).sum(1) @ labels.T).argmax(1)
    return [objects.labels[column] for column in best.tolist()]


IDEAS: dict[str, Idea] = {"neighbours (`segzs refine`)": neighbours, "views and descriptions": views}


def corrected(clip: ClipModel, objects: Objects, count: int, seed: int) -> tuple[list[str], list[str], np.ndarray]:
    """Names when a person corrected some wrong ones at random: from examples, from neighbours; and which were not."""
    classifier = build_classifier(clip, objects.labels)
    names = classifier.names(objects.features)
    wrong = [row for row, label in enumerate(first_labels(names)) if label != objects.names[row]]
    given = np.random.default_rng(seed).permutation(wrong)[:count].tolist()
    others = np.ones(len(names), bool)
    others[given] = False
    truths = {row: (Name(objects.names[row], 1.0),) for row in given}
    spread = propagate(objects.features, [truths.get(row, ranked) for row, ranked in enumerate(names)], given)
    return first_labels(with_examples(classifier, objects, given).names(objects.features)), first_labels(spread), others


def with_examples(classifier: ZeroShotClassifier, objects: Objects, rows: list[int]) -> ZeroShotClassifier:
    """The classifier of `Segmenter.with_examples`, with some of the objects as examples."""
    return classifier.with_examples(SupportSet(objects.features[rows], tuple(objects.names[r] for r in rows), ""))


def levels(clip: ClipModel, objects: Objects, inputs: Path) -> dict[str, Mapping[str, np.ndarray]]:
    """General labels without and with WordNet's parents: whether each name is right, and how specific it is.

    A name is right if it is the right name or, in WordNet, above or below it. It has ``log2(labels / (labels below it
    + 1))`` bits. Objects whose right name WordNet lacks are left out.
    """
    wordnet = WordNet(inputs)
    flat = build_classifier(clip)
    synsets = {label: wordnet.senses[label.lower()][0] for label in flat.vocabulary.labels if label in wordnet.senses}
    owners = {offset: label for label, offset in reversed(synsets.items())}
    parents = {label: _parent(wordnet, owners, offset) for label, offset in synsets.items()}
    entries = tuple(Label(label, parent=parents.get(label, "")) for label in flat.vocabulary.labels)
    tree = replace(flat, vocabulary=Vocabulary(entries, flat.vocabulary.templates))
    is_listed = np.array([name in wordnet.senses for name in objects.names])
    below = dict.fromkeys(flat.vocabulary.labels, 0)
    for label in below:
        for ancestor in tree.vocabulary.lineage(label):
            below[ancestor] += 1
    result = {}
    for kind, classifier in (("flat", flat), ("with parents", tree)):
        names = first_labels(classifier.names(objects.features))
        right = [_related(wordnet, synsets.get(a), b) for a, b in zip(names, objects.names, strict=True)]
        bits = [log2(len(below) / below[name]) for name in names]
        result[kind] = {"right": np.where(is_listed, right, np.nan), "bits": np.where(is_listed, bits, np.nan)}
    return result


def _parent(wordnet: WordNet, owners: Mapping[int, str], offset: int) -> str:
    """The nearest label above a synset, or nothing."""
    level, seen = [offset], {offset}
    while level := [parent for here in level for parent in wordnet.synsets[here].parents if parent not in seen]:
        seen.update(level)
        if above := [owners[parent] for parent in level if parent in owners]:
            return above[0]
    return ""


def _related(wordnet: WordNet, answer: int | None, name: str) -> float:
    """Whether a synset is the sense of a name, or above or below it."""
    truth = wordnet.senses.get(name, (0,))[0]
    if answer is None or not truth:
        return 0.0
    return float(answer in wordnet.above(truth) or truth in wordnet.above(answer))

"""A Vocabulary: the labels that objects may get, and the sentences that they are asked in."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
import yaml  # type: ignore[import-untyped]
from safetensors import safe_open
from torch import Tensor

from segzs.clip.build import ClipModel
from segzs.errors import VocabularyError
from segzs.models.settings import PACKAGE, embedded_folder
from segzs.segments import UNKNOWN

NAMED_TEMPLATES = ("simple", "imagenet", "plain")
PLAIN = ("a photo of a {}",)
TINY_TEMPLATES = ("{}", "a photo of a {}.", "an icon of a {}", "a drawing of a {}")
TEXT_BATCH = 256
GENERAL_LABELS, GENERAL_FEATURES = "tiny_labels.txt", "tiny_labels.safetensors"


@dataclass(frozen=True)
class Vocabulary:
    """Labels, and templates with ``{}`` where the label goes.

    Raises:
        VocabularyError: no labels, an empty or repeated one, the reserved "unknown", or a template without ``{}``.

    >>> Vocabulary.of('cat, coffee mug, "salt, coarse"').labels
    ('cat', 'coffee mug', 'salt, coarse')
    """

    labels: tuple[str, ...]
    templates: tuple[str, ...] = PLAIN

    def __post_init__(self) -> None:
        for name in ("labels", "templates"):
            object.__setattr__(self, name, _texts(getattr(self, name), name))
        if not self.labels:
            raise VocabularyError("a vocabulary needs at least one label")
        for label in self.labels:
            if not label.strip():
                raise VocabularyError(f"{label!r} is not a label; words are expected")
            if label == UNKNOWN:
                raise VocabularyError(f"{UNKNOWN!r} is the answer where no label fits; it cannot be a label itself")
        if repeated := [label for label, count in Counter(self.labels).items() if count > 1]:
            raise VocabularyError(f"{', '.join(map(repr, repeated[:5]))} stand twice among the labels; name each once")
        if not self.templates:
            raise VocabularyError("a vocabulary needs at least one template, such as 'a photo of a {}'")
        for template in self.templates:
            if template.count("{}") != 1:
                raise VocabularyError(f"the template {template!r} must have {{}} once, where the label goes")

    @classmethod
    def of(
        cls,
        labels: Vocabulary | str | os.PathLike[str] | Iterable[str],
        templates: str | Sequence[str] | None = None,
    ) -> Vocabulary:
        """A vocabulary from another one, from a list, from comma-separated text, or from a file.

        A file (``.txt``, ``.csv``, ``.json``, ``.yaml`` or any path that exists) has a label a line, separated by
        commas in CSV, or is a JSON or YAML list, or a mapping that holds one as "labels" or "names"; lines of text
        that are empty or start with ``#`` are skipped. ``templates`` are sentences, or open_clip's "simple" (7) or
        "imagenet" (80), or "plain" (1, the default). Labels are stripped; repeated ones count once.

        Raises:
            VocabularyError: nothing is left to name with, or the file cannot be read.
        """
        if isinstance(labels, Vocabulary):
            return labels if templates is None else cls(labels.labels, named_templates(templates))
        if isinstance(labels, os.PathLike) or (isinstance(labels, str) and _is_file(labels)):
            found: Iterable[str] = _read_labels(Path(labels))
        elif isinstance(labels, str):
            found = _split(labels)
        else:
            found = labels
        stripped = (" ".join(label.split()) for label in _texts(found, "labels"))
        kept = tuple(dict.fromkeys(label for label in stripped if label))
        return cls(kept, PLAIN if templates is None else named_templates(templates))

    @property
    def digest(self) -> str:
        """SHA-256 of labels and templates."""
        return hashlib.sha256(json.dumps([self.labels, self.templates]).encode()).hexdigest()


def _texts(values: Any, what: str) -> tuple[str, ...]:
    if isinstance(values, str | bytes | None) or not isinstance(values, Iterable):
        raise VocabularyError(f"the {what} are {values!r}; a list of words or sentences is expected")
    texts = tuple(values)
    if strange := [text for text in texts if not isinstance(text, str)]:
        raise VocabularyError(f"{strange[0]!r} is not a {what[:-1]}; words or a sentence are expected")
    return texts


def _split(text: str) -> list[str]:
    """Comma-separated labels; one that has a comma itself stands in double quotes."""
    return next(csv.reader([" ".join(text.split())], skipinitialspace=True), [])


def named_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Sentences by the name of a set, or the user's own."""
    if not isinstance(templates, str):
        return _texts(templates, "templates")
    if templates == "plain":
        return PLAIN
    if templates in ("simple", "imagenet"):
        import open_clip

        sets = {"simple": open_clip.SIMPLE_IMAGENET_TEMPLATES, "imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES}
        return tuple(template("{}") for template in sets[templates])
    if "{}" in templates:
        return (templates,)
    raise VocabularyError(
        f"{templates!r} is no set of templates: {', '.join(NAMED_TEMPLATES)} are, or give a sentence with {{}}"
    )


def usual_templates(clip: ClipModel) -> tuple[str, ...]:
    """The sentences in which labels are asked for where nothing else is said."""
    return TINY_TEMPLATES if clip.row.name == "tiny" else PLAIN


def general_vocabulary(clip: ClipModel) -> Vocabulary:
    """What to name with when the user gives no labels: what the tiny CLIP was trained on, or everyday things."""
    if clip.row.name == "tiny":
        return Vocabulary.of(embedded_folder() / GENERAL_LABELS, TINY_TEMPLATES)
    return Vocabulary.of(PACKAGE / "clip" / "everyday.txt", "simple")


_general_features: WeakKeyDictionary[ClipModel, Tensor] = WeakKeyDictionary()


def general_features(clip: ClipModel) -> Tensor:
    """`encode_labels` of the general vocabulary, once for each model."""
    if clip not in _general_features:
        _general_features[clip] = _stored_features(clip)
    return _general_features[clip]


def _stored_features(clip: ClipModel) -> Tensor:
    """The embedded CLIP brings the features along, as they take seconds."""
    vocabulary = general_vocabulary(clip)
    stored = embedded_folder() / GENERAL_FEATURES
    if clip.row.name == "tiny" and stored.is_file():
        with safe_open(stored, "pt") as file:
            if file.metadata() == {"weights": clip.digest, "vocabulary": vocabulary.digest}:
                return file.get_tensor("features").float().to(clip.device)
    return encode_labels(clip, vocabulary)


@torch.inference_mode()
def encode_labels(clip: ClipModel, vocabulary: Vocabulary) -> Tensor:
    """A text feature for each label, normalised mean over the normalised templates: float32 (labels, width).

    The zero-shot classifier of CLIP (Radford et al. 2021, section 3.1.4).
    """
    texts = [template.replace("{}", label) for label in vocabulary.labels for template in vocabulary.templates]
    batches = (texts[i : i + TEXT_BATCH] for i in range(0, len(texts), TEXT_BATCH))
    features = torch.cat(
        [clip.module.encode_text(clip.tokenizer(batch).to(clip.device), normalize=True) for batch in batches]
    )
    means = features.unflatten(0, (len(vocabulary.labels), len(vocabulary.templates))).mean(1)
    return torch.nn.functional.normalize(means, dim=-1)


def unknown_words(clip: ClipModel, vocabulary: Vocabulary) -> list[str]:
    """Labels with words that the model's text tower never saw; empty for models trained on all words."""
    if clip.known_tokens is None:
        return []
    rows = clip.tokenizer(list(vocabulary.labels)).tolist()
    pairs = zip(vocabulary.labels, rows, strict=True)
    return [label for label, tokens in pairs if not clip.known_tokens.issuperset(token for token in tokens if token)]


def _is_file(text: str) -> bool:
    if Path(text).suffix.lower() in (".txt", ".json", ".csv", ".yaml", ".yml"):
        return True
    try:
        return Path(text).is_file()
    except OSError:
        return False


def _read_labels(path: Path) -> list[Any]:
    kind = path.suffix.lower()
    try:
        text = path.read_text("utf-8-sig")
        if kind == ".json":
            return _listed(json.loads(text), path)
        if kind in (".yaml", ".yml"):
            return _listed(yaml.safe_load(text), path)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise VocabularyError(f"the labels cannot be read from {path}: {error}") from error
    lines = [line.strip() for line in text.splitlines() if not line.strip().startswith("#")]
    return [label for row in csv.reader(lines, skipinitialspace=True) for label in row] if kind == ".csv" else lines


def _listed(content: Any, path: Path) -> list[Any]:
    """The list of labels in a JSON or YAML file."""
    if isinstance(content, dict):
        content = content.get("labels", content.get("names"))
    if isinstance(content, dict):  # as in {0: cat, 1: dog}
        content = list(content.values())
    if not isinstance(content, list):
        raise VocabularyError(f"{path} holds no list of labels; a list, or one under 'labels' or 'names', is expected")
    return content

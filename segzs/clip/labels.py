"""Labels with details, and files of labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from segzs.checks import clean_texts
from segzs.clip.templates import resolve_templates
from segzs.errors import VocabularyError
from segzs.segments import UNKNOWN

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Label:
    """A label and its details. White space is normalised, and one text stands for a tuple of one.

    Args:
        name: the label, which is also the name that objects get.
        synonyms: other words for the same thing; each is put into the templates.
        descriptions: whole sentences about how the thing looks; they are used without templates.
        parent: the broader label above this one, as "animal" is above "cat".
        negatives: things that look alike. They compete with all labels; an object that fits them best is "unknown".

    Raises:
        VocabularyError: the name is "unknown", or a text is empty.

    >>> Label("cat", synonyms="kitten", parent="animal").synonyms
    ('kitten',)
    """

    name: str
    synonyms: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    parent: str = ""
    negatives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        (name,) = clean_texts([self.name], "labels", error=VocabularyError)
        if name == UNKNOWN:
            raise VocabularyError(f"{UNKNOWN!r} is the name of objects that fit no label; it cannot be a label")
        object.__setattr__(self, "name", name)
        for field in ("synonyms", "descriptions", "negatives"):
            values = clean_texts(getattr(self, field), f"{field} of {name!r}", error=VocabularyError)
            object.__setattr__(self, field, values)
        if self.parent != "":
            (parent,) = clean_texts([self.parent], "parents", error=VocabularyError)
            object.__setattr__(self, "parent", parent)


LabelFile = tuple[tuple[Label, ...], tuple[str, ...], tuple[str, ...]]
"""Labels, templates and negatives."""


def read_labels(path: str | os.PathLike[str]) -> LabelFile:
    """Read the labels, templates and negatives of a file; see `Vocabulary.read`."""
    path = Path(path)
    kind = path.suffix.lower()
    try:
        if kind in (".csv", ".tsv"):
            raise VocabularyError(f"a table ({kind}) is not a list of labels; write one label a line to a .txt file")
        text = path.read_text("utf-8-sig")
        if kind == ".json":
            return _structured(json.loads(text))
        if kind in (".yaml", ".yml"):
            return _structured(yaml.load(text, LOADER))
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return _unique({"name": line} for line in lines), (), ()
    except VocabularyError as error:
        raise VocabularyError(f"{path}: {error}") from error
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise VocabularyError(f"cannot read labels from {path}: {error}") from error


def _structured(content: Any) -> LabelFile:
    """The labels of plain values: a list or a mapping, or a mapping that contains one as "labels" or "names"."""
    top = content if isinstance(content, Mapping) else {"labels": content}
    labels = top.get("labels", top.get("names"))
    if not isinstance(labels, list | Mapping):
        raise VocabularyError("it contains no list of labels; a list, or one under 'labels' or 'names', is expected")
    if "labels" in top:
        _check_keys(top, ("labels", "templates", "negatives"), "the vocabulary")
    pairs = labels.items() if isinstance(labels, Mapping) else enumerate(labels)
    entries = _unique(_entry(key, value) for key, value in pairs)
    templates = resolve_templates(top.get("templates") or ())
    negatives = clean_texts(top.get("negatives") or (), "negatives", error=VocabularyError)
    if both := {label.name for label in entries} & set(negatives):
        raise VocabularyError(f"{min(both)!r} is both a label and a negative of all labels; remove one")
    return entries, templates, negatives


def _entry(key: Any, value: Any) -> Mapping[str, Any]:
    """Arguments of a `Label`: from ``cat: {synonyms: [kitten]}``, ``cat:``, ``0: cat``, or an item of a list."""
    if isinstance(value, Mapping):
        entry = {"name": key, **value} if isinstance(key, str) else value
        if "name" not in entry:
            raise VocabularyError(f"the label {dict(entry)!r} has no 'name'")
        _check_keys(entry, [field.name for field in fields(Label)], f"the label {entry['name']!r}")
        return entry
    return {"name": key if value is None and isinstance(key, str) else value}


def _check_keys(entries: Mapping[str, Any], keys: Sequence[str], what: str) -> None:
    if unknown := [key for key in entries if key not in keys]:
        raise VocabularyError(f"unknown key {unknown[0]!r} of {what}; choose from {', '.join(keys)}")


def _unique(entries: Iterable[Mapping[str, Any]]) -> tuple[Label, ...]:
    labels: dict[str, Label] = {}
    for entry in entries:
        label = Label(**entry)
        if label.name in labels:
            raise VocabularyError(f"{label.name!r} is listed twice; list each label once")
        labels[label.name] = label
    return tuple(labels.values())

"""Vocabulary: the labels that objects may get, and the templates that they are put into."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path

from segzs.checks import clean_texts
from segzs.clip.labels import Label, read_labels
from segzs.clip.templates import resolve_templates
from segzs.errors import VocabularyError
from segzs.html import figure, listing
from segzs.settings import PACKAGE


@dataclass(frozen=True, init=False)
class Vocabulary:
    """Labels, templates and negatives.

    Args:
        entries: labels, as texts or as `Label` with details. Repeated labels count once, and parents that are not
            listed become labels.
        templates: sentences with ``{}`` where the label goes, or the name of a set, see `resolve_templates`. Without
            templates, the CLIP's own are used.
        negatives: things that no label stands for. They compete with the labels; an object that fits them best is
            "unknown".

    Raises:
        VocabularyError: there is no label, an entry is not a label, two entries of one name differ, a template does not
            contain ``{}`` once, or a label is its own ancestor.

    >>> Vocabulary(["mug", Label("cat", parent="animal")]).labels
    ('mug', 'cat', 'animal')
    """

    entries: tuple[Label, ...]
    templates: tuple[str, ...]
    negatives: tuple[str, ...]

    def __init__(
        self, entries: Iterable[str | Label], templates: str | Iterable[str] = (), negatives: Iterable[str] = ()
    ) -> None:
        object.__setattr__(self, "entries", _with_parents(_entries(entries)))
        object.__setattr__(self, "templates", resolve_templates(templates))
        object.__setattr__(self, "negatives", clean_texts(negatives, "negatives", error=VocabularyError))
        for label in self.labels:
            self.lineage(label)

    @classmethod
    def of(cls, labels: Labels) -> Vocabulary:
        """The vocabulary of what `segzs.load` takes as labels: a `Vocabulary`, a list, or the path of a file."""
        if isinstance(labels, Vocabulary):
            return labels
        if not isinstance(labels, str | os.PathLike):
            return cls(labels)
        if not Path(labels).exists():
            raise VocabularyError(f"no such file: {str(labels)!r}; give a list of labels, or the path of a file")
        return cls.read(labels)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read the labels of a file.

        - JSON (``.json``) and YAML (``.yaml``, ``.yml``): a list of labels, or of mappings of the arguments of `Label`;
          or a mapping from labels to their details, or from numbers to labels. Either may stand under "labels", beside
          "templates" and "negatives", or under "names".
        - Plain text (any other suffix): a label a line; empty lines and lines that start with ``#`` are skipped.

        Raises:
            VocabularyError: the file cannot be read, or an entry is not a label or is repeated.
        """
        return cls(*read_labels(path))

    @classmethod
    def coco(cls) -> Vocabulary:
        """The 80 classes of COCO (Lin et al. 2014)."""
        return cls.read(PACKAGE / "clip" / "coco.txt")

    @classmethod
    def ade20k(cls) -> Vocabulary:
        """The 150 classes of the scene parsing benchmark of ADE20K (Zhou et al. 2017)."""
        return cls.read(PACKAGE / "clip" / "ade20k.txt")

    @classmethod
    def everyday(cls) -> Vocabulary:
        """Several hundred everyday things; the general vocabulary of CLIPs that have none of their own."""
        return cls.read(PACKAGE / "clip" / "everyday.txt")

    @classmethod
    def imagenet(cls) -> Vocabulary:
        """The 998 different names that open_clip gives the 1,000 classes of ImageNet (Deng et al. 2009)."""
        import open_clip

        return cls(open_clip.IMAGENET_CLASSNAMES)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels."""
        return tuple(label.name for label in self.entries)

    @cached_property
    def parents(self) -> dict[str, str]:
        """The parent of each label that has one."""
        return {label.name: label.parent for label in self.entries if label.parent}

    def lineage(self, label: str) -> tuple[str, ...]:
        """A label, its parent, the parent of that, and so on.

        >>> Vocabulary([Label("cat", parent="animal"), "mug"]).lineage("cat")
        ('cat', 'animal')
        """
        line = [label]
        while parent := self.parents.get(line[-1]):
            if parent in line:
                raise VocabularyError(f"{' < '.join([*line, parent])}: a label cannot be its own ancestor")
            line.append(parent)
        return tuple(line)

    def without(self, labels: Iterable[str]) -> Vocabulary:
        """The vocabulary without some labels; their children lose their parent.

        >>> Vocabulary(["cat", "dog", "mug"]).without(["dog"]).labels
        ('cat', 'mug')
        """
        removed = set(labels)
        kept = (label for label in self.entries if label.name not in removed)
        entries = tuple(replace(label, parent="") if label.parent in removed else label for label in kept)
        return replace(self, entries=entries)

    def _repr_html_(self) -> str:
        labels = f"{len(self.labels):,} label{'' if len(self.labels) == 1 else 's'}: {listing(self.labels, most=40)}"
        rows = [("label", "parent"), *((label.name, label.parent) for label in self.entries if label.parent)]
        return figure(None, "", labels, rows)

    @property
    def digest(self) -> str:
        """SHA-256 of the labels, templates and negatives."""
        content: list[object] = [self.labels, self.templates]
        details = [astuple(label) for label in self.entries if label != Label(label.name)]
        if details or self.negatives:
            content += [details, self.negatives]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


Labels = Vocabulary | Sequence[str | Label] | str | os.PathLike[str]


def _entries(entries: Iterable[str | Label]) -> dict[str, Label]:
    if isinstance(entries, str | bytes | dict) or not isinstance(entries, Iterable):
        raise VocabularyError(f"the labels are {entries!r}; a list of texts or of segzs.Label(...) is expected")
    labels: dict[str, Label] = {}
    for entry in entries:
        label = entry if isinstance(entry, Label) else Label(entry)
        if labels.setdefault(label.name, label) != label:
            raise VocabularyError(f"{label.name!r} is listed twice with different details; list each label once")
    if not labels:
        raise VocabularyError("there are no labels; at least one is expected")
    return labels


def _with_parents(labels: dict[str, Label]) -> tuple[Label, ...]:
    parents = (label.parent for label in labels.values() if label.parent)
    return tuple((labels | {name: Label(name) for name in parents if name not in labels}).values())

"""Labels as users give them: lists, text, files and built-in lists, with what else is known of each."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from segzs.errors import VocabularyError
from segzs.segments import UNKNOWN
from segzs.settings import PACKAGE

BUILT_IN = ("imagenet", "coco", "ade20k", "everyday")
LONG_NAMES, ALIKE = ("imagenet", "ade20k", "everyday"), 0.85
"""Lists whose names no label resembles so much, as cocoa does coco."""
SUFFIXES = (".txt", ".json", ".csv", ".yaml", ".yml")
HEADERS = ("label", "labels", "name", "names", "class", "classes", "category", "categories")
TOP = ("labels", "templates", "negatives")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SURROGATES = re.compile(r"\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}")


@dataclass(frozen=True)
class Label:
    """A label and what is known of it.

    ``synonyms`` are other words for it, and ``descriptions`` whole sentences about how it looks, which no template is
    put around. ``templates`` are asked for it instead of the vocabulary's. ``parent`` is the label above it, as
    "animal" is above "cat". ``negatives`` are what it is often taken for: they count as "unknown".

    >>> Label("cat", synonyms=("kitten",), parent="animal").parent
    'animal'
    """

    name: str
    synonyms: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    parent: str = ""
    negatives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_label(self.name)
        for name in ("synonyms", "descriptions", "templates", "negatives"):
            texts = texts_of(getattr(self, name), name)
            object.__setattr__(self, name, texts)
            if any(not text.strip() for text in texts):
                raise VocabularyError(f"an empty text stands among the {name} of {self.name!r}; words are expected")
        check_templates(self.templates)
        if not isinstance(self.parent, str):
            raise VocabularyError(f"the parent of {self.name!r} is {self.parent!r}; a label is expected")

    @property
    def is_plain(self) -> bool:
        """Whether nothing but its name is known."""
        return self == Label(self.name)

    @property
    def asked(self) -> Label | None:
        """What of it changes the sentences that it is asked for in; None where nothing does."""
        asked = Label(self.name, self.synonyms, self.descriptions, self.templates)
        return None if asked.is_plain else asked


@dataclass(frozen=True)
class LabelList:
    """What a user gave: labels, sentences and negatives for all of them, and where in a file the labels stand."""

    labels: tuple[Label, ...]
    templates: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict, compare=False)


def label_list(labels: LabelList | str | os.PathLike[str] | Iterable[str | Label]) -> LabelList:
    """Labels from a list, from comma-separated text, from the name of a built-in list, or from a file.

    Of lists and text, labels are stripped, empty ones are left out and repeated ones count once.

    Raises:
        VocabularyError: something is no label, or a file cannot be read or repeats itself; says on which line.

    >>> [label.name for label in label_list("cat, dog, cat").labels]
    ['cat', 'dog']
    >>> len(label_list("coco").labels), len(label_list(["coco"]).labels)
    (80, 1)
    """
    if isinstance(labels, LabelList):
        return labels
    if isinstance(labels, str) and labels.strip() in BUILT_IN:
        return LabelList(_unique(_built_in(labels.strip())))
    if isinstance(labels, os.PathLike) or (isinstance(labels, str) and _is_file(labels)):
        return _read(Path(labels))
    if isinstance(labels, str):
        _check_alone(labels.strip())
    return LabelList(_unique(_split(labels) if isinstance(labels, str) else labels))


def check_label(label: Any) -> None:
    """Raise `VocabularyError` unless it is a text that can be a name."""
    if not isinstance(label, str):
        raise VocabularyError(f"{label!r} is not a label; words or a sentence are expected")
    if not label.strip():
        raise VocabularyError(f"{label!r} is not a label; words are expected")
    if label == UNKNOWN:
        raise VocabularyError(f"{UNKNOWN!r} is the answer where no label fits; it cannot be a label itself")


def named(text: Any) -> str:
    """A text as the name of a label: without the spaces around it, or a `VocabularyError`.

    >>> named(" coffee  mug ")
    'coffee mug'
    """
    check_label(text)
    return _stripped(text)


def check_templates(templates: Iterable[str]) -> None:
    """Raise `VocabularyError` unless each has one ``{}``."""
    for template in templates:
        if template.count("{}") != 1:
            raise VocabularyError(f"the template {template!r} must have {{}} once, where the label goes")


def texts_of(values: Any, what: str) -> tuple[str, ...]:
    """A tuple of texts, or a `VocabularyError` that calls them ``what``."""
    if isinstance(values, str | bytes | None) or not isinstance(values, Iterable):
        raise VocabularyError(f"the {what} are {values!r}; a list of words or sentences is expected")
    texts = tuple(values)
    if strange := [text for text in texts if not isinstance(text, str)]:
        raise VocabularyError(f"{strange[0]!r} is not a {what[:-1]}; words or a sentence are expected")
    return texts


def _stripped(text: str) -> str:
    return " ".join(text.split())


def _unique(labels: Any) -> tuple[Label, ...]:
    """Labels of a list, stripped, without the empty ones, each once."""
    if isinstance(labels, Mapping) and any(isinstance(known, Mapping | list | tuple) for known in labels.values()):
        raise VocabularyError(
            "the labels are a mapping to details, which a YAML or JSON file may hold; here a list is expected, where "
            "segzs.clip.labels.Label(...) says more of a label than its name"
        )
    if isinstance(labels, bytes | None) or not isinstance(labels, Iterable):
        raise VocabularyError(f"the labels are {labels!r}; a list of words or sentences is expected")
    found: dict[str, Label] = {}
    for label in labels:
        if isinstance(label, Mapping):
            raise VocabularyError(f"{label!r} is not a label; words or segzs.clip.labels.Label(...) are expected")
        if isinstance(label, str):
            if not (label := _stripped(label)):
                continue
            label = Label(label)
        elif not isinstance(label, Label):
            check_label(label)
        found.setdefault(label.name, label)
    return tuple(found.values())


def _split(text: str) -> list[str]:
    """Comma-separated labels; one that has a comma itself stands in double quotes."""
    return next(csv.reader([_stripped(text)], skipinitialspace=True), [])


def _check_alone(text: str) -> None:
    """Raise `VocabularyError` where the one label that a text is was meant for something else."""
    if os.sep in text and Path(text).is_dir():
        raise VocabularyError(f"{text} is a folder; a file of labels, or labels separated by commas, are expected")
    if "," not in text and (near := get_close_matches(text, LONG_NAMES, 1, ALIKE)):
        raise VocabularyError(f"{text!r} is no list; did you mean {near[0]!r}? As a label of its own, give [{text!r}]")


def _built_in(name: str) -> Iterable[str]:
    if name == "imagenet":
        import open_clip

        return open_clip.IMAGENET_CLASSNAMES
    lines = (PACKAGE / "clip" / f"{name}.txt").read_text("utf-8").splitlines()
    return (line for line in lines if not line.startswith("#"))


def _is_file(text: str) -> bool:
    if Path(text).suffix.lower() in SUFFIXES:
        return True
    try:
        return Path(text).is_file()
    except OSError:
        return False


def _read(path: Path) -> LabelList:
    kind = path.suffix.lower()
    try:
        text = path.read_text("utf-8-sig")
        if kind in (".json", ".yaml", ".yml"):
            return _Reader(path).listing(_json_node(text) if kind == ".json" else _yaml_node(text))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        if isinstance(error, VocabularyError):
            raise
        raise VocabularyError(f"the labels cannot be read from {path}: {error}") from error
    rows = _csv_rows(path, text) if kind == ".csv" else enumerate(text.splitlines(), 1)
    stripped = ((number, _stripped(row)) for number, row in rows)
    kept = [(number, row) for number, row in stripped if row and not (kind != ".csv" and row.startswith("#"))]
    return _Reader(path).collected((_at(path, number, Label, row), number) for number, row in kept)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, str]]:
    lines = ("" if line.strip().startswith("#") else line.strip() for line in text.splitlines())
    reader = csv.reader(lines, skipinitialspace=True)
    rows = [(reader.line_num, row) for row in reader if any(row)]
    if len(rows) > 1:
        _check_column(path, rows)
    yield from ((number, label) for number, row in rows for label in row)


def _check_column(path: Path, rows: list[tuple[int, list[str]]]) -> None:
    """Raise `VocabularyError` unless the rows have one label each, and are no table."""
    for number, row in rows:
        if len([cell for cell in row if cell]) > 1:
            raise VocabularyError(
                f"{path}, line {number}: {len(row)} columns; a label a line, or all labels in one line, are expected"
            )
    number, (title, *_) = rows[0]
    if title.lower() in HEADERS:
        raise VocabularyError(f"{path}, line {number}: {title!r} is the header of a table; leave it out")


def _yaml_node(text: str) -> Any:
    yaml.load(text, LOADER)  # tags that ask for more than plain values are refused here
    return yaml.compose(text, LOADER)


def _json_node(text: str) -> Any:
    """JSON as YAML's nodes, which know their lines: valid JSON has tabs only where spaces may stand."""
    json.loads(text)
    return yaml.compose(SURROGATES.sub(lambda pair: json.loads(f'"{pair[0]}"'), text).replace("\t", " "), LOADER)


def _at(path: Path, line: int, make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What ``make`` makes; its complaint says the line."""
    try:
        return make(*args, **kwargs)
    except VocabularyError as error:
        raise VocabularyError(f"{path}, line {line}: {error}") from error


@dataclass(frozen=True)
class _Reader:
    """Labels from the nodes of a YAML or JSON file."""

    path: Path

    def listing(self, root: Any) -> LabelList:
        top: dict[str, tuple[Any, Any]] = {}
        if isinstance(root, yaml.MappingNode):
            top = self.entries(root, "the file")
            node = next((top[key][1] for key in ("labels", "names") if key in top), None)
            if "labels" in top:
                self.check_keys(top, TOP, "a vocabulary")
        else:
            node = root
        if not isinstance(node, yaml.SequenceNode | yaml.MappingNode):
            raise VocabularyError(
                f"{self.path} holds no list of labels; a list, or one under 'labels' or 'names', is expected"
            )
        templates = self.texts(top["templates"][1], "templates") if "templates" in top else ()
        if templates:
            _at(self.path, _line(top["templates"][1]), check_templates, templates)
        negatives = self.texts(top["negatives"][1], "negatives") if "negatives" in top else ()
        found = self.collected(self.labels(node), templates, negatives)
        if both := found.places.keys() & negatives:
            self.fail(top["negatives"][0], f"{min(both)!r} is a label, and cannot be a negative of all of them")
        return found

    def labels(self, node: Any) -> Iterator[tuple[Label, int]]:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                if isinstance(item, yaml.MappingNode):
                    entries = self.entries(item, "a label")
                    if "name" not in entries:
                        self.fail(item, "a label with details needs its 'name'")
                    name = self.scalar(entries.pop("name")[1])
                    yield self.label(item, name, entries)
                else:
                    yield self.label(item, self.scalar(item), {})
            return
        for key, item in node.value:
            if isinstance(item, yaml.MappingNode):  # cat: {synonyms: [kitten]}
                yield self.label(key, self.scalar(key), self.entries(item, "a label"))
            elif self.scalar(item) is None:  # cat:
                yield self.label(key, self.scalar(key), {})
            else:  # 0: cat
                yield self.label(item, self.scalar(item), {})

    def label(self, node: Any, name: Any, entries: dict[str, tuple[Any, Any]]) -> tuple[Label, int]:
        known = tuple(each.name for each in fields(Label))[1:]
        self.check_keys(entries, known, "a label")
        details: dict[str, Any] = {key: self.texts(item, key) for key, (_, item) in entries.items() if key != "parent"}
        if "parent" in entries:
            node_above = entries["parent"][1]
            self.scalar(node_above)  # one, and no list
            (details["parent"],) = self.texts(node_above, "parents")
        name = _stripped(name) if isinstance(name, str) else name
        return _at(self.path, _line(node), Label, name, **details), _line(node)

    def collected(
        self, labels: Iterable[tuple[Label, int]], templates: tuple[str, ...] = (), negatives: tuple[str, ...] = ()
    ) -> LabelList:
        """Labels with their lines, each of which may be there once."""
        found: dict[str, tuple[Label, int]] = {}
        for label, line in labels:
            if label.name in found:
                first = found[label.name][1]
                raise VocabularyError(
                    f"{self.path}, line {line}: {label.name!r} stands in line {first} already; name each label once"
                )
            found[label.name] = label, line
        places = {name: f"{self.path}, line {line}" for name, (_, line) in found.items()}
        return LabelList(tuple(label for label, _ in found.values()), templates, negatives, places)

    def entries(self, node: Any, what: str) -> dict[str, tuple[Any, Any]]:
        found: dict[str, tuple[Any, Any]] = {}
        for key, item in node.value:
            name = str(self.scalar(key))
            if name in found:
                self.fail(key, f"{name!r} stands twice in {what}")
            found[name] = key, item
        return found

    def check_keys(self, entries: dict[str, tuple[Any, Any]], known: Iterable[str], what: str) -> None:
        for key, (node, _) in entries.items():
            if key not in known:
                self.fail(node, f"{key!r} says nothing of {what}; {', '.join(known)} do")

    def texts(self, node: Any, what: str) -> tuple[str, ...]:
        """A list of texts, or one text alone."""
        texts = []
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            text = self.scalar(item)
            if not isinstance(text, str) or not text.strip():
                self.fail(item, f"{text!r} is none of the {what}; words or a sentence are expected")
            texts.append(_stripped(text))
        return tuple(texts)

    def scalar(self, node: Any) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, f"a {node.id} stands where a text is expected")
        loader = yaml.SafeLoader("")
        return loader.construct_object(node)

    def fail(self, node: Any, what: str) -> None:
        raise VocabularyError(f"{self.path}, line {_line(node)}: {what}")


def _line(node: Any) -> int:
    return node.start_mark.line + 1

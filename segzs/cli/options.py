"""What parsed arguments ask for: prompts, options of everything mode, and what `segzs.load` is to load."""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzs.errors import ImageError, PromptError, VocabularyError
from segzs.prompts import Prompt

if TYPE_CHECKING:
    from segzs.clip.vocabulary import Vocabulary

BUILT_IN = ("coco", "imagenet", "ade20k", "everyday")
LABEL_FILES = (".txt", ".csv", ".json", ".yaml", ".yml")


def prompts_of(objects: Sequence[Sequence[tuple[str, Any]]]) -> list[Prompt]:
    """The prompts that --point, --box and --object spell.

    Raises:
        PromptError: an object has two boxes, nothing, or only negative points.
    """
    prompts = []
    for parts in objects:
        points = [value for kind, value in parts if kind == "point"]
        boxes = [value for kind, value in parts if kind == "box"]
        if not parts:
            raise PromptError("--object has neither a --point nor a --box after it")
        if len(boxes) > 1:
            raise PromptError("one object has two boxes; put --object between them to ask for two objects")
        positive = [sign for _, _, sign in points]
        prompts.append(Prompt([(x, y) for x, y, _ in points], positive, boxes[0] if boxes else None))
    return prompts


def generator_options(parsed: argparse.Namespace) -> dict[str, Any]:
    """The options of everything mode that were given."""
    thresholds = ("predicted_iou_threshold", "stability_score_threshold")
    names = ("points_per_side", *thresholds, "min_area", "max_masks", "adaptive", "tiles", "merge")
    return {name: getattr(parsed, name) for name in names if getattr(parsed, name, None) is not None}


def model_options(parsed: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `segzs.load`."""
    return classifier_options(parsed) | {name: getattr(parsed, name) for name in ("sam",) if hasattr(parsed, name)}


def classifier_options(parsed: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `load_classifier`."""
    from segzs.clip.regions import Naming

    own = ("model", "clip", "labels", "device", "dtype")
    options = {name: getattr(parsed, name) for name in own if hasattr(parsed, name)}
    if options.get("labels") is not None:
        options["labels"] = parse_labels(options["labels"])
    names = ("regions", "background", "margin", "scales", "templates", "weighting", "unknown")
    options["naming"] = Naming(**{name: getattr(parsed, name) for name in names if hasattr(parsed, name)})
    if getattr(parsed, "examples", None) is not None:
        options["examples"] = examples_of(parsed.examples)
    return options


def parse_labels(text: str) -> Vocabulary:
    """The vocabulary of --labels: a built-in list, a file, or labels separated by commas.

    A label that contains a comma is put in double quotes, and a single label with the name of a built-in list is
    followed by a comma.

    Raises:
        VocabularyError: there are no labels, or the text looks like a folder or a misspelt built-in list.

    >>> parse_labels('cat, "salt, coarse"').labels
    ('cat', 'salt, coarse')
    """
    from segzs.clip.vocabulary import Vocabulary

    text = " ".join(text.split())
    if text in BUILT_IN:
        return getattr(Vocabulary, text)()
    if Path(text).suffix.lower() in LABEL_FILES or os.path.isfile(text):
        return Vocabulary.read(text)
    if os.sep in text and os.path.isdir(text):
        raise VocabularyError(f"{text} is a folder; a file of labels, or labels separated by commas, are expected")
    if "," not in text and (similar := get_close_matches(text, [name for name in BUILT_IN if len(name) > 4], 1, 0.85)):
        raise VocabularyError(f"unknown list {text!r}; did you mean {similar[0]!r}? A single label ends with a comma")
    row = next(csv.reader([text], skipinitialspace=True), [])
    return Vocabulary([label for label in row if label.strip()])


def examples_of(place: str) -> str | dict[str, list[str]]:
    """A file of examples, or the pictures in the folders of a folder, under the folders' names.

    Raises:
        ImageError: a folder holds no pictures, or no folders.
    """
    if not Path(place).is_dir():
        return place
    from segzs.dataset.listing import list_images

    folders = [entry for entry in sorted(Path(place).iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        raise ImageError(f"{place} holds no folders; a folder of pictures for each label is expected")
    examples: dict[str, list[str]] = {}
    for folder in folders:
        examples.setdefault(folder.name.replace("_", " "), []).extend(
            str(folder / name) for name in list_images(folder).names
        )
    return examples

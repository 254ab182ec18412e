"""Requests and answers as plain values for JSON: prompts, masks and segments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from segzs.errors import AnnotationError, PromptError
from segzs.formats.annotations import rle_of
from segzs.image import Image
from segzs.masks import RLE
from segzs.prompts import Prompt
from segzs.segments import Name, Segment

RUNNERS_UP = 5
MAX_ITEMS = 1000
"""Prompts, masks or segments of one request."""
INVALID = (KeyError, TypeError, ValueError, ArithmeticError, AttributeError)


def parse_prompts(values: Any) -> list[Prompt]:
    """Prompts from ``[{"points": [[x, y], ...], "positive": [true, ...], "box": [x1, y1, x2, y2]}, ...]``.

    Raises:
        PromptError: the values have another form, or a prompt is empty.

    >>> parse_prompts([{"points": [[5, 7]]}])[0].points
    ((5.0, 7.0),)
    """
    prompts = []
    for value in _items(values, "prompts"):
        if not isinstance(value, Mapping) or not value.keys() <= {"points", "positive", "box"}:
            raise PromptError(
                f'the prompt is {str(value)[:80]}; {{"points": ..., "positive": ..., "box": ...}} is expected'
            )
        prompts.append(Prompt(value.get("points") or (), value.get("positive"), value.get("box")))
    return prompts


def parse_masks(values: Any, image: Image) -> list[RLE]:
    """Masks from ``[{"size": [height, width], "counts": "..."}, ...]``.

    Raises:
        AnnotationError: a mask is not RLE, or does not have the size of the image.
    """
    masks = []
    for index, value in enumerate(_items(values, "masks")):
        with _parsing(f"mask {index}", '{"size": [height, width], "counts": "..."}'):
            masks.append(rle_of(value, image))
    return masks


def parse_segments(values: Any, image: Image) -> list[Segment]:
    """Segments as `to_message` writes them; all but ``rle`` may be left out.

    Raises:
        AnnotationError: a segment has another form.
    """
    segments = []
    for index, value in enumerate(_items(values, "segments")):
        with _parsing(f"segment {index}", '{"rle": ..., "name": "...", "probability": 0.9}'):
            names = [{"name": value["name"], "probability": value.get("probability", 1.0)}] if value.get("name") else []
            ranked = tuple(
                Name(str(n["name"]), _share(n["probability"])) for n in [*names, *value.get("runners_up", ())]
            )
            rle = rle_of(value["rle"], image)
            predicted_iou, stability = (_finite(value.get(key, 1.0)) for key in ("predicted_iou", "stability_score"))
            segments.append(Segment(rle, predicted_iou, stability, ranked))
    return segments


def to_message(segment: Segment) -> dict[str, Any]:
    """A segment as plain values.

    >>> import numpy as np
    >>> to_message(Segment(RLE.encode(np.ones((2, 3), bool)), 0.9, 0.8, (Name("cat", 0.7),)))["name"]
    'cat'
    """
    return {
        "name": segment.name,
        "probability": round(float(segment.probability), 4),
        "runners_up": [
            {"name": name.label, "probability": round(float(name.probability), 4)}
            for name in segment.names[1 : 1 + RUNNERS_UP]
        ],
        "box": list(segment.box),
        "area": segment.area,
        "predicted_iou": round(float(segment.predicted_iou), 4),
        "stability_score": round(float(segment.stability_score), 4),
        "rle": segment.rle.coco(),
    }


def to_messages(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    """Segments as plain values."""
    return [to_message(segment) for segment in segments]


def _items(values: Any, what: str) -> list[Any]:
    if not isinstance(values, list) or len(values) > MAX_ITEMS:
        given = f"{len(values)} of them" if isinstance(values, list) else type(values).__name__
        raise PromptError(f"{what} is {given}; a list of at most {MAX_ITEMS} is expected")
    return values


def _finite(value: Any) -> float:
    """A score of a model, which is not exactly from 0 to 1."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a score is {value!r}; a finite number is expected")
    return number


def _share(value: Any) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"a probability is {value!r}; a number from 0 to 1 is expected")
    return number


@contextmanager
def _parsing(what: str, expected: str) -> Any:
    try:
        yield
    except INVALID as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)[:200]
        raise AnnotationError(f"{what}: {reason}; {expected} is expected") from error

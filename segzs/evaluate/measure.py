"""Segmenters on the truth: a row of figures for each object, which reports and comparisons are made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from segzs.checks import check_number
from segzs.errors import AnnotationError, UsageError
from segzs.evaluate.clicks import clicks_to, iou_of_boxes, iou_of_clicks
from segzs.evaluate.naming import Judged, features_of, judge, removed_labels, unknown_scores
from segzs.evaluate.recall import THRESHOLDS, matches
from segzs.evaluate.truth import Picture, Truth
from segzs.image import Image
from segzs.masks import RLE
from segzs.sam.encode import EncodedImage
from segzs.sam.mask_generator import GeneratorOptions
from segzs.segmenter import Segmenter

WHAT = ("masks", "everything", "names")
CLICKS_SHOWN = (1, 3, 5)
GOALS = (85, 90)
SIZES = {"small": 32**2, "medium": 96**2, "large": float("inf")}
"""COCO's sizes of objects, by their pixels."""

Values = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        what: "masks" from clicks and boxes, "everything" mode, "names" on the true masks; any of them.
        clicks: after so many clicks an object counts as never reached.
        removed: the share of the labels that is left out of the list to measure "unknown"; 0 leaves that out.
        seed: of what is drawn at random.
        grid: options of `Segmenter.everything`.

    Raises:
        UsageError: one of them is out of range, or asks for nothing.
    """

    what: tuple[str, ...] = WHAT
    clicks: int = 20
    removed: float = 0.5
    seed: int = 0
    grid: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if strange := [part for part in self.what if part not in WHAT] or not self.what:
            raise UsageError(f"what to measure is {strange or 'nothing'}; some of {', '.join(WHAT)} are expected")
        check = partial(check_number, error=UsageError)
        check("clicks", self.clicks, "a whole number from 1 to 100", 1, 100, whole=True)
        check("removed", self.removed, "a share of the labels from 0 to below 1", 0, 0.99)
        check("seed", self.seed, "a whole number from 0 on", 0, whole=True)
        GeneratorOptions(**self.grid)


@dataclass(frozen=True)
class Row:
    """One object: where it is from, and its figures by name; what was not measured is not among them.

    ``answer`` and ``best`` are the name that it got on its true mask, and the most probable label.
    """

    picture: int
    source: str
    name: str
    area: int
    values: Values
    answer: str = ""
    best: str = ""

    @property
    def size(self) -> str:
        """Its size in COCO's words; empty for a whole picture."""
        return next(size for size, limit in SIZES.items() if self.area < limit) if self.area else ""


def measure(
    segmenters: Sequence[Segmenter],
    truth: Truth,
    plan: Plan = Plan(),
    progress: Callable[[float], object] | None = None,
) -> list[list[Row]]:
    """For each of several segmenters a row an object, the same objects in the same order.

    ImageList are encoded once for all that have the same SAM. Objects whose names are not among a segmenter's labels
    have no figures of names.

    Raises:
        ImageError: a picture cannot be read.
        AnnotationError: it is not the one that was annotated, or there are no masks to measure.
        VocabularyError: no name of the truth is a label.
    """
    if plan.what != ("names",) and not all(picture.masks for picture in truth.pictures):
        raise AnnotationError("pictures of classes have no masks; only 'names' can be measured on them")
    cache = segmenters[0].cache
    measured = [segmenter.with_cache(cache) for segmenter in segmenters]
    if plan.what != ("masks",):
        for segmenter in measured:
            truth.check_labels(segmenter.vocabulary.labels)
    parts = [_with_fewer_labels(segmenter, plan) for segmenter in measured]
    rows: list[list[Row]] = [[] for _ in measured]
    for number, picture in enumerate(truth.pictures):
        image = picture.read()
        for found, whole, part in zip(rows, measured, parts, strict=True):
            found += _rows(whole, part, number, picture, image, plan)
        if progress is not None:
            progress((number + 1) / len(truth.pictures))
    return rows


def measure_masks(segmenter: Segmenter, photo: EncodedImage, truths: Sequence[RLE], clicks: int = 20) -> list[Values]:
    """The figures of objects from clicks and from boxes."""
    values: list[Values] = [{} for _ in truths]
    ious = iou_of_clicks(segmenter.sam, photo, truths, clicks=clicks)
    for shown in CLICKS_SHOWN:
        if shown <= clicks:
            _add(values, f"iou_{shown}", ious[:, shown - 1])
    _add(values, "iou_box", iou_of_boxes(segmenter.sam, photo, truths))
    for goal in GOALS:
        _add(values, f"clicks_{goal}", clicks_to(ious, goal / 100))
    return values


def measure_everything(
    segmenter: Segmenter, photo: EncodedImage, picture: Picture, grid: Mapping[str, Any]
) -> list[Values]:
    """The figures of objects from what everything mode finds, and from what it calls that."""
    values: list[Values] = [{} for _ in picture.masks]
    found = segmenter.everything(photo, **grid)
    owners = matches(picture.masks, [s.rle for s in found], [s.predicted_iou for s in found])
    _add(values, "average_recall", (owners >= 0).mean(0))
    _add(values, "recall_75", owners[np.isclose(THRESHOLDS, 0.75).argmax()] >= 0)
    for value, owner, name in zip(values, owners[0], picture.names, strict=True):
        if owner >= 0 and (judged := judge(found[owner].names, name, segmenter.vocabulary)) is not None:
            value |= _rights(judged, "own_")
    return values


def _rows(
    whole: Segmenter, part: Segmenter | None, number: int, picture: Picture, image: Image, plan: Plan
) -> list[Row]:
    values: list[Values] = [{} for _ in picture.names]
    judged: list[Judged | None] = [None for _ in picture.names]
    if "masks" in plan.what:
        _join(values, measure_masks(whole, whole.encode(image), picture.masks, plan.clicks))
    if "everything" in plan.what:
        _join(values, measure_everything(whole, whole.encode(image), picture, plan.grid))
    if "names" in plan.what:
        features = features_of(whole, image, picture.masks)
        ranked = whole.classifier.names(features)
        judged = [judge(names, name, whole.vocabulary) for names, name in zip(ranked, picture.names, strict=True)]
        for value, one in zip(values, judged, strict=True):
            if one is not None:
                value |= {**_rights(one, ""), "confidence": one.confidence}
        if part is not None and (scores := unknown_scores(part, features)) is not None:
            _add(values, "unknown_score", scores)
            _add(values, "removed", [name not in part.vocabulary.labels for name in picture.names])
    areas = [mask.area for mask in picture.masks] or [0] * len(picture.names)
    return [
        Row(number, picture.source, name, area, value, one.answer if one else "", one.best if one else "")
        for name, area, value, one in zip(picture.names, areas, values, judged, strict=True)
    ]


def _with_fewer_labels(segmenter: Segmenter, plan: Plan) -> Segmenter | None:
    removed = removed_labels(segmenter.vocabulary.labels, plan.removed, plan.seed) if "names" in plan.what else ()
    return segmenter.with_labels(segmenter.vocabulary.without(removed)) if removed else None


def _rights(judged: Judged, prefix: str) -> Values:
    figures = {"top_1": judged.first, "top_5": judged.among_five, "answered": judged.answered}
    return {prefix + figure: float(right) for figure, right in figures.items()}


def _add(values: Sequence[Values], name: str, figures: Sequence[float] | np.ndarray) -> None:
    for value, figure in zip(values, figures, strict=True):
        value[name] = float(figure)


def _join(values: Sequence[Values], others: Sequence[Values]) -> None:
    for value, other in zip(values, others, strict=True):
        value |= other

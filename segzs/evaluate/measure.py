"""Segmenters on the truth: a row of values for each object, which reports and comparisons are made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from segzs.checks import check_number
from segzs.errors import AnnotationError, ImageError, SegzsWarning, UsageError, warn
from segzs.evaluate.clicks import clicks_to, iou_of_boxes, iou_of_clicks
from segzs.evaluate.naming import Judged, features_of, judge, removed_labels, unknown_scores
from segzs.evaluate.recall import THRESHOLDS, matches
from segzs.evaluate.truth import Truth, names_of
from segzs.formats.annotations import ImageAnnotations
from segzs.image import Image
from segzs.masks import RLE
from segzs.sam.encode import EncodedImage
from segzs.sam.mask_generator import GeneratorOptions
from segzs.segmenter import Segmenter
from segzs.segments import Segment

WHAT = ("masks", "everything", "names")
CLICKS_REPORTED = (1, 3, 5)
GOALS = (85, 90)
SIZES = {"small": 32**2, "medium": 96**2, "large": float("inf")}
"""COCO's sizes of objects: the number of pixels is smaller."""

Values = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        what: any of "masks" from clicks and boxes, "everything" mode, and "names" of the true masks.
        clicks: clicks on an object at most; an object that does not reach an IoU counts with all of them.
        removed: the share of the labels that is removed to measure "unknown"; with 0 it is not measured.
        seed: of the random removal.
        grid: options of `Segmenter.everything`.

    Raises:
        UsageError: an argument is out of range.
    """

    what: tuple[str, ...] = WHAT
    clicks: int = 10
    removed: float = 0.5
    seed: int = 0
    grid: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [part for part in self.what if part not in WHAT]
        if unknown or not self.what:
            raise UsageError(f"cannot measure {', '.join(unknown) or 'nothing'}; choose from {', '.join(WHAT)}")
        check = partial(check_number, error=UsageError)
        check("clicks", self.clicks, "an integer from 1 to 100", 1, 100, whole=True)
        check("removed", self.removed, "a share of the labels from 0 to below 1", 0, 0.99)
        check("seed", self.seed, "an integer from 0", 0, whole=True)
        GeneratorOptions(**self.grid)


@dataclass(frozen=True)
class Row:
    """One object and its measured values by name.

    ``image`` is the index of the image, ``name`` the right name, ``area`` the pixels of the mask (0 for a whole image).
    ``answer`` is the name of the true mask, ``best`` the most probable label.
    """

    image: int
    source: str
    name: str
    area: int
    values: Values
    answer: str = ""
    best: str = ""

    @property
    def size(self) -> str:
        """The size in COCO's words; empty for a whole image."""
        return next(size for size, limit in SIZES.items() if self.area < limit) if self.area else ""


def measure(
    segmenters: Sequence[Segmenter],
    truth: Truth,
    plan: Plan = Plan(),
    progress: Callable[[float], object] | None = None,
) -> list[list[Row]]:
    """For each segmenter a row an object, for all segmenters the same objects in the same order.

    An image is encoded once for all segmenters with the same SAM. Objects whose names are not among the labels of a
    segmenter have no values of names. ``progress`` is called with the share of the objects that is done, from 0 to 1.

    Raises:
        AnnotationError: an image is not the annotated one, or there are no masks to measure.
        ImageError: no image can be read.
        VocabularyError: no name of the truth is a label.

    Warns:
        SegzsWarning: an image cannot be read and is left out.
    """
    if plan.what != ("names",) and any(one.label for one in truth.images):
        raise AnnotationError("images of a folder of classes have no masks; measure 'names' only")
    cache = segmenters[0].cache
    shared = [segmenter.with_cache(cache) for segmenter in segmenters]
    if plan.what != ("masks",):
        for segmenter in shared:
            truth.check_labels(segmenter.vocabulary.labels)
    reduced = [_with_fewer_labels(segmenter, plan) for segmenter in shared]
    rows: list[list[Row]] = [[] for _ in shared]
    error: ImageError | None = None
    objects = 0
    for index, one in enumerate(truth.images):
        try:
            image = truth.read(one)
        except ImageError as unreadable:
            error = unreadable
            warn(f"{error}; the image is left out", SegzsWarning)
        else:
            for measured, whole, part in zip(rows, shared, reduced, strict=True):
                measured += _rows(whole, part, index, one, image, plan)
        objects += len(names_of(one))
        if progress is not None:
            progress(objects / truth.objects)
    if error and not rows[0]:
        raise error
    return rows


def measure_masks(segmenter: Segmenter, encoded: EncodedImage, truths: Sequence[RLE], clicks: int = 10) -> list[Values]:
    """The values of objects from clicks and from boxes."""
    values: list[Values] = [{} for _ in truths]
    ious = iou_of_clicks(segmenter.sam, encoded, truths, clicks=clicks)
    for count in CLICKS_REPORTED:
        if count <= clicks:
            _add(values, f"iou_{count}", ious[:, count - 1])
    _add(values, "iou_box", iou_of_boxes(segmenter, encoded, truths))
    for goal in GOALS:
        _add(values, f"clicks_{goal}", clicks_to(ious, goal / 100))
    return values


def measure_everything(
    segmenter: Segmenter, encoded: EncodedImage, truths: Sequence[Segment], grid: Mapping[str, Any]
) -> list[Values]:
    """The values of objects from the masks of everything mode, and from their names."""
    values: list[Values] = [{} for _ in truths]
    segments = segmenter.everything(encoded, **grid)
    owners = matches([s.rle for s in truths], [s.rle for s in segments], [s.predicted_iou for s in segments])
    _add(values, "average_recall", (owners >= 0).mean(0))
    _add(values, "recall_75", owners[np.isclose(THRESHOLDS, 0.75).argmax()] >= 0)
    for value, owner, truth in zip(values, owners[0], truths, strict=True):
        if owner >= 0 and (judged := judge(segments[owner].names, truth.name, segmenter.vocabulary)) is not None:
            value |= _rights(judged, "own_")
    return values


def _rows(
    whole: Segmenter, part: Segmenter | None, index: int, truth: ImageAnnotations, image: Image, plan: Plan
) -> list[Row]:
    names, masks = names_of(truth), [segment.rle for segment in truth.segments]
    values: list[Values] = [{} for _ in names]
    judged: list[Judged | None] = [None for _ in names]
    if "masks" in plan.what:
        _join(values, measure_masks(whole, whole.encode(image), masks, plan.clicks))
    if "everything" in plan.what:
        _join(values, measure_everything(whole, whole.encode(image), truth.segments, plan.grid))
    if "names" in plan.what:
        features = features_of(whole, image, masks)
        ranked = whole.classifier.names(features)
        judged = [judge(*pair, whole.vocabulary) for pair in zip(ranked, names, strict=True)]
        for value, one in zip(values, judged, strict=True):
            if one is not None:
                value |= {**_rights(one, ""), "confidence": one.confidence}
        if part is not None and (scores := unknown_scores(part, features)) is not None:
            _add(values, "unknown_score", scores)
            _add(values, "removed", [name not in part.vocabulary.labels for name in names])
    areas = [mask.area for mask in masks] or [0]
    return [
        Row(index, truth.source, name, area, value, one.answer if one else "", one.best if one else "")
        for name, area, value, one in zip(names, areas, values, judged, strict=True)
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

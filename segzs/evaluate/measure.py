"""Measure a segmenter on annotated images: a row of values for each object, which a report summarises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from segzs.checks import check_number
from segzs.errors import AnnotationError, ImageError, SegzsWarning, UsageError, warn
from segzs.evaluate.clicks import clicks_to, iou_of_boxes, iou_of_clicks
from segzs.evaluate.naming import Judged, judge, removed_labels, unknown_scores
from segzs.evaluate.recall import THRESHOLDS, matches
from segzs.evaluate.truth import Truth, names_of
from segzs.formats.annotations import ImageAnnotations
from segzs.image import Image
from segzs.sam.encode import EncodedImage
from segzs.sam.mask_generator import GeneratorOptions
from segzs.segmenter import Segmenter

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
        check_number("clicks", self.clicks, "an integer from 1 to 100", 1, 100, whole=True, error=UsageError)
        check_number("removed", self.removed, "a share of the labels from 0 to below 1", 0, 0.99, error=UsageError)
        check_number("seed", self.seed, "an integer from 0", 0, whole=True, error=UsageError)
        GeneratorOptions(**self.grid)


@dataclass(frozen=True)
class Row:
    """One object and its measured values by name.

    ``image`` is the index of the image, ``name`` the right name, ``area`` the pixels of the mask (0 for a whole image),
    ``best`` the most probable label.
    """

    image: int
    source: str
    name: str
    area: int
    values: Values
    best: str = ""

    @property
    def size(self) -> str:
        """The size in COCO's words; empty for a whole image."""
        return next(size for size, limit in SIZES.items() if self.area < limit) if self.area else ""


def measure(
    segmenter: Segmenter, truth: Truth, plan: Plan = Plan(), progress: Callable[[float], object] | None = None
) -> list[Row]:
    """A row for each object.

    Objects whose names are not among the segmenter's labels have no values of names.

    Args:
        segmenter: the models and labels.
        truth: the annotated images, from `read_coco` or `read_classes`.
        plan: what to measure.
        progress: called with the share of the objects that is done, from 0 to 1.

    Raises:
        AnnotationError: an image is not the annotated one, or there are no masks to measure.
        ImageError: no image can be read.
        VocabularyError: no name of the truth is a label.

    Warns:
        SegzsWarning: an image cannot be read and is left out.
    """
    if plan.what != ("names",) and any(one.label for one in truth.images):
        raise AnnotationError("images of a folder of classes have no masks; measure 'names' only")
    if plan.what != ("masks",):
        truth.check_labels(segmenter.vocabulary.labels)
    reduced = _with_fewer_labels(segmenter, plan)
    rows: list[Row] = []
    error: ImageError | None = None
    done = 0
    for index, one in enumerate(truth.images):
        try:
            rows += _rows(segmenter, reduced, index, one, truth.read(one), plan)
        except ImageError as unreadable:
            error = unreadable
            warn(f"{error}; the image is left out", SegzsWarning)
        done += len(names_of(one))
        if progress is not None:
            progress(done / truth.objects)
    if error and not rows:
        raise error
    return rows


@torch.inference_mode()
def _rows(
    segmenter: Segmenter, reduced: Segmenter | None, index: int, truth: ImageAnnotations, image: Image, plan: Plan
) -> list[Row]:
    names = names_of(truth)
    values: list[Values] = [{} for _ in names]
    best = [""] * len(names)
    if "masks" in plan.what:
        _measure_masks(values, segmenter, segmenter.encode(image), truth, plan.clicks)
    if "everything" in plan.what:
        _measure_everything(values, segmenter, segmenter.encode(image), truth, plan.grid)
    if "names" in plan.what:
        masks, encoder = [segment.rle for segment in truth.segments], segmenter.region_encoder
        features = encoder.encode(image, masks) if masks else encoder.encode_whole(image)
        ranked = segmenter.classifier.names(features)
        for number, (answers, name) in enumerate(zip(ranked, names, strict=True)):
            if (judged := judge(answers, name, segmenter.vocabulary)) is not None:
                values[number] |= {**_rights(judged), "confidence": judged.confidence}
                best[number] = judged.best
        if reduced is not None and (scores := unknown_scores(reduced, features)) is not None:
            _add(values, "unknown_score", scores)
            _add(values, "removed", [name not in reduced.vocabulary.labels for name in names])
    areas = [segment.area for segment in truth.segments] or [0]
    return [Row(index, truth.source, *row) for row in zip(names, areas, values, best, strict=True)]


def _measure_masks(
    values: Sequence[Values], segmenter: Segmenter, encoded: EncodedImage, truth: ImageAnnotations, clicks: int
) -> None:
    """Add the values of objects from clicks and from boxes."""
    truths = [segment.rle for segment in truth.segments]
    ious = iou_of_clicks(segmenter.sam, encoded, truths, clicks=clicks)
    for count in CLICKS_REPORTED:
        if count <= clicks:
            _add(values, f"iou_{count}", ious[:, count - 1])
    _add(values, "iou_box", iou_of_boxes(segmenter, encoded, truths))
    for goal in GOALS:
        _add(values, f"clicks_{goal}", clicks_to(ious, goal / 100))


def _measure_everything(
    values: Sequence[Values],
    segmenter: Segmenter,
    encoded: EncodedImage,
    truth: ImageAnnotations,
    grid: Mapping[str, Any],
) -> None:
    """Add the values of objects from the masks of everything mode, and from their names."""
    segments = segmenter.everything(encoded, **grid)
    truths, masks = ([segment.rle for segment in some] for some in (truth.segments, segments))
    owners = matches(truths, masks, [segment.predicted_iou for segment in segments])
    _add(values, "average_recall", (owners >= 0).mean(0))
    _add(values, "recall_75", owners[np.isclose(THRESHOLDS, 0.75).argmax()] >= 0)
    for value, owner, segment in zip(values, owners[0], truth.segments, strict=True):
        if owner >= 0 and (judged := judge(segments[owner].names, segment.name, segmenter.vocabulary)) is not None:
            value |= {f"own_{figure}": right for figure, right in _rights(judged).items()}


def _with_fewer_labels(segmenter: Segmenter, plan: Plan) -> Segmenter | None:
    removed = removed_labels(segmenter.vocabulary.labels, plan.removed, plan.seed) if "names" in plan.what else ()
    return segmenter.with_labels(segmenter.vocabulary.without(removed)) if removed else None


def _rights(judged: Judged) -> Values:
    return {figure: float(asdict(judged)[figure]) for figure in ("top_1", "top_5", "answered")}


def _add(values: Sequence[Values], name: str, figures: Sequence[float] | np.ndarray) -> None:
    for value, figure in zip(values, figures, strict=True):
        value[name] = float(figure)

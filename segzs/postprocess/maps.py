"""Semantic and panoptic maps: a label for every pixel, and segments that do not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import PIL.Image

from segzs.checks import check_number
from segzs.draw import Colour, colours, overlay
from segzs.errors import SegzsError
from segzs.html import figure, listing
from segzs.image import Image
from segzs.masks import RLE
from segzs.postprocess.merging import has_name, owners_of_nested, score
from segzs.segments import UNKNOWN, Name, Segment, Segments, text_table, to_png
from segzs.values import Value, read_only

MIN_AREA = 0.0005
"""As a share of the image. Smaller remains of segments are dropped."""
MIN_CONFIDENCE = 0.9
"""Outside of named masks, a label with a lower probability is "unknown". Cells are wrong more often than masks."""
SMALL_MASK_BONUS = 1e-3
"""Added to the score of a small mask, to decide between masks with equal scores."""


@dataclass(frozen=True, eq=False, repr=False)
class SemanticMap(Value):
    """The label of every pixel of one image; a notebook displays it as an image with a caption for each label.

    ``classes`` (height, width) holds indices into ``labels``, of which the first is "unknown": uint16, or int32 for
    more than 65,535 labels; read-only. ``scores`` is float32 (height, width), from 0 to 1: the label's probability, for
    masks times their predicted IoU; 0 where the label is "unknown". ``model`` names the models that made the map.
    """

    image: Image
    labels: tuple[str, ...]
    classes: np.ndarray
    scores: np.ndarray
    model: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", read_only(self.classes))
        object.__setattr__(self, "scores", read_only(self.scores))

    def __repr__(self) -> str:
        shares = ", ".join(f"{label} {_percent(share)}" for label, share in list(self.shares.items())[:8])
        return f"SemanticMap({self.image!r}: {shares}{', ...' if len(self.shares) > 8 else ''})"

    @cached_property
    def shares(self) -> dict[str, float]:
        """The share of the image of each label that occurs, largest first."""
        numbers, counts = np.unique(self.classes, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {self.labels[numbers[i]]: float(counts[i]) / self.classes.size for i in order}

    def mask(self, label: str) -> np.ndarray:
        """The pixels of a label: bool (height, width); raises `SegzsError` if the map has no such label."""
        if label not in self.labels:
            raise SegzsError(f"the map has no label {label!r}; its labels are {', '.join(self.labels[:5])}, ...")
        return self.classes == self.labels.index(label)

    def overlay(self) -> PIL.Image.Image:
        """The image with the region of each label tinted, outlined and captioned with the label and its share."""
        labels = [label for label in self.shares if label != UNKNOWN]
        tints = dict(zip(self.labels, self._colours, strict=True))
        masks = [RLE.encode(self.mask(label)) for label in labels]
        captions = [f"{label}, area {_percent(self.shares[label])}" for label in labels]
        return overlay(self.image.pixels, masks, captions, [tints[label] for label in labels])

    def indexed(self) -> PIL.Image.Image:
        """An image with the values of ``classes``: 8 bit with a palette for up to 256 labels, else 16 bit grey."""
        if len(self.labels) <= 256:
            image = PIL.Image.fromarray(self.classes.astype(np.uint8))
            image.putpalette([value for colour in self._colours for value in colour])
            return image
        if len(self.labels) > 65536:
            raise SegzsError(f"a PNG can hold 65,536 labels; the map has {len(self.labels):,}")
        return PIL.Image.fromarray(self.classes)

    @property
    def _colours(self) -> list[Colour]:
        """A colour for each label, the same in all maps of a vocabulary; "unknown" is black."""
        return [(0, 0, 0), *colours(self.labels[1:])]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the labels that occur, their index in `indexed`, and their share of the image."""
        return {
            "format": "segzs-map/1",
            "model": self.model,
            "image": {"width": self.image.width, "height": self.image.height, "sha256": self.image.digest},
            "labels": [
                {"id": self.labels.index(label), "name": label, "share": round(share, 6)}
                for label, share in self.shares.items()
            ],
        }

    def table(self) -> str:
        """A text table with a row for each label that occurs: index, label, share of the image."""
        return text_table(self._rows())

    def _rows(self) -> list[tuple[str, ...]]:
        shares = self.shares.items()
        rows = [(str(self.labels.index(label)), label, f"{share:.1%}") for label, share in shares]
        return [("#", "label", "share"), *rows]

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        shares = listing(f"{label} {_percent(share)}" for label, share in self.shares.items())
        size = f"{self.image.width} x {self.image.height} pixels"
        return figure(self.overlay(), f"semantic map of an image of {size}: {shares}", f"map: {shares}", self._rows())

    def _repr_png_(self) -> bytes:
        return to_png(self.overlay())


def semantic_map(
    segments: Segments,
    labels: Sequence[str],
    cells: np.ndarray | None = None,
    min_confidence: float = MIN_CONFIDENCE,
) -> SemanticMap:
    """A label for every pixel, from named masks that may overlap and from label probabilities between them.

    Each mask votes for its name with its probability times its predicted IoU. Where masks overlap, the votes for one
    name add up and the name with the most votes wins; of equal votes the smaller mask wins. Where no mask has a name,
    the most probable label of the cells wins, or "unknown". The labels of the map are "unknown", ``labels`` and other
    names of segments.

    ``cells`` is float32 (rows, columns, labels [+ 1]): the probability of each label, and of "unknown" last, in the
    cells of a grid over the image; cells with a lower one than ``min_confidence``, or None, are "unknown".
    """
    check_number("min_confidence", min_confidence, "a probability from 0 to 1", 0, 1)
    image, items = segments.image, [segment for segment in segments if has_name(segment) and segment.area]
    names = tuple(dict.fromkeys((UNKNOWN, *labels, *(segment.name for segment in items))))
    index_of = {name: index for index, name in enumerate(names)}
    size = (image.height, image.width)
    votes = ((index_of[name], _votes(items, name, size)) for name in dict.fromkeys(segment.name for segment in items))
    classes, scores = _argmax(votes, size)
    if cells is not None:
        cell_classes, cell_scores = _argmax(_upsampled(cells, len(labels), size), size)
        free = (classes == 0) & (cell_scores >= min_confidence)
        classes[free], scores[free] = cell_classes[free], cell_scores[free]
    scores[classes == 0] = 0
    dtype = np.uint16 if len(names) <= 65536 else np.int32
    return SemanticMap(image, names, classes.astype(dtype), scores.clip(0, 1), segments.model)


def panoptic_segments(segments: Segments, semantic: SemanticMap) -> Segments:
    """Segments that do not overlap and cover all labelled pixels of a semantic map, largest first.

    A pixel belongs to the segment with the map's label that has the highest score; a nested segment with the same name
    joins the larger one. Labelled pixels outside of the segments become one segment for each label, with a predicted
    IoU and stability score of 0. Remains smaller than 0.05 % of the image are dropped.
    """
    items, image, classes = segments.items, segments.image, semantic.classes
    owner = np.full(classes.shape, -1, np.int32)
    owners, index_of = owners_of_nested(items), {name: index for index, name in enumerate(semantic.labels)}
    order = sorted(range(len(items)), key=lambda i: (owners[i] == i, score(items[i]), -items[i].area))
    for index in order:
        if has_name(items[index]):
            owner[items[index].mask & (classes == index_of[items[index].name])] = owners[index]
    flat = [replace(items[i], rle=RLE.encode(owner == i), low_res_logits=None) for i in np.unique(owner[owner >= 0])]
    rest = np.where(owner < 0, classes, 0)
    for index in np.unique(rest[rest > 0]):
        region = rest == index
        name = Name(semantic.labels[index], float(semantic.scores[region].mean()))
        flat.append(Segment(RLE.encode(region), predicted_iou=0.0, stability_score=0.0, names=(name,), image=image))
    flat = sorted((each for each in flat if each.area >= MIN_AREA * classes.size), key=lambda each: -each.area)
    return segments.replace(flat)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "<1%"


def _votes(segments: Sequence[Segment], name: str, size: tuple[int, int]) -> np.ndarray:
    """The votes for a name in each pixel: float32 (height, width)."""
    votes = np.zeros(size, np.float32)
    for segment in segments:
        if segment.name == name:
            smallness = 1 - segment.area / votes.size
            votes[segment.mask] += score(segment) + SMALL_MASK_BONUS * smallness
    return votes


def _upsampled(cells: np.ndarray, labels: int, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """For each label that wins in a cell, and "unknown", its class and its probability in each pixel."""
    for column in np.unique([*cells.argmax(2).flat, *range(labels, cells.shape[2])]):
        yield (
            (int(column) + 1) % (labels + 1),
            cv2.resize(np.ascontiguousarray(cells[..., column]), size[::-1], interpolation=cv2.INTER_LINEAR),
        )


def _argmax(votes: Iterable[tuple[int, np.ndarray]], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The class with the most votes in each pixel, 0 where there is none, and its votes."""
    classes, most = np.zeros(size, np.int32), np.zeros(size, np.float32)
    for index, each in votes:
        more = each > most
        classes[more], most[more] = index, each[more]
    return classes, most

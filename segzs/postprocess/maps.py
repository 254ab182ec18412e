"""One label for every pixel: a SemanticMap, and segments without overlap, of named masks and what CLIP saw between."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import PIL.Image

from segzs.checks import check_number
from segzs.draw import Colour, colours, overlay
from segzs.errors import SegzsError, SegzsWarning
from segzs.image import Image
from segzs.masks import RLE
from segzs.postprocess.merging import evidence, is_known, suppress_nested
from segzs.segments import UNKNOWN, Name, Segment, Segments

LEAST_SHARE = 0.0005
"""Of the image: smaller remains of segments and of what lies between them are no objects."""
SURE = 0.9
"""Where no mask has a name, labels less probable than this are "unknown": cells err more often than masks."""
SMALLER_WINS = 1e-3
"""What a mask's smallness adds to its evidence at most: enough to decide between equals."""


class MapWarning(SegzsWarning):
    """A map leaves more "unknown" than another CLIP would."""


@dataclass(frozen=True, eq=False, repr=False)
class SemanticMap:
    """The label of every pixel of one image; shows itself as a picture with a legend in a notebook.

    ``classes`` (height, width) counts ``labels``, of which the first is "unknown": uint16, or int32 where there are
    more than 65,535 labels; read-only. ``scores`` is float32 (height, width), from 0 to 1: how sure the label is, that
    is the probability of its name, for masks times their predicted IoU; 0 where it is "unknown". ``model`` says which
    models made it.
    """

    image: Image
    labels: tuple[str, ...]
    classes: np.ndarray
    scores: np.ndarray
    model: str = ""

    def __post_init__(self) -> None:
        for array in (self.classes, self.scores):
            array.setflags(write=False)

    def __repr__(self) -> str:
        shares = ", ".join(f"{label} {_percent(share)}" for label, share in list(self.shares.items())[:8])
        return f"SemanticMap({self.image!r}: {shares}{', ...' if len(self.shares) > 8 else ''})"

    @cached_property
    def shares(self) -> dict[str, float]:
        """Label -> its share of the image, for those that occur, largest first."""
        numbers, counts = np.unique(self.classes, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {self.labels[numbers[i]]: float(counts[i]) / self.classes.size for i in order}

    def mask(self, label: str) -> np.ndarray:
        """Where a label is: bool (height, width).

        Raises:
            SegzsError: it is none of the labels.
        """
        if label not in self.labels:
            raise SegzsError(f"{label!r} is none of the map's labels; {', '.join(self.labels[:5])}, ... are")
        return self.classes == self.labels.index(label)

    def overlay(self) -> PIL.Image.Image:
        """The image with the region of every label tinted and outlined, with its label and share, in its colour."""
        known = [label for label in self.shares if label != UNKNOWN]
        tints = dict(zip(self.labels, self._colours, strict=True))
        masks = [RLE.encode(self.mask(label)) for label in known]
        captions = [f"{label}, area {_percent(self.shares[label])}" for label in known]
        return overlay(self.image.pixels, masks, captions, [tints[label] for label in known])

    def indexed(self) -> PIL.Image.Image:
        """A picture whose values are those of ``classes``: 8 bit with a palette up to 256 labels, else 16 bit grey.

        Raises:
            SegzsError: there are more than 65,536 labels.
        """
        if len(self.labels) <= 256:
            picture = PIL.Image.fromarray(self.classes.astype(np.uint8))
            picture.putpalette([value for colour in self._colours for value in colour])
            return picture
        if len(self.labels) > 65536:
            raise SegzsError(f"a PNG has room for 65,536 labels, and these are {len(self.labels):,}")
        return PIL.Image.fromarray(self.classes)

    @property
    def _colours(self) -> list[Colour]:
        """One colour a label, the same in all maps of a vocabulary; "unknown" is black."""
        return [(0, 0, 0), *colours(self.labels[1:])]

    def to_dict(self) -> dict:
        """Plain values, ready for JSON: the labels that occur, their number in `indexed`, and share of the image."""
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
        """A row a label that occurs: number, label, share of the image."""
        rows = [("#", "label", "share")]
        rows += [(str(self.labels.index(label)), label, f"{share:.1%}") for label, share in self.shares.items()]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    def __str__(self) -> str:
        return self.table()

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.overlay().save(buffer, "PNG")
        return buffer.getvalue()


def semantic_map(
    segments: Segments, labels: Sequence[str], cells: np.ndarray | None = None, sure: float = SURE
) -> SemanticMap:
    """One label for every pixel, from named masks that may overlap and what was seen between them.

    Each mask is evidence for its name, as much as its probability times its predicted IoU. Where masks overlap that of
    one name adds up and the name with the most wins: a part lies on top of a whole if its own name is surer, and of
    equals the smaller. Where no mask has a name the most probable label of the cells there wins, or "unknown".

    Args:
        segments: named segments.
        labels: those of the vocabulary; names of segments that are not among them are added.
        cells: float32 (rows, columns, labels [+ 1]), the probability of each label, and of "unknown" last, in the cells
            of a grid over the image; left out, all else is "unknown".
        sure: so probable a label must be in the cells to be more than "unknown".

    Returns:
        The map; its labels are "unknown" and ``labels``.

    Raises:
        SegzsError: ``sure`` is not from 0 to 1.
    """
    check_number("sure", sure, "a probability from 0 to 1", 0, 1)
    image, known = segments.image, [segment for segment in segments if is_known(segment) and segment.area]
    names = tuple(dict.fromkeys((UNKNOWN, *labels, *(segment.name for segment in known))))
    number = {name: index for index, name in enumerate(names)}
    size = (image.height, image.width)
    votes = ((number[name], _votes(known, name, size)) for name in dict.fromkeys(segment.name for segment in known))
    classes, scores = _strongest(votes, size)
    if cells is not None:
        filled, probable = _strongest(_upsampled(cells, len(labels), size), size)
        free = (classes == 0) & (probable >= sure)
        classes[free], scores[free] = filled[free], probable[free]
    scores[classes == 0] = 0
    kind = np.uint16 if len(names) <= 65536 else np.int32
    return SemanticMap(image, names, classes.astype(kind), scores.clip(0, 1), segments.model)


def panoptic_segments(segments: Segments, of_pixels: SemanticMap) -> Segments:
    """Segments that do not overlap and cover what a semantic map knows, largest first.

    A pixel goes to the segment with the label of the map that has the most evidence; what is a part of another segment
    with that name goes with it. What the map knows and no segment does becomes a segment for each label, with a
    predicted IoU and stability of 0, for SAM has not seen it. Remains smaller than 0.05 % of the image are left out.

    Args:
        segments: named segments.
        of_pixels: the `semantic_map` of them.
    """
    items, of_image, classes = segments.items, segments.image, of_pixels.classes
    owner = np.full(classes.shape, -1, np.int32)
    kept, number = suppress_nested(items), {name: index for index, name in enumerate(of_pixels.labels)}
    order = sorted(range(len(items)), key=lambda i: (kept[i] == i, evidence(items[i]), -items[i].area))
    for index in order:
        if is_known(items[index]):
            owner[items[index].mask & (classes == number[items[index].name])] = kept[index]
    found = [replace(items[i], rle=RLE.encode(owner == i), low_res_logits=None) for i in np.unique(owner[owner >= 0])]
    rest = np.where(owner < 0, classes, 0)
    for index in np.unique(rest[rest > 0]):
        here = rest == index
        name = Name(of_pixels.labels[index], float(of_pixels.scores[here].mean()))
        found.append(Segment(RLE.encode(here), predicted_iou=0.0, stability=0.0, names=(name,)))
    least = LEAST_SHARE * classes.size
    found = sorted((each for each in found if each.area >= least), key=lambda each: -each.area)
    return Segments(of_image, tuple(found), segments.model)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "<1%"


def _votes(segments: Sequence[Segment], name: str, size: tuple[int, int]) -> np.ndarray:
    """The evidence for a name in each pixel: float32 (height, width)."""
    votes = np.zeros(size, np.float32)
    for segment in segments:
        if segment.name == name:
            smallness = 1 - segment.area / votes.size
            votes[segment.mask] += evidence(segment) + SMALLER_WINS * smallness
    return votes


def _upsampled(cells: np.ndarray, labels: int, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Of the labels that win in a cell, and "unknown", the class and its probability in each pixel."""
    for column in np.unique([*cells.argmax(2).flat, *range(labels, cells.shape[2])]):
        yield (
            (int(column) + 1) % (labels + 1),
            cv2.resize(np.ascontiguousarray(cells[..., column]), size[::-1], interpolation=cv2.INTER_LINEAR),
        )


def _strongest(evidence: Iterable[tuple[int, np.ndarray]], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The class with the most evidence in each pixel, 0 where there is none, and how much: one at a time in memory."""
    classes, most = np.zeros(size, np.int32), np.zeros(size, np.float32)
    for index, each in evidence:
        more = each > most
        classes[more], most[more] = index, each[more]
    return classes, most

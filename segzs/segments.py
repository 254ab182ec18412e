"""Segment and Segments: named masks, and the forms in which they are looked at and handed on."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import PIL.Image

from segzs.draw import colours, overlay
from segzs.errors import OutputError, SegzsError
from segzs.image import Image
from segzs.masks import RLE, Box

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Name:
    """A label and how sure the model is of it, from 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True, repr=False)
class Segment:
    """One object: its mask, how good SAM thinks the mask is, and its names, most probable first.

    ``names`` holds the ten most probable labels, "unknown" among them unless that was switched off, and is empty where
    nothing was named; the probabilities are shares of the whole vocabulary. ``low_res_logits`` is float32 (h, w) on
    the model's grid: hand it to `Prompt(mask=...)` to refine the mask.
    """

    rle: RLE
    predicted_iou: float
    stability: float
    names: tuple[Name, ...] = ()
    low_res_logits: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        return f"Segment({self.name!r} {self.probability:.2f}, box={self.box}, area={self.area})"

    @property
    def name(self) -> str:
        """The most probable label, "unknown" where none fits; empty where no vocabulary was used."""
        return self.names[0].label if self.names else ""

    @property
    def probability(self) -> float:
        """The probability of `name`."""
        return self.names[0].probability if self.names else 0.0

    @property
    def mask(self) -> np.ndarray:
        """Bool (height, width), at the size of the image; read-only."""
        mask = self.rle.decode()
        mask.setflags(write=False)
        return mask

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return self.rle.area

    @property
    def box(self) -> Box:
        """x1, y1, x2, y2 in image pixels; x2 and y2 are just outside the mask."""
        return self.rle.box

    def to_dict(self) -> dict:
        """Plain values, ready for JSON: the mask as COCO's compressed RLE, the five best names."""
        return {
            "name": self.name,
            "probability": round(float(self.probability), 4),
            "names": [{"label": n.label, "probability": round(float(n.probability), 4)} for n in self.names[:5]],
            "box": list(self.box),
            "area": self.area,
            "predicted_iou": round(float(self.predicted_iou), 4),
            "stability": round(float(self.stability), 4),
            "segmentation": self.rle.coco(),
        }

    @classmethod
    def from_dict(cls, values: dict) -> Segment:
        """The segment that `to_dict` wrote, as far as it wrote it: five names, four decimals."""
        height, width = values["segmentation"]["size"]
        return cls(
            rle=RLE(height, width, values["segmentation"]["counts"]),
            predicted_iou=values["predicted_iou"],
            stability=values["stability"],
            names=tuple(Name(name["label"], name["probability"]) for name in values["names"]),
        )


@dataclass(frozen=True, repr=False)
class Segments(Sequence[Segment]):
    """The segments of one image, as a sequence that shows itself as a picture in a notebook.

    ``model`` says which models made them. Slices are `Segments` again.
    """

    image: Image = field(repr=False)
    items: tuple[Segment, ...]
    model: str = ""

    def __repr__(self) -> str:
        return f"Segments({len(self)} of {self.image!r}: {', '.join(self.names[:8])}{', ...' if len(self) > 8 else ''})"

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> Segments: ...
    def __getitem__(self, index: int | slice) -> Segment | Segments:
        if isinstance(index, slice):
            return Segments(self.image, self.items[index], self.model)
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.items)

    @property
    def names(self) -> list[str]:
        """The name of each segment."""
        return [segment.name for segment in self.items]

    def named(self, *labels: str) -> Segments:
        """Only the segments with one of these names."""
        return Segments(self.image, tuple(s for s in self.items if s.name in labels), self.model)

    def overlay(self) -> PIL.Image.Image:
        """The image with every segment tinted, outlined and named, one colour a name."""
        names = self.names if any(self.names) else [str(index) for index in range(len(self))]
        captions = [f"{s.name} {s.probability:.0%}" if s.names else "" for s in self.items]
        return overlay(self.image.pixels, [s.rle for s in self.items], captions, colours(names))

    def show(self) -> None:
        """Show the overlay: inline in a notebook, in the system's viewer elsewhere."""
        try:
            from IPython.core.getipython import get_ipython
        except ImportError:
            get_ipython = None
        if get_ipython is not None and get_ipython() is not None:
            from IPython.display import display

            display(self)
        else:
            self.overlay().show()

    def table(self) -> str:
        """A row a segment: index, name, probability, box, area, predicted IoU, stability."""
        header = ("#", "name", "probability", "box", "area", "IoU", "stability")
        rows = [
            (
                str(index),
                s.name or "-",
                f"{s.probability:.2f}" if s.names else "-",
                ",".join(map(str, s.box)),
                str(s.area),
                f"{s.predicted_iou:.2f}",
                f"{s.stability:.2f}",
            )
            for index, s in enumerate(self.items)
        ]
        widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in [header, *rows]]
        return "\n".join(line.rstrip() for line in lines)

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        return {
            "format": "segzs/1",
            "model": self.model,
            "image": {"width": self.image.width, "height": self.image.height, "sha256": self.image.digest},
            "segments": [segment.to_dict() for segment in self.items],
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False)

    def to_supervision(self) -> Any:
        """The segments as `supervision.Detections`: masks, boxes, probabilities, and ``class_name`` in ``data``.

        ``class_id`` counts the names that occur, in alphabetical order, from 0. ``confidence`` is the probability, or
        the predicted IoU where nothing was named. Of N segments the masks are bool (N, height, width).

        Raises:
            OutputError: supervision is not installed.
        """
        try:
            from supervision import Detections
        except ImportError as error:
            raise OutputError("this needs supervision; run: pip install 'segzs[supervision]'") from error
        names = [name or UNKNOWN for name in self.names]
        classes = sorted(set(names))
        empty = np.zeros((0, self.image.height, self.image.width), bool)
        return Detections(
            xyxy=np.array([s.box for s in self.items], np.float32).reshape(-1, 4),
            mask=np.stack([s.mask for s in self.items]) if self.items else empty,
            confidence=np.array([s.probability if s.names else s.predicted_iou for s in self.items], np.float32),
            class_id=np.array([classes.index(name) for name in names], int),
            data={"class_name": np.array(names, str)},
        )

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.overlay().save(buffer, "PNG")
        return buffer.getvalue()

    def __str__(self) -> str:
        return self.table()

    def __add__(self, other: Segments) -> Segments:
        """Segments of the same image, together."""
        if not isinstance(other, Segments):
            return NotImplemented
        if other.image != self.image:
            raise SegzsError("segments of two different images cannot be added; save them one by one")
        return Segments(self.image, self.items + other.items, self.model)

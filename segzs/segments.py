"""Segment and Segments: named masks of one image, as values, overlays, tables and plain data."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from os import PathLike
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np
import PIL.Image

from segzs.draw import colours, overlay
from segzs.errors import AnnotationError, OutputError, SegzsError
from segzs.files import atomic_write
from segzs.html import figure, listing
from segzs.image import Image
from segzs.masks import RLE, Box
from segzs.values import Value, read_only

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Name:
    """A label and its probability, from 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True, repr=False)
class Segment(Value):
    """One object of an image: its mask, the model's scores of the mask, and its names, most probable first.

    Args:
        rle: the mask at the size of the image.
        predicted_iou: the model's estimate of the mask's IoU with the object.
        stability_score: how little the mask depends on the threshold of its logits.
        names: the ten most probable labels, "unknown" among them unless it is switched off; empty if nothing was named.
            The probabilities are shares of the whole vocabulary.
        low_res_logits: float32 (h, w) on the model's grid; `Prompt(mask=...)` takes it to refine the mask.
        image: the image that the mask lies on; None for a segment that was read from a file.

    Raises:
        AnnotationError: the mask and the image differ in size.
    """

    rle: RLE
    predicted_iou: float
    stability_score: float
    names: tuple[Name, ...] = ()
    low_res_logits: np.ndarray | None = field(default=None, compare=False, repr=False)
    image: Image | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.low_res_logits is not None:
            object.__setattr__(self, "low_res_logits", read_only(self.low_res_logits))
        if self.image is not None and (self.rle.height, self.rle.width) != (self.image.height, self.image.width):
            raise AnnotationError(
                f"the mask has {self.rle.width}x{self.rle.height} pixels, and its image "
                f"{self.image.width}x{self.image.height}; give the image that the mask lies on"
            )

    def __repr__(self) -> str:
        return f"Segment({self.name!r} {self.probability:.2f}, box={self.box}, area={self.area})"

    @property
    def name(self) -> str:
        """The most probable label; "unknown" if none fits, empty if nothing was named."""
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

    def polygons(self) -> list[np.ndarray]:
        """The outlines of the mask's parts: int32 arrays (points, 2) of x, y; holes are left out.

        >>> Segment(RLE.encode(np.ones((2, 3), bool)), 1.0, 1.0).polygons()[0].tolist()
        [[0, 0], [0, 1], [2, 1], [2, 0]]
        """
        pixels = self.rle.decode().view(np.uint8)
        contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        return [contour[:, 0] for contour in contours]

    def crop(self) -> PIL.Image.Image:
        """The part of the image inside the box, RGBA, transparent outside of the mask.

        Raises:
            SegzsError: the segment was read from a file without pixels, or its mask is empty.
        """
        if self.image is None:
            raise SegzsError("the segment was read from a file without pixels; use ImageAnnotations.on(image) first")
        if not self.area:
            raise SegzsError("the mask of the segment is empty; there is nothing to crop")
        x1, y1, x2, y2 = self.box
        alpha = self.rle.decode()[y1:y2, x1:x2, None].astype(np.uint8) * 255
        return PIL.Image.fromarray(np.concatenate([self.image.pixels[y1:y2, x1:x2], alpha], axis=2))

    def to_png(self) -> bytes:
        """`crop` as the bytes of a PNG file."""
        return to_png(self.crop())

    def save(self, path: str | PathLike[str]) -> Path:
        """Write `crop` to a PNG file.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            with atomic_write(Path(path), "wb") as file:
                file.write(self.to_png())
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
        return Path(path)

    def _repr_html_(self) -> str:
        image = self.crop() if self.image is not None and self.area else None
        rows = [("name", "probability"), *((name.label, f"{name.probability:.1%}") for name in self.names)]
        title = f"{self.name or 'segment'} {self.probability:.0%}" if self.names else "segment without a name"
        return figure(image, f"{title}, cut out of its image", f"{title}, {self.area:,} pixels", rows)

    def _repr_png_(self) -> bytes | None:
        return self.to_png() if self.image is not None and self.area else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the mask as COCO's compressed RLE, and the five most probable names."""
        return {
            "name": self.name,
            "probability": round(float(self.probability), 4),
            "names": [{"label": n.label, "probability": round(float(n.probability), 4)} for n in self.names[:5]],
            "box": list(self.box),
            "area": self.area,
            "predicted_iou": round(float(self.predicted_iou), 4),
            "stability_score": round(float(self.stability_score), 4),
            "segmentation": self.rle.coco(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Segment:
        """The segment that `to_dict` wrote, without its image: five names, four decimals."""
        height, width = values["segmentation"]["size"]
        return cls(
            rle=RLE(height, width, values["segmentation"]["counts"]),
            predicted_iou=values["predicted_iou"],
            stability_score=values["stability_score"],
            names=tuple(Name(name["label"], name["probability"]) for name in values["names"]),
        )


@dataclass(frozen=True, repr=False)
class Segments(Sequence[Segment]):
    """The segments of one image, as a sequence; a notebook displays them as an image.

    ``model`` names the models that made the segments. Slices are `Segments` as well.

    Raises:
        AnnotationError: a segment lies on another image.
    """

    image: Image = field(repr=False)
    items: tuple[Segment, ...]
    model: str = ""

    def __post_init__(self) -> None:
        for index, segment in enumerate(self.items):
            if segment.image is not None and segment.image is not self.image and segment.image != self.image:
                raise AnnotationError(f"segment {index} lies on another image; all segments must lie on {self.image!r}")
        items = (s if s.image is self.image else replaced(s, image=self.image) for s in self.items)
        object.__setattr__(self, "items", tuple(items))

    def __repr__(self) -> str:
        return f"Segments({len(self)} of {self.image!r}: {', '.join(self.names[:8])}{', ...' if len(self) > 8 else ''})"

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> Segments: ...
    def __getitem__(self, index: int | slice) -> Segment | Segments:
        if isinstance(index, slice):
            return self.replace(self.items[index])
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
        """The segments with one of these names."""
        return self.replace(segment for segment in self.items if segment.name in labels)

    def replace(self, items: Iterable[Segment]) -> Segments:
        """Other segments of the same image by the same models."""
        return Segments(self.image, tuple(items), self.model)

    def overlay(self) -> PIL.Image.Image:
        """The image with each segment tinted, outlined and named; each name has its colour."""
        names = self.names if any(self.names) else [str(index) for index in range(len(self))]
        captions = [f"{s.name} {s.probability:.0%}" if s.names else "" for s in self.items]
        return overlay(self.image.pixels, [s.rle for s in self.items], captions, colours(names))

    def show(self) -> None:
        """Show the overlay: inline in a notebook, elsewhere in the system's viewer."""
        ipython = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            ipython.display.display(self)
        else:
            self.overlay().show()

    def table(self) -> str:
        """A text table with a row for each segment."""
        return text_table(self._rows())

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("#", "name", "probability", "box", "area", "IoU", "stability")]
        for index, s in enumerate(self.items):
            name = (s.name, f"{s.probability:.2f}") if s.names else ("-", "-")
            scores = (f"{s.predicted_iou:.2f}", f"{s.stability_score:.2f}")
            rows.append((str(index), *name, ",".join(map(str, s.box)), str(s.area), *scores))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
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

        ``class_id`` is the index of the name among the names that occur, sorted. ``confidence`` is the probability, or
        the predicted IoU of a segment without names. The masks are bool (N, height, width).

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

    def to_png(self) -> bytes:
        """`overlay` as the bytes of a PNG file."""
        return to_png(self.overlay())

    def _repr_html_(self) -> str:
        size = f"{self.image.width} x {self.image.height} pixels"
        title = f"{len(self)} segment{'' if len(self) == 1 else 's'}" if self.items else "no segments"
        names = listing(f"{s.name} {s.probability:.0%}" for s in self.items if s.names)
        return figure(
            self.overlay(), f"{title} on an image of {size}{': ' if names else ''}{names}", title, self._rows()
        )

    def _repr_png_(self) -> bytes:
        return self.to_png()

    def __str__(self) -> str:
        return self.table()

    def __add__(self, other: Segments) -> Segments:
        """Segments of the same image, together; raises `AnnotationError` if the others lie on another one."""
        if not isinstance(other, Segments):
            return NotImplemented
        return self.replace(self.items + other.items)


def to_png(image: PIL.Image.Image) -> bytes:
    """An image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)

"""Records: what was found in each image of a directory, one line of JSON an image (``segments.jsonl``).

A line is what ``segzs label --json`` prints, with the file's digest and the models' ones::

    {"file": "2024/cat.jpg", "sha256": "...",      of the file; its name is relative to the directory, with slashes
     "format": "segzs/1", "model": "tiny+tiny", "models": {"sam": "...", "clip": "..."},     SHA-256 of the weights
     "image": {"width": 768, "height": 576, "sha256": "..."},                               of the upright RGB pixels
     "segments": [{"name": "cat", "probability": 0.91,
                   "names": [{"label": "cat", "probability": 0.91}, ...],                    five at most, best first
                   "box": [x1, y1, x2, y2], "area": 5120,                                    in pixels
                   "predicted_iou": 0.93, "stability_score": 0.97,
                   "segmentation": {"size": [height, width], "counts": "..."}}, ...]}        COCO's compressed RLE
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segzs.errors import SegzsError
from segzs.formats.annotations import ImageAnnotations
from segzs.segments import Segment


@dataclass(frozen=True)
class Record:
    """The segments of one image file, without its pixels.

    ``sha256`` is of the file's bytes, ``image_sha256`` of the pixels, ``sam_sha256`` and ``clip_sha256`` of the
    weights; ``path`` is relative to the directory that was labelled.
    """

    path: str
    sha256: str
    width: int
    height: int
    image_sha256: str
    model: str
    sam_sha256: str
    clip_sha256: str
    segments: tuple[Segment, ...]

    @property
    def annotated(self) -> ImageAnnotations:
        """What other formats hold of it; its `ImageAnnotations.on` gives the segments on their picture."""
        return ImageAnnotations(self.path, self.width, self.height, self.segments, self.model, self.image_sha256)

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        return {
            "file": self.path,
            "sha256": self.sha256,
            "format": "segzs/1",
            "model": self.model,
            "models": {"sam": self.sam_sha256, "clip": self.clip_sha256},
            "image": {"width": self.width, "height": self.height, "sha256": self.image_sha256},
            "segments": [segment.to_dict() for segment in self.segments],
        }

    @classmethod
    def from_dict(cls, values: dict) -> Record:
        """The record that `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: something is missing or of another kind.
        """
        if values["format"] != "segzs/1":
            raise ValueError(f"the format is {values['format']!r}")
        return cls(
            path=values["file"],
            sha256=values["sha256"],
            width=values["image"]["width"],
            height=values["image"]["height"],
            image_sha256=values["image"]["sha256"],
            model=values["model"],
            sam_sha256=values["models"]["sam"],
            clip_sha256=values["models"]["clip"],
            segments=tuple(map(Segment.from_dict, values["segments"])),
        )


@dataclass(frozen=True)
class Failure:
    """A picture that could not be labelled, and why: a line of ``failures.jsonl``."""

    path: str
    reason: str

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        return {"path": self.path, "reason": self.reason}


def to_line(item: Record | Failure) -> bytes:
    """A record or a failure as its line of a file, with the line feed."""
    return f"{json.dumps(item.to_dict(), ensure_ascii=False)}\n".encode(errors="backslashreplace")


def from_line(line: bytes) -> Record:
    """The record of a line.

    Raises:
        SegzsError: it is none.
    """
    try:
        return Record.from_dict(json.loads(line))
    except (KeyError, TypeError, ValueError) as error:
        raise SegzsError(f"this is no record of segzs ({error!r}): {line[:80]!r}") from error


def read_records(file: str | os.PathLike[str]) -> Iterator[Record]:
    """The records of a ``segments.jsonl``, one at a time; a last line that a crash cut short is left out.

    Raises:
        SegzsError: the file cannot be read, or another line is no record; says which.

    >>> [record.path for record in read_records("out/segments.jsonl")]  # doctest: +SKIP
    ['2024/cat.jpg', '2024/dog.jpg']
    """
    path = Path(file)
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield from_line(line)
                except SegzsError as error:
                    raise SegzsError(f"{path}, line {number}: {error}") from error
    except OSError as error:
        raise SegzsError(f"{path} cannot be read: {error.strerror or error}") from error

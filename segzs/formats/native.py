"""segzs/1, the format of segzs itself: a JSON object an image, one a line in ``.jsonl``, a single one in ``.json``.

Lossless but for the scores, which have four decimals, and the names of a segment, of which there are at most five::

    {"file": "2024/cat.jpg",                          relative to the folder of images, with slashes
     "sha256": "...",                                 of the bytes of the file
     "source": "holidays",                            the data set
     "format": "segzs/1", "model": "tiny+tiny",
     "models": {"sam": "...", "clip": "..."},         SHA-256 of the weights
     "image": {"width": 768, "height": 576, "sha256": "..."},     of the upright RGB pixels
     "segments": [{"name": "cat", "probability": 0.91,
                   "names": [{"label": "cat", "probability": 0.91}, ...],     at most five, most probable first
                   "box": [x1, y1, x2, y2], "area": 5120,                     in pixels
                   "predicted_iou": 0.93, "stability_score": 0.97,
                   "segmentation": {"size": [height, width], "counts": "..."}}, ...]}     COCO's compressed RLE

``sha256``, ``source`` and ``models`` are left out where there are none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from segzs.errors import AnnotationError
from segzs.files import atomic_write
from segzs.formats.annotations import Digests, ImageAnnotations, image_of_row, rle_of, segment_of
from segzs.formats.files import INVALID, explain, load_json, read_files, reading, warn_if_interrupted
from segzs.masks import RLE

FORMAT = "segzs/1"
EXPECTED = "a file that `segzs label --json` or segzs.save wrote"


def write(annotations: Iterable[ImageAnnotations], destination: Path) -> None:
    """Write a line of JSON an image."""
    with atomic_write(destination, "wb") as file:
        for one in annotations:
            file.write(to_line(one))


def read(path: Path) -> Iterator[ImageAnnotations]:
    """Read a ``.jsonl``, a ``.json``, or a folder: its ``segments.jsonl``, or else all its ``.segzs.json``."""
    if path.is_dir():
        lines, count = path / "segments.jsonl", 0
        for one in read_files([lines] if lines.is_file() else sorted(path.rglob("*.segzs.json")), read):
            count += 1
            yield one
        warn_if_interrupted(path, count)
    elif path.name.lower().endswith(".jsonl"):
        yield from read_lines(path)
    else:
        with reading(path, EXPECTED):
            yield from_dict({"file": path.name.partition(".")[0] + ".png", **load_json(path)})


def read_lines(path: str | os.PathLike[str], *, verify: bool = True) -> Iterator[ImageAnnotations]:
    """Read a file of lines, one image at a time; an incomplete last line, which a crash leaves, is left out.

    ``verify`` decodes each mask, to make sure that it is one.
    """
    path = Path(path)
    with reading(path, EXPECTED), path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                one = from_line(line, verify=verify)
            except AnnotationError as error:
                if not line.endswith(b"\n"):
                    return
                raise AnnotationError(f"{path}, line {number}: {error}") from error
            yield one


def to_line(annotations: ImageAnnotations) -> bytes:
    """The line of an image, with the line feed."""
    return f"{json.dumps(to_dict(annotations), ensure_ascii=False)}\n".encode(errors="backslashreplace")


def from_line(line: bytes, *, verify: bool = True) -> ImageAnnotations:
    """The image of a line; raises `AnnotationError` if it is invalid."""
    try:
        return from_dict(json.loads(line), verify=verify)
    except INVALID as error:
        raise AnnotationError(f"not a line of {FORMAT} ({explain(error)}): {line[:80]!r}") from error


def to_dict(annotations: ImageAnnotations) -> dict[str, Any]:
    """An image as plain values, ready for JSON."""
    digests = annotations.digests
    models = {"sam": digests.sam, "clip": digests.clip}
    return {
        "file": annotations.file,
        **({"sha256": digests.file} if digests.file else {}),
        **({"source": annotations.source} if annotations.source else {}),
        "format": FORMAT,
        "model": annotations.model,
        **({"models": models} if any(models.values()) else {}),
        "image": {"width": annotations.width, "height": annotations.height, "sha256": digests.pixels},
        "segments": [segment.to_dict() for segment in annotations.segments],
    }


def from_dict(values: Mapping[str, Any], *, verify: bool = True) -> ImageAnnotations:
    """The image that `to_dict` wrote; raises one of `INVALID` if a value is missing or invalid."""
    if values["format"] != FORMAT:
        raise ValueError(f"the format is {values['format']!r}")
    size, models = values["image"], values.get("models", {})
    image = image_of_row(
        {"model": values["model"]}, values["file"], size["width"], size["height"], str(values.get("source", ""))
    )
    segments = []
    for row in values["segments"]:
        code = row["segmentation"]
        height, width = code["size"]
        rle = rle_of(code, image) if verify else RLE(height, width, code["counts"])
        segments.append(segment_of(rle, row["name"], 1, row))
    digests = Digests(size["sha256"], values.get("sha256", ""), models.get("sam", ""), models.get("clip", ""))
    return replace(image, digests=digests, segments=tuple(segments))

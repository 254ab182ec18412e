"""YOLO-seg: ``labels/`` with a text file an image, a line a part of an object, and the dataset's ``data.yaml``.

The images belong into ``images/`` beside ``labels/``. A line is a class, counted from 0, and a polygon in shares of
width and height. Trainers draw the polygon in whole pixels with its outline; some round, others truncate, so the
coordinates lie a quarter of a pixel after the pixel's. A line that joined the parts of an object would be drawn too,
so each part has a line of its own, as supervision writes them.

Source: https://docs.ultralytics.com/datasets/segment/.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import yaml  # type: ignore[import-untyped]

from segzs.errors import OutputError
from segzs.files import atomic_write
from segzs.formats.annotations import ImageAnnotations, category_ids, label_of
from segzs.formats.files import Stems
from segzs.formats.polygons import pixels


def write(annotations: Iterable[ImageAnnotations], destination: Path, *, categories: Sequence[str] = ()) -> None:
    """Write the folder; ``categories`` are labels in the order of their classes, further labels follow as they occur.

    Raises:
        OutputError: two images differ only by the suffix; YOLO has one file of labels for both.
    """
    ids, stems = category_ids(categories, 0), Stems()
    for one in annotations:
        stem = stems(one.file)
        if PurePosixPath(stem).suffix and PurePosixPath(stem).name == PurePosixPath(one.file).name:
            raise OutputError(f"{one.file!r} and another image differ only by the suffix; YOLO cannot tell them apart")
        lines = [
            f"{ids[label_of(segment)]} {' '.join(f'{share:.6f}' for share in shares.ravel())}\n"
            for segment in one.segments
            for polygon in pixels(segment.mask)
            for shares in [(polygon + 0.25) / (one.width, one.height)]
        ]
        with atomic_write(destination / "labels" / f"{stem}.txt") as file:
            file.writelines(lines)
    content = {"train": "images", "val": "images", "names": {number: name for name, number in ids.items()}}
    with atomic_write(destination / "data.yaml") as file:
        yaml.safe_dump(content, file, allow_unicode=True, sort_keys=False)

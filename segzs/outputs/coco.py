"""COCO instance files, as pycocotools, CVAT, FiftyOne and most trainers read them.

Ids start at 1 (0 breaks CVAT's import and COCO's evaluation), ``iscrowd`` is 0 so that evaluators count every mask,
masks are RLE so that holes and parts survive, ``area`` is the mask's, and ``score`` is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import count
from typing import TextIO

from segzs.outputs.records import Record
from segzs.segments import UNKNOWN, Segment, Segments


def to_dict(segments: Segments, file_name: str) -> dict:
    """One image, its categories and its annotations as plain values."""
    names = sorted({segment.name or UNKNOWN for segment in segments})
    category = {name: index for index, name in enumerate(names, start=1)}
    annotations = [
        _annotation(segment, index, 1, category[segment.name or UNKNOWN])
        for index, segment in enumerate(segments, start=1)
    ]
    image = {"id": 1, "file_name": file_name, "width": segments.image.width, "height": segments.image.height}
    return {
        "info": {"description": f"segzs, {segments.model}".rstrip(", ")},
        "images": [image],
        "categories": [{"id": number, "name": name} for name, number in category.items()],
        "annotations": annotations,
    }


def dumps(segments: Segments, file_name: str) -> str:
    """`to_dict` as JSON text."""
    return json.dumps(to_dict(segments, file_name), ensure_ascii=False)


def write_records(records: Callable[[], Iterable[Record]], stream: TextIO) -> None:
    """Write the records of many images as one COCO file, holding one of them at a time.

    ``records`` is called twice and must give the same both times; images get their ids in that order.
    """
    names: set[str] = set()
    models: set[str] = set()

    def images() -> Iterable[dict]:
        for number, record in enumerate(records(), start=1):
            names.update(segment.name or UNKNOWN for segment in record.segments)
            models.add(record.model)
            yield {"id": number, "file_name": record.path, "width": record.width, "height": record.height}

    stream.write('{"images": ')
    _write_list(images(), stream)
    category = {name: number for number, name in enumerate(sorted(names), start=1)}
    about = {
        "info": {"description": ", ".join(["segzs", *sorted(models - {""})])},
        "categories": [{"id": number, "name": name} for name, number in category.items()],
    }
    stream.write(f', {json.dumps(about, ensure_ascii=False)[1:-1]}, "annotations": ')
    ids = count(1)
    annotations = (
        _annotation(segment, next(ids), number, category[segment.name or UNKNOWN])
        for number, record in enumerate(records(), start=1)
        for segment in record.segments
    )
    _write_list(annotations, stream)
    stream.write("}\n")


def _annotation(segment: Segment, number: int, image: int, category: int) -> dict:
    x1, y1, x2, y2 = segment.box
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segment.rle.coco(),
        "area": segment.area,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "iscrowd": 0,
        "score": round(float(segment.probability if segment.names else segment.predicted_iou), 4),
    }


def _write_list(rows: Iterable[dict], stream: TextIO) -> None:
    separator = "[\n"
    for row in rows:
        stream.write(separator + json.dumps(row, ensure_ascii=False))
        separator = ",\n"
    stream.write("[]" if separator == "[\n" else "\n]")

"""Label Studio: ``tasks.json`` with predictions, as brush RLE or polygons, and ``config.xml``, the labeling interface.

Import the tasks into a project with that interface; the images are expected in local storage, or under ``prefix``.
Runner-up names and mask scores are in ``meta``. Masks are brush strokes by default, because Label Studio cannot join
the polygons of one object. Segments without pixels are not written.

Source: https://labelstud.io/guide/predictions, https://labelstud.io/tags/brushlabels; the bits are those of
https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from segzs.files import atomic_write
from segzs.formats.annotations import ImageAnnotations, category_ids, details_of, label_of, score_of
from segzs.formats.polygons import corners
from segzs.formats.rasters import row_runs
from segzs.segments import Segment

RUN_BITS = (3, 4, 8, 16)
PREFIX = "/data/local-files/?d="


def write(
    annotations: Iterable[ImageAnnotations], destination: Path, *, polygons: bool = False, prefix: str = PREFIX
) -> None:
    """Write the folder; Label Studio looks for an image at ``prefix`` plus its file name, quoted."""
    kind = "polygonlabels" if polygons else "brushlabels"
    labels = category_ids((), 0)
    with atomic_write(destination / "tasks.json") as file:
        separator = "["
        for one in annotations:
            results: list[dict[str, Any]] = []
            for segment in (segment for segment in one.segments if segment.area):
                labels[label_of(segment)]
                results += [result | {"id": f"{len(results) + i}"} for i, result in enumerate(regions(segment, kind))]
            scores = [result["score"] for result in results]
            prediction = {"model_version": one.model, "result": results}
            prediction |= {"score": round(sum(scores) / len(scores), 4)} if scores else {}
            task = {"data": {"image": prefix + quote(one.file, errors="surrogateescape")}, "predictions": [prediction]}
            file.write(separator + json.dumps(task, ensure_ascii=False))
            separator = ",\n"
        file.write("]\n" if separator != "[" else "[]\n")
    with atomic_write(destination / "config.xml") as file:
        file.write(_config("PolygonLabels" if polygons else "BrushLabels", labels))


def brush(mask: np.ndarray) -> list[int]:
    """A bool array (height, width) as Label Studio's brush RLE: bytes that hold the bits of rle-pack.

    A pixel is four values, 0 or 255. The header is the number of values in 32 bits, then the sizes of a word and of the
    four kinds of run lengths, less 1. A run is a bit 1, its kind in 2 bits, its length less 1, and the value.

    >>> brush(np.ones((1, 2), bool))
    [0, 0, 0, 8, 57, 27, 252, 255, 224]
    """
    bits = [f"{mask.size * 4:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in RUN_BITS)]
    for index, length in enumerate((row_runs(mask) * 4).tolist()):
        while length:
            run = min(length, 1 << RUN_BITS[-1])
            kind = next(kind for kind, size in enumerate(RUN_BITS) if run <= 1 << size)
            bits.append(f"1{kind:02b}{run - 1:0{RUN_BITS[kind]}b}{255 * (index % 2):08b}")
            length -= run
    packed = "".join(bits)
    packed += "0" * (-len(packed) % 8)
    return list(int(packed, 2).to_bytes(len(packed) // 8, "big"))


def unbrush(code: Sequence[int], height: int, width: int) -> np.ndarray:
    """The bool array (height, width) of a brush RLE: its pixels that are not transparent.

    Raises:
        ValueError: the code is not that of an image of this size.

    >>> unbrush(brush(np.eye(3, dtype=bool)), 3, 3).astype(int).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    data, at = bytes(code), 0

    def take(size: int) -> int:
        nonlocal at
        start, at = at, at + size
        if at > 8 * len(data):
            raise ValueError(f"the brush RLE ends early, after {len(data)} bytes")
        return int.from_bytes(data[start // 8 : -(-at // 8)], "big") >> -at % 8 & (1 << size) - 1

    count, word, sizes = take(32), take(5) + 1, [take(4) + 1 for _ in RUN_BITS]
    if count != 4 * height * width:
        raise ValueError(f"the brush RLE has {count} values; 4 for each of {width}x{height} pixels are expected")
    values = np.zeros(count, bool)
    start = 0
    while start < count:
        is_run, length = take(1), take(sizes[take(2)]) + 1
        values[start : start + length] = take(word) if is_run else [take(word) for _ in range(length)]
        start += length
    return values[3::4].reshape(height, width)


def regions(
    segment: Segment, kind: str, from_name: str = "label", to_name: str = "image", rotation: int = 0
) -> Iterator[dict[str, Any]]:
    """A segment as regions of Label Studio, without ids: one, or for "polygonlabels" one a part.

    ``from_name`` and ``to_name`` are the tags of the labeling interface. ``rotation`` is how the annotator has turned
    the view; coordinates do not depend on it.
    """
    for value in _polygons(segment) if kind == "polygonlabels" else _brush(segment):
        yield {
            "type": kind,
            "from_name": from_name,
            "to_name": to_name,
            "original_width": segment.rle.width,
            "original_height": segment.rle.height,
            "image_rotation": rotation,
            "value": {**value, kind: [label_of(segment)]},
            "score": score_of(segment),
            "meta": details_of(segment),
        }


def _brush(segment: Segment) -> Iterator[dict[str, Any]]:
    yield {"format": "rle", "rle": brush(segment.mask)}


def _polygons(segment: Segment) -> Iterator[dict[str, Any]]:
    for polygon in corners(segment.mask):
        yield {"points": (polygon * 100 / (segment.rle.width, segment.rle.height)).tolist(), "closed": True}


def _config(tag: str, labels: Iterable[str]) -> str:
    view = ET.Element("View")
    ET.SubElement(view, "Image", name="image", value="$image", zoom="true")
    choices = ET.SubElement(view, tag, name="label", toName="image")
    for label in labels:
        ET.SubElement(choices, "Label", value=label)
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"

"""CVAT's XML 1.1 for images, with masks or polygons, and the list of numbers that is a mask to cvat-sdk.

A score is an attribute of its shape; CVAT ignores it in projects whose labels have no such attribute. The parts of an
object in polygons share a ``group_id``. Segments without pixels are not written.

Source: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/, and ``cvat_sdk.masks``.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path

from segzs.errors import OutputError
from segzs.files import atomic_write
from segzs.formats.annotations import ImageAnnotations, category_ids, label_of, score_of
from segzs.formats.polygons import corners
from segzs.formats.rasters import row_runs
from segzs.masks import RLE
from segzs.segments import Segment


def write(annotations: Iterable[ImageAnnotations], destination: Path, *, polygons: bool = False) -> None:
    """Write the XML file; ``polygons`` writes polygons instead of masks, holes joined to the outline."""
    labels = category_ids((), 0)
    with atomic_write(destination) as file, tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as images:
        for index, one in enumerate(annotations):
            image = ET.Element(
                "image", id=f"{index}", name=_text(one.file), width=f"{one.width}", height=f"{one.height}"
            )
            for group, segment in enumerate(one.segments, start=1):
                labels[_text(label_of(segment))]
                image.extend(_polygons(segment, group) if polygons else _mask(segment))
            ET.indent(image, level=1)
            images.write(f"  {ET.tostring(image, encoding='unicode')}\n")
        images.seek(0)
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
        file.write(f"  {_meta(labels)}\n")  # before the images, although they determine the labels
        shutil.copyfileobj(images, file)
        file.write("</annotations>\n")


def points(rle: RLE) -> list[int]:
    """A mask as the ``points`` of a "mask" shape of cvat-sdk: row runs inside the box, then x1 y1 x2 y2, inclusive.

    Raises `OutputError` for an empty mask.

    >>> import numpy as np
    >>> points(RLE.encode(np.eye(3, dtype=bool)))
    [0, 1, 3, 1, 3, 1, 0, 0, 2, 2]
    """
    x1, y1, x2, y2 = rle.box
    if not rle.area:
        raise OutputError("a mask without pixels has no box, which CVAT requires; leave it out")
    return [*row_runs(rle.decode()[y1:y2, x1:x2]).tolist(), x1, y1, x2 - 1, y2 - 1]


def _mask(segment: Segment) -> Iterator[ET.Element]:
    if segment.area:
        *runs, x1, y1, x2, y2 = points(segment.rle)
        box = {"left": f"{x1}", "top": f"{y1}", "width": f"{x2 - x1 + 1}", "height": f"{y2 - y1 + 1}"}
        yield _shape("mask", segment, rle=", ".join(map(str, runs)), **box)


def _polygons(segment: Segment, group: int) -> Iterator[ET.Element]:
    parts = corners(segment.mask)
    shared = {"group_id": f"{group}"} if len(parts) > 1 else {}
    for polygon in parts:
        yield _shape("polygon", segment, points=";".join(f"{x:.2f},{y:.2f}" for x, y in polygon), **shared)


def _shape(tag: str, segment: Segment, **attributes: str) -> ET.Element:
    label = _text(label_of(segment))
    shape = ET.Element(tag, label=label, source="auto", occluded="0", z_order="0")
    shape.attrib |= attributes
    ET.SubElement(shape, "attribute", name="score").text = f"{score_of(segment)}"
    return shape


def _meta(names: Iterable[str]) -> str:
    meta = ET.Element("meta")
    labels = ET.SubElement(ET.SubElement(meta, "task"), "labels")
    for name in names:
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = name
        attribute = ET.SubElement(ET.SubElement(label, "attributes"), "attribute")
        for key, value in {"name": "score", "mutable": "False", "input_type": "text", "default_value": ""}.items():
            ET.SubElement(attribute, key).text = value
        ET.SubElement(attribute, "values")
    ET.indent(meta, level=1)
    return ET.tostring(meta, encoding="unicode")


def _text(text: str) -> str:
    """The text with U+FFFD in place of characters that XML 1.0 does not permit."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)

"""COCO panoptic: ``panoptic.json``, and in ``panoptic/`` a PNG an image, whose colours are the ids of its segments.

A pixel has one id, R + 256 G + 65536 B, and 0 where there is no segment. Where masks overlap, the smallest lies on
top; segments that are hidden completely are left out. All categories are things.

Source: https://cocodataset.org/#format-data, section 4, and panopticapi.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from segzs.files import atomic_write
from segzs.formats.annotations import ImageAnnotations, category_ids, label_of
from segzs.formats.files import Stems
from segzs.formats.rasters import flattened
from segzs.masks import RLE


def write(
    annotations: Iterable[ImageAnnotations], destination: Path, *, categories: Sequence[str] = (), base: int = 1
) -> None:
    """Write the folder; ``categories`` and ``base`` number the categories as for `coco.write`."""
    ids, stems, images, rows = category_ids(categories, base), Stems(), [], []
    for image_id, one in enumerate(annotations, start=1):
        file_name = f"{stems(one.file)}.png"
        canvas = flattened(one, range(1, len(one.segments) + 1))
        with atomic_write(destination / "panoptic" / file_name, "wb") as file:
            colours = np.stack([canvas & 255, canvas >> 8 & 255, canvas >> 16], axis=2)
            PIL.Image.fromarray(colours.astype(np.uint8)).save(file, "PNG")
        infos = []
        for number, segment in enumerate(one.segments, start=1):
            category, visible = ids[label_of(segment)], RLE.encode(canvas == number)
            x1, y1, x2, y2 = visible.box
            if visible.area:
                box = [x1, y1, x2 - x1, y2 - y1]
                infos.append({"id": number, "category_id": category, "area": visible.area, "bbox": box, "iscrowd": 0})
        images.append({"id": image_id, "file_name": one.file, "width": one.width, "height": one.height})
        rows.append({"image_id": image_id, "file_name": file_name, "segments_info": infos})
    content = {
        "info": {"description": "segzs"},
        "images": images,
        "annotations": rows,
        "categories": [{"id": number, "name": name, "isthing": 1} for name, number in ids.items()],
    }
    with atomic_write(destination / "panoptic.json") as file:
        json.dump(content, file, ensure_ascii=False)

"""COCO panoptic: ``panoptic.json``, and in ``panoptic/`` a PNG an image, whose colours are the ids of its segments.

A pixel has one id, R + 256 G + 65536 B, and 0 where there is nothing. Where masks overlap the smallest lies on top;
what is hidden altogether is left out. All categories are things.

Source: https://cocodataset.org/#format-data, section 4, and panopticapi.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from segzs.formats.annotations import ImageAnnotations, category_ids, label_of
from segzs.formats.files import Stems, atomic_write
from segzs.formats.flat import flattened
from segzs.masks import RLE


def write(
    annotated: Iterable[ImageAnnotations], destination: Path, *, categories: Sequence[str] = (), base: int = 1
) -> None:
    """Write the folder; ``categories`` and ``base`` number the categories as for `coco.write`."""
    ids, stems, images, annotations = category_ids(categories, base), Stems(), [], []
    for image_id, one in enumerate(annotated, start=1):
        file_name = f"{stems(one.file)}.png"
        canvas = flattened(one, range(1, len(one.segments) + 1))
        with atomic_write(destination / "panoptic" / file_name, "wb") as file:
            colours = np.stack([canvas & 255, canvas >> 8 & 255, canvas >> 16], axis=2)
            PIL.Image.fromarray(colours.astype(np.uint8)).save(file, "PNG")
        infos = []
        for number, segment in enumerate(one.segments, start=1):
            category, shown = ids[label_of(segment)], RLE.encode(canvas == number)
            x1, y1, x2, y2 = shown.box
            if shown.area:
                box = [x1, y1, x2 - x1, y2 - y1]
                infos.append({"id": number, "category_id": category, "area": shown.area, "bbox": box, "iscrowd": 0})
        images.append({"id": image_id, "file_name": one.file, "width": one.width, "height": one.height})
        annotations.append({"image_id": image_id, "file_name": file_name, "segments_info": infos})
    known = {
        "info": {"description": "segzs"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "isthing": 1} for name, number in ids.items()],
    }
    with atomic_write(destination / "panoptic.json") as file:
        json.dump(known, file, ensure_ascii=False)

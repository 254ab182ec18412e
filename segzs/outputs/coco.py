"""COCO instance files, as pycocotools, CVAT, FiftyOne and most trainers read them.

Ids start at 1 (0 breaks CVAT's import and COCO's evaluation), ``iscrowd`` is 0 so that evaluators count every mask,
masks are RLE so that holes and parts survive, ``area`` is the mask's, and ``score`` is kept.
"""

from __future__ import annotations

import json

from segzs.segments import UNKNOWN, Segments


def to_dict(segments: Segments, file_name: str) -> dict:
    """One image, its categories and its annotations as plain values."""
    names = sorted({segment.name or UNKNOWN for segment in segments})
    category = {name: index for index, name in enumerate(names, start=1)}
    annotations = [
        {
            "id": index,
            "image_id": 1,
            "category_id": category[segment.name or UNKNOWN],
            "segmentation": segment.rle.coco(),
            "area": segment.area,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "iscrowd": 0,
            "score": round(float(segment.probability if segment.names else segment.predicted_iou), 4),
        }
        for index, segment in enumerate(segments, start=1)
        for x1, y1, x2, y2 in [segment.box]
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

"""COCO instance files and results, as pycocotools, CVAT, FiftyOne and most trainers read them.

Ids start at 1 (0 breaks CVAT's import and COCO's evaluation), ``iscrowd`` is 0 so that evaluators count every mask,
masks are RLE so that holes and parts survive, ``area`` is the mask's. What COCO has no field for (runner-up names,
SAM's scores, models, digests) stands under keys of its own, which readers pass over.

Source: https://cocodataset.org/#format-data and #format-results.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from segzs.errors import OutputError
from segzs.formats.annotations import (
    ImageAnnotations,
    blank,
    category_ids,
    check_near,
    details_of,
    label_of,
    rle_of,
    score_of,
    segment_of,
)
from segzs.formats.files import atomic_write, load_json, reading
from segzs.formats.polygons import corners
from segzs.masks import RLE
from segzs.segments import Segment

WHAT = "a COCO instance file"


def write(
    annotated: Iterable[ImageAnnotations],
    destination: Path,
    *,
    categories: Sequence[str] = (),
    base: int = 1,
    polygons: bool = False,
) -> None:
    """Write one instance file, annotation by annotation, so that memory holds one image at a time.

    Args:
        annotated: the images.
        destination: the file.
        categories: labels in the order of their ids; others follow as they come.
        base: the first category id.
        polygons: write polygons instead of RLE, for trainers that read nothing else; holes are joined to the outline.
    """
    ids, images, number = category_ids(categories, base), [], count(1)
    with atomic_write(destination) as file:
        file.write('{"info": {"description": "segzs"},\n"annotations": [')
        for image_id, one in enumerate(annotated, start=1):
            images.append(_image(image_id, one))
            for segment in one.segments:
                index = next(number)
                annotation: dict = {"id": index, "image_id": image_id, "category_id": ids[label_of(segment)]}
                annotation |= {**_result(segment), "area": segment.area, "iscrowd": 0, **details_of(segment)}
                if polygons:
                    annotation["segmentation"] = [ring.ravel().tolist() for ring in corners(segment.mask)]
                file.write(("\n" if index == 1 else ",\n") + _dumps(annotation))
        file.write('],\n"images": [' + ",\n".join(map(_dumps, images)))
        file.write('],\n"categories": ' + _dumps([{"id": id_, "name": name} for name, id_ in ids.items()]) + "}\n")


def write_results(
    annotated: Iterable[ImageAnnotations],
    destination: Path,
    *,
    categories: Sequence[str] = (),
    base: int = 1,
    like: Path | None = None,
) -> None:
    """Write detections to be compared with a COCO file of the truth, ``COCO.loadRes``'s argument.

    Args:
        annotated: the images; without ``like``, numbered as `write` numbers them.
        destination: the file.
        categories: as for `write`.
        base: as for `write`.
        like: the COCO file of the truth, whose ids for images (by file name) and categories (by name) are taken.

    Raises:
        OutputError: an image is not in ``like``.
    """
    ids, images = category_ids(categories, base), {}
    if like is not None:
        with reading(Path(like), WHAT):
            truth = load_json(Path(like))
            ids |= {category["name"]: category["id"] for category in truth["categories"]}
            images = {image["file_name"]: image["id"] for image in truth["images"]}
    with atomic_write(destination) as file:
        start = "["
        for number, one in enumerate(annotated, start=1):
            if like is not None and one.file not in images:
                raise OutputError(f"{one.file!r} is not among the images of {like}")
            for segment in one.segments:
                found = {"image_id": images.get(one.file, number), "category_id": ids[label_of(segment)]}
                file.write(start + _dumps({**found, **_result(segment)}))
                start = ",\n"
        file.write("]\n" if start != "[" else "[]\n")


def read(path: Path) -> Iterator[ImageAnnotations]:
    """Read an instance file: RLE and polygons. A crowd is read as one object, and what has no mask is left out."""
    with reading(path, WHAT):
        known = load_json(path)
        names = {category["id"]: category["name"] for category in known["categories"]}
        of_image: dict[Any, list[dict]] = defaultdict(list)
        for annotation in known["annotations"]:
            of_image[annotation["image_id"]].append(annotation)
        for row in known["images"]:
            size = row["width"], row["height"]
            image = blank(row["file_name"], *size, row.get("model", ""), row.get("sha256", ""))
            segments = (
                segment_of(mask_of(one["segmentation"], image), names[one["category_id"]], one.get("score", 1), one)
                for one in of_image[row["id"]]
                if one["segmentation"]
            )
            yield replace(image, segments=tuple(segments))


def _image(number: int, one: ImageAnnotations) -> dict:
    known = {"id": number, "file_name": one.file, "width": one.width, "height": one.height}
    return known | ({"model": one.model} if one.model else {}) | ({"sha256": one.digest} if one.digest else {})


def _result(segment: Segment) -> dict:
    x1, y1, x2, y2 = segment.box
    return {"segmentation": segment.rle.coco(), "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score_of(segment)}


def mask_of(code: Mapping | list, image: ImageAnnotations) -> RLE:
    """A mask of COCO's run lengths or polygons, at the size of the image.

    Raises:
        KeyError, TypeError, ValueError: it is no such mask.
    """
    if isinstance(code, Mapping):
        return rle_of(code, image)
    width, height = image.width, image.height
    polygons = [[float(number) for number in polygon] for polygon in code]
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon has {len(polygon)} numbers; x and y of three points at least")
        check_near(polygon, image)
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return RLE(height, width, rle["counts"].decode())


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

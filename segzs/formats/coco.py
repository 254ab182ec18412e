"""COCO instance files, as pycocotools, CVAT, FiftyOne and most trainers read them.

Ids start at 1 (0 breaks CVAT's import and COCO's evaluation), ``iscrowd`` is 0 so that evaluators count every mask,
masks are RLE so that holes and parts survive. What COCO has no field for (runner-up names, mask scores, models,
digests) stands under keys of its own, which other readers ignore. Segments without pixels are not written.

Source: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

import segzs.formats.annotations as rows
from segzs.errors import AnnotationError
from segzs.files import atomic_write
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.files import LeftOut, load_json, reading
from segzs.formats.polygons import corners
from segzs.image import Image
from segzs.masks import RLE
from segzs.segments import Segment

EXPECTED = "a COCO instance file"
MAX_NAME = 40


def write(
    annotations: Iterable[ImageAnnotations],
    destination: Path,
    *,
    categories: Sequence[str] = (),
    base: int = 1,
    polygons: bool = False,
) -> None:
    """Write an instance file, annotation by annotation, so that memory holds one image at a time.

    ``categories`` are labels in the order of their ids, from ``base``; further labels follow as they occur.
    ``polygons`` writes polygons instead of RLE, for trainers that read nothing else; holes are joined to the outline.
    """
    ids, images, number = rows.category_ids(categories, base), [], count(1)
    with atomic_write(destination) as file:
        file.write('{"info": {"description": "segzs"},\n"annotations": [')
        for image_id, one in enumerate(annotations, start=1):
            images.append(_image_row(image_id, one))
            for segment in (segment for segment in one.segments if segment.area):
                index = next(number)
                row: dict[str, Any] = {"id": index, "image_id": image_id, "category_id": ids[rows.label_of(segment)]}
                x1, y1, x2, y2 = segment.box
                row |= {"segmentation": segment.rle.coco(), "bbox": [x1, y1, x2 - x1, y2 - y1], "area": segment.area}
                row |= {"iscrowd": 0, "score": rows.score_of(segment), **rows.details_of(segment)}
                if polygons:
                    row["segmentation"] = [ring.ravel().tolist() for ring in corners(segment.mask)]
                file.write(("\n" if index == 1 else ",\n") + _dumps(row))
        file.write('],\n"images": [' + ",\n".join(map(_dumps, images)))
        file.write('],\n"categories": ' + _dumps([{"id": id_, "name": name} for name, id_ in ids.items()]) + "}\n")


def read(path: Path) -> Iterator[ImageAnnotations]:
    """Read an instance file: RLE and polygons, a crowd as one object; unusable rows are left out with a warning."""
    return CocoFile.load(path).images()


@dataclass(frozen=True)
class CocoFile:
    """A COCO instance file whose masks are not parsed yet.

    ``labels`` has the names of the categories by their ids, in the order of the file. Ids may be numbers or text.
    """

    path: Path
    labels: Mapping[str, str]
    content: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> CocoFile:
        """Read a file; a category without a name is left out with a warning."""
        with reading(path, EXPECTED):
            content = load_json(path)
            if isinstance(content, list):
                raise ValueError("it is a list, as COCO results are")
            for key in ("categories", "annotations", "images"):
                if not isinstance(content[key], list):
                    raise TypeError(f"{key!r} is {type(content[key]).__name__}; a list is expected")
            labels, left_out = {}, LeftOut(path)
            for number, row in enumerate(content["categories"]):
                with left_out.unless_valid(f"category {name_of(row, number)}"):
                    if not isinstance(name := row["name"], str) or not name.strip():
                        raise TypeError(f"its name is {name!r}; text is expected")
                    labels[key_of(row["id"])] = name
            left_out.warn()
            return cls(path, labels, content)

    def images(self, *, things_only: bool = False) -> Iterator[ImageAnnotations]:
        """The images with their segments, one after the other.

        Rows that cannot be used are left out with a warning: without a mask or with an invalid one, of an unknown
        category or image, without a file name or a size. ``things_only`` also leaves out crowds, and rows that the file
        calls stuff (``isthing`` 0).
        """
        left_out = LeftOut(self.path)
        images: list[tuple[str, ImageAnnotations]] = []
        for number, row in enumerate(self.content["images"]):
            with left_out.unless_valid(f"image {name_of(row, number)}"):
                images.append((key_of(row["id"]), self._image(row)))
        if self.content["images"] and not images:
            raise AnnotationError(f"{left_out}; {EXPECTED} is expected")
        rows_of: dict[str, list[tuple[str, Mapping[str, Any]]]] = {image_id: [] for image_id, _ in images}
        for number, row in enumerate(self.content["annotations"]):
            with left_out.unless_valid(name := f"annotation {name_of(row, number)}"):
                if (image_id := key_of(row["image_id"])) not in rows_of:
                    raise ValueError(f"its image {image_id} is not in the file")
                if not things_only or not (is_true(row.get("iscrowd")) or row.get("isthing") in (0, "0")):
                    rows_of[image_id].append((name, row))
        for image_id, image in images:
            segments = []
            for name, row in rows_of[image_id]:
                with left_out.unless_valid(name):
                    segments.append(self._segment(row, image))
            yield replace(image, segments=tuple(segments))
        left_out.warn()

    def _image(self, row: Mapping[str, Any]) -> ImageAnnotations:
        source = next((str(of[key]) for of in (row, self.content) for key in ("source", "dataset") if of.get(key)), "")
        return rows.image_of_row(row, row["file_name"], row["width"], row["height"], source)

    def _segment(self, row: Mapping[str, Any], image: ImageAnnotations) -> Segment:
        category = key_of(row["category_id"])
        if category not in self.labels:
            raise ValueError(f"the category {category} is missing")
        if not row.get("segmentation"):
            raise ValueError("no segmentation")
        rle = mask_of(row["segmentation"], image)
        if not rle.area:
            raise ValueError("the mask has no pixels")
        return rows.segment_of(rle, self.labels[category], row.get("score"), row)


def mask_of(code: Any, image: ImageAnnotations | Image) -> RLE:
    """The mask of a ``segmentation``: run lengths, polygons, or a bool array (height, width) of SAM's generator."""
    if isinstance(code, Mapping):
        return rows.rle_of(code, image)
    if isinstance(code, np.ndarray):
        if code.shape != (image.height, image.width):
            raise ValueError(f"the mask has the shape {code.shape}; ({image.height}, {image.width}) is expected")
        return RLE.encode(code.astype(bool))
    if not isinstance(code, list) or not all(isinstance(polygon, list) for polygon in code):
        raise TypeError(f"the segmentation is a {type(code).__name__}, but not of lists; polygons or RLE are expected")
    polygons = [[float(number) for number in polygon] for polygon in code]
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon has {len(polygon)} numbers; x and y of at least three points are expected")
        rows.check_near(polygon, image)
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, image.height, image.width))
    return RLE(image.height, image.width, rle["counts"].decode())


def is_true(flag: Any) -> bool:
    """Whether a flag is set; some programs write "0" for 0."""
    return bool(flag) and flag != "0"


def key_of(id_: Any) -> str:
    """An id as text: 7, 7.0 and "7" are the same id."""
    if not isinstance(id_, int | float | str):
        raise TypeError(f"an id is {id_!r}; a number or text is expected")
    return str(int(id_)) if isinstance(id_, float) and id_.is_integer() else str(id_)


def name_of(row: Any, number: int) -> str:
    """What a warning calls a row: by its id, or else by its place in the file, from 0."""
    id_ = row.get("id") if isinstance(row, Mapping) else None
    return f"at index {number}" if id_ is None else str(id_)[:MAX_NAME]


def _image_row(number: int, one: ImageAnnotations) -> dict[str, Any]:
    row = {"id": number, "file_name": one.file, "width": one.width, "height": one.height}
    return row | {k: v for k, v in (("model", one.model), ("sha256", one.digests.pixels), ("source", one.source)) if v}


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

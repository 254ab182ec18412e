"""labelme: a JSON file an image, named after it; masks as labelme's own PNGs, or polygons that can be edited there.

``labelme FOLDER`` opens the files where they lie beside the images. Scores and runner-up names stand under keys of
their own, which labelme keeps. The parts of an object share a ``group_id``. X-AnyLabeling's files are read as well.

Source: https://github.com/wkentaro/labelme, ``labelme/_label_file.py`` and ``labelme/utils/shape.py``;
https://github.com/CVHub520/X-AnyLabeling.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw

import segzs.formats.annotations as rows
from segzs.checks import short
from segzs.files import atomic_write
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.files import LeftOut, Stems, load_json, read_files, reading
from segzs.formats.polygons import pixels
from segzs.image import read_image
from segzs.masks import RLE
from segzs.segments import Segment

EXPECTED = "a labelme file"
VERSION = "5.5.0"  # the first that reads masks as they are written here


def write(annotations: Iterable[ImageAnnotations], destination: Path, *, polygons: bool = False) -> None:
    """Write a JSON file an image into the folder, and into subfolders where the file names have them.

    ``polygons`` writes polygons instead of masks; labelme draws them as exactly the same pixels. Segments without
    pixels are not written.
    """
    stems = Stems()
    for one in annotations:
        stem = stems(one.file)
        shapes = [
            shape
            for number, segment in enumerate(one.segments, start=1)
            for shape in (_polygons(segment, number) if polygons else _masks(segment))
        ]
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": PurePosixPath(one.file.replace("\\", "/")).name,
            "imageData": None,
            "imageHeight": one.height,
            "imageWidth": one.width,
            "model": one.model,
            "sha256": one.digests.pixels,
        }
        with atomic_write(destination / f"{stem}.json") as file:
            json.dump(content, file, ensure_ascii=False, indent=1)


def read(path: Path) -> Iterator[ImageAnnotations]:
    """Read a file, or all of a folder and its subfolders: masks, polygons, circles, rectangles, also rotated ones.

    Shapes of one label and ``group_id`` are one object. Shapes that cannot be used, as points and lines, are left out
    with a warning, and so are bad files of a folder.
    """
    if path.is_dir():
        files = sorted(path.rglob("*.json"))
        yield from read_files(files, lambda file: _read(file, file.parent.relative_to(path)))
    else:
        yield from _read(path, PurePath())


def _read(file: Path, folder: PurePath) -> Iterator[ImageAnnotations]:
    """Read one file; the name of its image gets the folder in front."""
    with reading(file, EXPECTED):
        content = load_json(file)
        name = PureWindowsPath(content["imagePath"]).as_posix()  # the separators are those of the writer's machine
        size = content["imageWidth"], content["imageHeight"]
        image = rows.image_of_row(content, (folder / name).as_posix(), *size)
        left_out = LeftOut(file)
        objects: dict[object, tuple[np.ndarray, dict[str, Any]]] = {}
        for index, shape in enumerate(content["shapes"]):
            with left_out.unless_valid(f"shape {index}"):
                group = shape.get("group_id")
                key = ("shape", index) if group is None else (shape["label"], group)
                before, first = objects.get(key, (False, shape))
                objects[key] = (before | _mask_of(shape, image), first)
        segments = []
        for mask, shape in objects.values():
            with left_out.unless_valid(f"the shape {str(shape.get('label'))!r:.40}"):
                segments.append(rows.segment_of(RLE.encode(mask), shape["label"], shape.get("score"), shape))
        left_out.warn()
    yield replace(image, segments=tuple(segments))


def _mask_of(shape: dict[str, Any], image: ImageAnnotations) -> np.ndarray:
    """A shape as labelme draws it: bool (height, width)."""
    canvas = PIL.Image.new("L", (image.width, image.height))
    draw = PIL.ImageDraw.Draw(canvas)
    points = [(float(x), float(y)) for x, y in shape["points"]]
    rows.check_near([side for point in points for side in point], image)
    kind = shape.get("shape_type") or "polygon"
    if kind == "mask":
        png = base64.b64decode(shape["mask"])
        part = read_image(png, background=(0, 0, 0), max_pixels=image.width * image.height).pixels.any(2)
        canvas.paste(PIL.Image.fromarray(part.astype(np.uint8)), (int(points[0][0]), int(points[0][1])))
    elif kind in ("polygon", "oriented_rectangle", "rotation", "quadrilateral"):
        if len(points) < 3:
            raise ValueError(f"a polygon has {len(points)} points; at least three are expected")
        draw.polygon(points, fill=1, outline=1)
    elif kind == "rectangle":  # two opposite corners, or all four
        xs, ys = zip(*points, strict=True)
        draw.rectangle((min(xs), min(ys), max(xs), max(ys)), fill=1, outline=1)
    elif kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    else:
        raise ValueError(f"a shape of the type {short(kind)} encloses no area")
    mask = np.asarray(canvas).astype(bool)
    if not mask.any():
        raise ValueError("the mask has no pixels")
    return mask


def _masks(segment: Segment) -> list[dict[str, Any]]:
    x1, y1, x2, y2 = segment.box
    if not segment.area:
        return []
    buffer = io.BytesIO()
    PIL.Image.fromarray(segment.mask[y1:y2, x1:x2]).save(buffer, "PNG")
    code = base64.b64encode(buffer.getvalue()).decode()
    return [_shape(segment, "mask", [[x1, y1], [x2 - 1, y2 - 1]], None, code)]


def _polygons(segment: Segment, number: int) -> list[dict[str, Any]]:
    parts = [(polygon + 0.5).tolist() for polygon in pixels(segment.mask)]  # through the middle of pixels
    return [_shape(segment, "polygon", points, number if len(parts) > 1 else None, None) for points in parts]


def _shape(segment: Segment, kind: str, points: list[Any], group: int | None, mask: str | None) -> dict[str, Any]:
    return {
        "label": rows.label_of(segment),
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": mask,
        "score": rows.score_of(segment),
        **rows.details_of(segment),
    }

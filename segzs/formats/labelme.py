"""labelme: a JSON file an image, named after it; masks as labelme's own PNGs, or polygons that can be edited there.

Put beside the pictures, ``labelme FOLDER`` opens them. Scores and runner-up names stand under keys of their own,
which labelme keeps. Parts of one object share a ``group_id``.

Source: https://github.com/wkentaro/labelme, ``labelme/_label_file.py`` and ``labelme/utils/shape.py``.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import numpy as np
import PIL.Image
import PIL.ImageDraw

from segzs.errors import warn
from segzs.formats.annotations import ImageAnnotations, blank, check_near, details_of, label_of, score_of, segment_of
from segzs.formats.files import FormatWarning, Stems, atomic_write, load_json, reading
from segzs.formats.polygons import pixels
from segzs.masks import RLE
from segzs.segments import Segment

WHAT = "a file that labelme wrote"
VERSION = "5.5.0"  # the first that reads masks as they are written here


def write(annotated: Iterable[ImageAnnotations], destination: Path, *, polygons: bool = False) -> None:
    """Write a JSON file an image into the folder, and into folders of it where file names have such.

    ``polygons`` writes polygons instead of masks; labelme draws them as exactly the same pixels.
    """
    stems = Stems()
    for one in annotated:
        stem = stems(one.file)
        shapes = [
            shape
            for number, segment in enumerate(one.segments, start=1)
            for shape in (_polygons(segment, number) if polygons else _masks(segment))
        ]
        known: dict = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": PurePosixPath(one.file.replace("\\", "/")).name,
            "imageData": None,
            "imageHeight": one.height,
            "imageWidth": one.width,
            "model": one.model,
            "sha256": one.digest,
        }
        with atomic_write(destination / f"{stem}.json") as file:
            json.dump(known, file, ensure_ascii=False, indent=1)


def read(path: Path) -> Iterator[ImageAnnotations]:
    """Read a file, or all of a folder and its folders: masks, polygons, rectangles and circles.

    Shapes of one label and ``group_id`` are one object. Points and lines are left out, with a warning.
    """
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        with reading(file, WHAT):
            folder = file.parent.relative_to(path) if path.is_dir() else PurePath()
            yield _annotated(load_json(file), folder)


def _annotated(known: dict, folder: PurePath) -> ImageAnnotations:
    name = PureWindowsPath(known["imagePath"]).as_posix()  # labelme writes the separators of its machine
    size = known["imageWidth"], known["imageHeight"]
    image = blank((folder / name).as_posix(), *size, known.get("model", ""), known.get("sha256", ""))
    objects: dict[object, tuple[np.ndarray, dict]] = {}
    for index, shape in enumerate(known["shapes"]):
        mask = _drawn(shape, image)
        if mask is None:
            warn(f"labelme's {shape['shape_type']}s enclose nothing and are left out", FormatWarning)
            continue
        group = shape.get("group_id")
        key = ("shape", index) if group is None else (shape["label"], group)
        before, first = objects.get(key, (False, shape))
        objects[key] = (before | mask, first)
    segments = (
        segment_of(RLE.encode(mask), shape["label"], shape.get("score", 1), shape) for mask, shape in objects.values()
    )
    return replace(image, segments=tuple(segments))


def _drawn(shape: dict, image: ImageAnnotations) -> np.ndarray | None:
    """The shape as a mask, as labelme draws it: bool (height, width); None where it is no area."""
    canvas = PIL.Image.new("L", (image.width, image.height))
    draw = PIL.ImageDraw.Draw(canvas)
    points = [(float(x), float(y)) for x, y in shape["points"]]
    check_near([side for point in points for side in point], image)
    kind = shape.get("shape_type") or "polygon"
    if kind == "mask":
        with PIL.Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as picture:
            canvas.paste(picture.convert("L").point(bool), (int(points[0][0]), int(points[0][1])))
    elif kind in ("polygon", "oriented_rectangle"):
        draw.polygon(points, fill=1, outline=1)
    elif kind == "rectangle":
        (x1, y1), (x2, y2) = points
        draw.rectangle((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), fill=1, outline=1)
    elif kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    else:
        return None
    return np.asarray(canvas).astype(bool)


def _masks(segment: Segment) -> list[dict]:
    x1, y1, x2, y2 = segment.box
    if not segment.area:
        return []
    buffer = io.BytesIO()
    PIL.Image.fromarray(segment.mask[y1:y2, x1:x2]).save(buffer, "PNG")
    code = base64.b64encode(buffer.getvalue()).decode()
    return [_shape(segment, "mask", [[x1, y1], [x2 - 1, y2 - 1]], None, code)]


def _polygons(segment: Segment, number: int) -> list[dict]:
    parts = [(polygon + 0.5).tolist() for polygon in pixels(segment.mask)]  # through the middle of pixels
    return [_shape(segment, "polygon", points, number if len(parts) > 1 else None, None) for points in parts]


def _shape(segment: Segment, kind: str, points: list, group: int | None, mask: str | None) -> dict:
    return {
        "label": label_of(segment),
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": mask,
        "score": score_of(segment),
        **details_of(segment),
    }

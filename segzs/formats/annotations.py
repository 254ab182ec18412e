"""Annotated: what files of every format hold of an image: its name and size, and its segments, without the pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from segzs.checks import check_number
from segzs.errors import AnnotationError, UsageError
from segzs.image import MAX_PIXELS, ImageSource, read_image
from segzs.masks import RLE
from segzs.segments import UNKNOWN, Name, Segment, Segments


@dataclass(frozen=True)
class ImageAnnotations:
    """An image's file name and size with its segments; thousands of them fit into memory where pixels would not.

    ``file`` is the name as a file states it, mostly relative to some folder of pictures. ``model`` says which models
    made the segments and ``digest`` is that of `Image`; both are empty where that is not known. What people drew has
    a predicted IoU, a stability and a probability of 1.

    Raises:
        AnnotationError: the size is no size, or a mask has another one.

    >>> mask = RLE.encode(np.ones((2, 3), bool))
    >>> cat = Segment(mask, 0.9, 0.8, (Name("cat", 0.7), Name("dog", 0.2)))
    >>> ImageAnnotations("cat.jpg", 3, 2, (cat,)).segments[0].name
    'cat'
    """

    file: str
    width: int
    height: int
    segments: tuple[Segment, ...] = ()
    model: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        for side in (self.width, self.height):
            if isinstance(side, bool) or not isinstance(side, int) or side < 1:
                raise AnnotationError(f"{self.file!r} has a side of {side!r} pixels; a whole number from 1 is expected")
        for segment in self.segments:
            if (segment.rle.width, segment.rle.height) != (self.width, self.height):
                raise AnnotationError(
                    f"{self.file!r} has {self.width}x{self.height} pixels, "
                    f"and a mask of {segment.rle.width}x{segment.rle.height}"
                )

    @classmethod
    def of(cls, segments: Segments, file: str) -> ImageAnnotations:
        """What there is to write of segments, under the file name of their image."""
        image = segments.image
        return cls(file, image.width, image.height, segments.items, segments.model, image.digest)

    def on(self, source: ImageSource) -> Segments:
        """The segments on their image, to be looked at, or named by `Segmenter.name`.

        Raises:
            ImageError: the image cannot be read.
            AnnotationError: it has another size, or other pixels than those that were annotated.
        """
        image = read_image(source)
        if (image.width, image.height) != (self.width, self.height):
            raise AnnotationError(
                f"the image has {image.width}x{image.height} pixels, "
                f"{self.file!r} was annotated at {self.width}x{self.height}"
            )
        if self.digest not in ("", image.digest):
            raise AnnotationError(f"the image is not the {self.file!r} that was annotated: its pixels differ")
        return Segments(image, self.segments, self.model)

    def to_dict(self) -> dict:
        """Plain values, ready for JSON: what `Segments.to_dict` says, and the file."""
        return {
            "file": self.file,
            "format": "segzs/1",
            "model": self.model,
            "image": {"width": self.width, "height": self.height, "sha256": self.digest},
            "segments": [segment.to_dict() for segment in self.segments],
        }


def blank(file: object, width: Any, height: Any, model: object = "", digest: object = "") -> ImageAnnotations:
    """An image of a file, before its masks are read.

    Raises:
        AnnotationError: the size is no size, or one that `read_image` refuses.
    """
    image = ImageAnnotations(str(file), width, height, (), str(model), str(digest))
    if width * height > MAX_PIXELS:
        raise AnnotationError(f"{image.file!r} has {width}x{height} pixels, more than {MAX_PIXELS:,}")
    return image


def label_of(segment: Segment) -> str:
    """The name under which a segment is filed: formats know no objects without one."""
    return segment.name or UNKNOWN


def score_of(segment: Segment) -> float:
    """The one number that formats have room for: of the name, or where there is none, of the mask."""
    return round(float(segment.probability if segment.names else segment.predicted_iou), 4)


def details_of(segment: Segment) -> dict:
    """What is known of a segment beyond its mask, label and score; `segment_of` reads it."""
    known = segment.to_dict()
    return {key: known[key] for key in ("names", "predicted_iou", "stability_score")}


def segment_of(rle: RLE, label: str, score: float, details: Mapping[str, Any]) -> Segment:
    """The segment of a mask, label and score with what `details_of` wrote, or nothing of it.

    Raises:
        KeyError, TypeError, ValueError: the details are not such.
    """
    if not isinstance(label, str):
        raise TypeError(f"the label is {label!r}; text is expected")
    names = details.get("names", [{"label": label, "probability": score}])
    return Segment(
        rle,
        float(details.get("predicted_iou", 1)),
        float(details.get("stability_score", 1)),
        tuple(Name(str(name["label"]), float(name["probability"])) for name in names),
    )


def rle_of(code: Mapping[str, Any], image: ImageAnnotations) -> RLE:
    """A mask of COCO's run lengths, compressed or not, that must have the size of the image.

    Raises:
        KeyError, TypeError, ValueError: it is no such mask.
    """
    counts, width, height = code["counts"], image.width, image.height
    if list(code["size"]) != [height, width]:
        raise ValueError(f"a mask has the size {code['size']}, [height, width] of the image is [{height}, {width}]")
    if isinstance(counts, str | bytes):
        return RLE.encode(coco_mask.decode({"size": [height, width], "counts": counts}))
    lengths = np.asarray(counts)
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != width * height:
        raise ValueError(f"the run lengths of a mask are not whole numbers that add up to {width} x {height}")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return RLE.encode(flat.reshape((height, width), order="F"))


def check_near(coordinates: Iterable[float], image: ImageAnnotations) -> None:
    """Refuse shapes that would take forever to be drawn.

    Raises:
        ValueError: a coordinate is far outside of the image, or not finite.
    """
    reach = 2 * (image.width + image.height)
    if strange := [number for number in coordinates if not -reach <= number <= reach]:
        raise ValueError(
            f"a shape has a coordinate {strange[0]}, far outside of an image of {image.width}x{image.height}"
        )


def category_ids(categories: Iterable[str], base: int) -> dict[str, int]:
    """Label -> number from ``base`` on: first these, then others as they are asked for.

    Raises:
        UsageError: ``base`` is no number from 0 on, or a category is there twice.
    """
    check_number("base", base, "a whole number from 0 on", 0, whole=True, error=UsageError)
    categories = list(categories)
    if twice := [name for name in categories if categories.count(name) > 1]:
        raise UsageError(f"the category {twice[0]!r} is there twice, and can have one id only")
    ids: dict[str, int] = defaultdict(lambda: max(ids.values(), default=base - 1) + 1)
    for name in categories:
        ids[name]
    return ids

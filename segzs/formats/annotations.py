"""ImageAnnotations: the named segments of one image file, without its pixels, and how the formats number and score."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from segzs.checks import check_number
from segzs.errors import AnnotationError, UsageError
from segzs.image import MAX_PIXELS, Image, ImageSource, read_image
from segzs.masks import RLE
from segzs.segments import UNKNOWN, Name, Segment, Segments


@dataclass(frozen=True)
class Digests:
    """SHA-256 digests as hexadecimal digits; empty where there is none.

    ``pixels`` is `Image.digest`, ``file`` is of the bytes of the image file, ``sam`` and ``clip`` are of the weights.
    """

    pixels: str = ""
    file: str = ""
    sam: str = ""
    clip: str = ""


@dataclass(frozen=True)
class ImageAnnotations:
    """The segments of one image file, without pixels: thousands of them fit into memory.

    Args:
        file: the file name, relative to a folder of images.
        width: pixels; 0 without a size, as of whole images without segments.
        height: pixels; 0 where the width is.
        segments: what is on the image. Masks that people drew have a predicted IoU, a stability score and a
            probability of 1.
        model: the models that made the segments, as "sam+clip"; or empty.
        digests: of the pixels, the file and the weights.
        source: the data set that the image is from; or empty.
        label: of the whole image, in a folder of classes; formats do not hold it.

    Raises:
        AnnotationError: the size is invalid, or a mask has another size.

    >>> ImageAnnotations("cat.jpg", 640, 480).segments
    ()
    """

    file: str
    width: int = 0
    height: int = 0
    segments: tuple[Segment, ...] = ()
    model: str = ""
    digests: Digests = Digests()
    source: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        if (self.width, self.height, self.segments) == (0, 0, ()):
            return
        for side in (self.width, self.height):
            check_number(f"a side of {self.file!r}", side, "an integer from 1", 1, whole=True, error=AnnotationError)
        for segment in self.segments:
            if (segment.rle.width, segment.rle.height) != (self.width, self.height):
                raise AnnotationError(
                    f"{self.file!r} has {self.width}x{self.height} pixels, but a mask has "
                    f"{segment.rle.width}x{segment.rle.height}"
                )

    @classmethod
    def of(cls, segments: Segments, file: str) -> ImageAnnotations:
        """The annotations of segments, under the file name of their image."""
        image = segments.image
        items = tuple(replace(segment, low_res_logits=None, image=None) for segment in segments)
        return cls(file, image.width, image.height, items, segments.model, Digests(image.digest))

    def on(self, source: ImageSource) -> Segments:
        """The segments on their image, to be drawn, or named by `Segmenter.name`.

        Raises:
            ImageError: the image cannot be read.
            AnnotationError: the image has another size, or other pixels than the annotated one.
        """
        image = read_image(source)
        if self.width and (image.width, image.height) != (self.width, self.height):
            raise AnnotationError(
                f"the image has {image.width}x{image.height} pixels, but {self.file!r} was annotated at "
                f"{self.width}x{self.height}; give the image that belongs to the annotations"
            )
        if self.digests.pixels not in ("", image.digest):
            raise AnnotationError(
                f"the pixels of the image differ from those of the annotated {self.file!r}; give the image that "
                "belongs to the annotations"
            )
        return Segments(image, self.segments, self.model)


def image_of_row(row: Mapping[str, Any], file: Any, width: Any, height: Any, source: str = "") -> ImageAnnotations:
    """The image of a row of a file, before its masks are parsed; ``model`` and ``sha256`` are optional keys of the row.

    Raises `TypeError` or `AnnotationError` if the name or the size is invalid.
    """
    if not isinstance(file, str) or not file:
        raise TypeError(f"the file name is {file!r}; text is expected")
    check_number(f"the width of {file!r}", width, "an integer from 1", 1, whole=True, error=AnnotationError)
    digests = Digests(str(row.get("sha256") or ""))
    image = ImageAnnotations(file, width, height, (), str(row.get("model") or ""), digests, source)
    if width * height > MAX_PIXELS:
        raise AnnotationError(f"{file!r} has {width}x{height} pixels; at most {MAX_PIXELS:,} are expected")
    return image


def label_of(segment: Segment) -> str:
    """The name of a segment, or "unknown": formats know no objects without a name."""
    return segment.name or UNKNOWN


def score_of(segment: Segment) -> float:
    """The one score that formats have room for: the probability of the name, or else the predicted IoU."""
    return round(float(segment.probability if segment.names else segment.predicted_iou), 4)


def details_of(segment: Segment) -> dict[str, Any]:
    """The runner-up names and mask scores of a segment as plain values; `segment_of` reads them."""
    return {key: segment.to_dict()[key] for key in ("names", "predicted_iou", "stability_score")}


def segment_of(rle: RLE, label: Any, score: Any, details: Mapping[str, Any]) -> Segment:
    """The segment of a mask, label and score, with what `details_of` wrote where it is given; null is not given.

    Raises one of `segzs.formats.files.INVALID` for invalid values, as the following functions do.
    """
    names = details.get("names")
    if names is None or label not in ([names[0]["label"]] if names else ["", UNKNOWN]):  # other tools change labels
        if not isinstance(label, str) or not label.strip():
            raise TypeError(f"the label is {label!r}; text is expected")
        names = [{"label": label, "probability": score}]
    return Segment(
        rle,
        _number(details.get("predicted_iou")),
        _number(details.get("stability_score")),
        tuple(Name(str(name["label"]), _number(name["probability"])) for name in names),
    )


def _number(value: Any) -> float:
    number = 1.0 if value is None else float(value)
    if not math.isfinite(number):
        raise ValueError(f"a score is {value!r}; a finite number is expected")
    return number


def rle_of(code: Mapping[str, Any], image: ImageAnnotations | Image) -> RLE:
    """The mask of COCO run lengths, compressed or not, which must have the size of the image."""
    if list(code["size"]) != [image.height, image.width]:
        expected = f"[height, width] of the image is [{image.height}, {image.width}]"
        raise ValueError(f"a mask has the size {code['size']}; {expected}")
    return RLE.from_lengths(image.height, image.width, code["counts"])


def check_near(coordinates: Iterable[float], image: ImageAnnotations | Image) -> None:
    """Refuse shapes far outside of the image, which would take too long to draw."""
    reach = 2 * (image.width + image.height)
    if far := [number for number in coordinates if not -reach <= number <= reach]:
        raise ValueError(f"a coordinate is {far[0]}, far outside of an image of {image.width}x{image.height}")


def category_ids(categories: Iterable[str], base: int) -> dict[str, int]:
    """Category ids by label, from ``base``: the given categories first, further labels when they are looked up.

    >>> ids = category_ids(["cat"], 1)
    >>> ids["dog"], ids["cat"]
    (2, 1)
    """
    check_number("base", base, "an integer from 0", 0, whole=True, error=UsageError)
    categories = list(categories)
    if duplicates := [name for name in categories if categories.count(name) > 1]:
        raise UsageError(f"the category {duplicates[0]!r} occurs twice; give each category once")
    ids: dict[str, int] = defaultdict(lambda: max(ids.values(), default=base - 1) + 1)
    for name in categories:
        ids[name]
    return ids

"""Regions from elsewhere: boxes or masks of any detector, as an image's boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from segzs.errors import PromptError
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.coco import mask_of
from segzs.formats.files import load_json, reading
from segzs.image import Image
from segzs.masks import RLE
from segzs.prompts import Prompt

EXPECTED = (
    "boxes (N, 4) as x1 y1 x2 y2, bool masks (N, height, width), COCO results or a file of them, or "
    "supervision.Detections"
)


@dataclass(frozen=True)
class Regions:
    """Boxes that wait to be segmented, or masks that are kept as they are, in the order in which they were given."""

    items: tuple[Prompt | RLE, ...]

    @classmethod
    def of(cls, given: Any, image: Image) -> Regions:
        """From what a detector found on an image.

        Args:
            given: boxes, float (N, 4), x1 y1 x2 y2 in pixels; masks, bool (N, height, width); a list of COCO results
                (``bbox`` is x, y, width, height; a ``segmentation`` goes before it); a JSON file of such; or
                `supervision.Detections`, whose masks go before its boxes.
            image: what they lie on.

        Raises:
            PromptError: it is none of these, or a region lies outside of the image.
            AnnotationError: the file cannot be read.

        Source of the COCO format: https://cocodataset.org/#format-results.

        >>> Regions.of([[10, 10, 90, 60]], Image(np.zeros((100, 100, 3), np.uint8))).items[0].box
        (10.0, 10.0, 90.0, 60.0)
        """
        if isinstance(given, str | PathLike):
            given = _of_file(Path(given))
        if hasattr(given, "xyxy"):  # supervision.Detections
            given = given.xyxy if getattr(given, "mask", None) is None else given.mask
        if isinstance(given, Mapping):
            raise PromptError(f"one mapping was given; {EXPECTED} are expected")
        if isinstance(given, Sequence) and given and all(isinstance(one, Mapping) for one in given):
            if len(images := {str(one.get("image_id", "")) for one in given}) > 1:
                raise PromptError(f"these are results of {len(images)} images; those of one are expected")
            return cls(tuple(_of_result(number, one, image) for number, one in enumerate(given)))
        array = _array(given)
        if array.ndim == 3:
            return cls(_of_masks(array, image))
        return cls(tuple(_of_box(number, box, image) for number, box in enumerate(array.reshape(-1, 4))))

    @property
    def boxes(self) -> list[Prompt]:
        """The boxes, in order."""
        return [item for item in self.items if isinstance(item, Prompt)]


def _of_file(path: Path) -> Any:
    with reading(path, "a JSON list of COCO results of one image"):
        results = load_json(path)
        if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
            raise TypeError("it holds no list of objects")
        return results


def _array(given: Any) -> np.ndarray:
    if hasattr(given, "detach"):  # a tensor
        given = given.detach().cpu()
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise PromptError(f"the regions are no array ({error}); {EXPECTED} are expected") from error
    if array.size == 0 and array.ndim in (1, 2):
        return np.zeros((0, 4))
    if array.ndim == 3 and (array.dtype == bool or np.isin(array, (0, 1)).all()):
        return array.astype(bool)
    if array.ndim == 2 and array.shape[1] == 4 and array.dtype.kind in "iuf":
        return array
    raise PromptError(f"the regions are {array.dtype} of shape {array.shape}; {EXPECTED} are expected")


def _of_masks(masks: np.ndarray, image: Image) -> tuple[RLE, ...]:
    if masks.shape[1:] != (image.height, image.width):
        raise PromptError(
            f"the masks have the shape {masks.shape}; (N, {image.height}, {image.width}) is expected, as the image has "
            f"{image.width}x{image.height} pixels"
        )
    return tuple(_filled(number, RLE.encode(mask)) for number, mask in enumerate(masks))


def _of_box(number: int, box: Any, image: Image) -> Prompt:
    try:
        return Prompt(box=box).inside(image.width, image.height)
    except PromptError as error:
        raise PromptError(f"region {number}: {error}") from error


def _of_result(number: int, result: Mapping[str, Any], image: Image) -> Prompt | RLE:
    if result.get("segmentation"):
        try:
            rle = mask_of(result["segmentation"], ImageAnnotations("", image.width, image.height))
        except (KeyError, TypeError, ValueError) as error:
            raise PromptError(f"region {number}: the segmentation is no mask of COCO: {error}") from error
        return _filled(number, rle)
    if "bbox" not in result:
        raise PromptError(f"region {number} has neither a bbox nor a segmentation: {sorted(result)}")
    try:
        x, y, width, height = (float(side) for side in result["bbox"])
    except (TypeError, ValueError) as error:
        raise PromptError(f"region {number}: bbox is {result['bbox']!r}; x, y, width, height are expected") from error
    if x + width > image.width + 1 or y + height > image.height + 1:
        raise PromptError(
            f"region {number}: the bbox {result['bbox']} leaves the image of {image.width}x{image.height} pixels; "
            "COCO's is x, y, width, height (corners x1, y1, x2, y2 are given as an array)"
        )
    return _of_box(number, (x, y, x + width, y + height), image)


def _filled(number: int, rle: RLE) -> RLE:
    if not rle.area:
        raise PromptError(f"region {number} is an empty mask; leave it out")
    return rle

"""Boxes and masks of any detector, as prompts and masks of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from segzs.checks import short
from segzs.errors import PromptError
from segzs.formats.coco import key_of, mask_of, name_of
from segzs.formats.files import LeftOut, load_json, reading
from segzs.image import Image
from segzs.masks import RLE
from segzs.prompts import Prompt

EXPECTED = (
    "boxes (N, 4) as x1 y1 x2 y2, bool masks (N, height, width), COCO results or a file of them, or "
    "supervision.Detections"
)


def read_detections(detections: Any, image: Image) -> tuple[Prompt | RLE, ...]:
    """Boxes to be segmented, or masks that stay as they are, in the order of the detections.

    Args:
        detections: boxes, float (N, 4), x1 y1 x2 y2 in pixels; masks, bool (N, height, width); a list of COCO results
            (``bbox`` is x, y, width, height; a ``segmentation`` has precedence); the list that
            `SamAutomaticMaskGenerator.generate` returns; a JSON file of results; or `supervision.Detections`, whose
            masks have precedence over its boxes.
        image: the image that they lie on.

    Raises:
        PromptError: the detections have another form, or one lies outside the image.
        AnnotationError: the file cannot be read.

    Warns:
        FormatWarning: results of the file are left out because they are invalid.

    Source of the COCO format: https://cocodataset.org/#format-results.

    >>> read_detections([[10, 10, 90, 60]], Image(np.zeros((100, 100, 3), np.uint8)))[0].box
    (10.0, 10.0, 90.0, 60.0)
    """
    if isinstance(detections, str | PathLike):
        return _read_file(Path(detections), image)
    if hasattr(detections, "xyxy"):  # supervision.Detections
        detections = detections.xyxy if getattr(detections, "mask", None) is None else detections.mask
    if isinstance(detections, Mapping):
        raise PromptError(f"the detections are one mapping; {EXPECTED} are expected")
    if isinstance(detections, Sequence) and detections and all(isinstance(one, Mapping) for one in detections):
        _check_one_image(detections)
        return tuple(_from_result(number, one, image) for number, one in enumerate(detections))
    if np.ma.is_masked(detections):
        raise PromptError("some numbers of the detections are masked; leave out those detections")
    if hasattr(detections, "detach"):  # a tensor
        detections = detections.detach().cpu()
    try:
        array = np.asarray(detections)
    except ValueError as error:  # rows of different lengths
        raise PromptError(f"the detections are not an array ({error}); {EXPECTED} are expected") from error
    if array.ndim == 3 and (array.dtype == bool or np.isin(array, (0, 1)).all()):
        return _from_masks(array.astype(bool), image)
    if array.size == 0 or (array.ndim == 2 and array.shape[1] == 4 and array.dtype.kind in "iuf"):
        return tuple(_from_box(number, box, image) for number, box in enumerate(array.reshape(-1, 4)))
    raise PromptError(f"the detections are {array.dtype} of shape {array.shape}; {EXPECTED} are expected")


def _read_file(path: Path, image: Image) -> tuple[Prompt | RLE, ...]:
    """The results of a file; invalid ones are left out with a warning, as `segzs.formats.read` does."""
    with reading(path, "a JSON list of COCO results of one image"):
        results = load_json(path)
        if not isinstance(results, list):
            raise TypeError("the file does not hold a list")
    _check_one_image([result for result in results if isinstance(result, dict)])
    left_out, items = LeftOut(path), []
    for number, result in enumerate(results):
        with left_out.unless_valid(f"result {name_of(result, number)}"):
            items.append(_from_result(number, result, image))
    left_out.warn()
    return tuple(items)


def _check_one_image(results: Sequence[Mapping[str, Any]]) -> None:
    given = [image for result in results if (image := result.get("image_id")) is not None]
    if len(images := {key_of(image) for image in given if isinstance(image, int | float | str)}) > 1:
        raise PromptError(f"the results are of {len(images)} images; give those of one image")


def _from_masks(masks: np.ndarray, image: Image) -> tuple[RLE, ...]:
    if masks.shape[1:] != (image.height, image.width):
        raise PromptError(
            f"the masks have shape {masks.shape}; (N, {image.height}, {image.width}) is expected for this image"
        )
    return tuple(_not_empty(number, RLE.encode(mask)) for number, mask in enumerate(masks))


def _from_box(number: int, box: Any, image: Image) -> Prompt:
    try:
        return Prompt(box=box).inside(image.width, image.height)
    except PromptError as error:
        raise PromptError(f"detection {number}: {error}") from error


def _from_result(number: int, result: Mapping[str, Any], image: Image) -> Prompt | RLE:
    if not isinstance(result, Mapping):
        raise PromptError(f"detection {number} is not an object of JSON but {short(result)}")
    segmentation = result.get("segmentation")
    if isinstance(segmentation, np.ndarray) or segmentation:
        try:
            rle = mask_of(segmentation, image)
        except (KeyError, TypeError, ValueError) as error:
            raise PromptError(f"detection {number}: the segmentation is not a COCO mask: {error}") from error
        return _not_empty(number, rle)
    if "bbox" not in result:
        raise PromptError(f"detection {number} has neither a bbox nor a segmentation: {sorted(result)}")
    box = result["bbox"]
    try:
        x, y, width, height = map(float, box)
    except (TypeError, ValueError) as error:
        raise PromptError(f"detection {number}: bbox is {short(box)}; x, y, width, height are expected") from error
    if x + width > image.width + 1 or y + height > image.height + 1:
        raise PromptError(
            f"detection {number}: the bbox {box} leaves the image of {image.width}x{image.height} pixels; "
            "COCO's is x, y, width, height (corners x1, y1, x2, y2 are given as an array)"
        )
    return _from_box(number, (x, y, x + width, y + height), image)


def _not_empty(number: int, rle: RLE) -> RLE:
    if not rle.area:
        raise PromptError(f"detection {number} is an empty mask; leave it out")
    return rle

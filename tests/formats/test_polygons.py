"""Polygons and runs draw exactly the mask that they were made from, by the rules of the programs that draw them."""

from __future__ import annotations

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
from hypothesis import given
from pycocotools import mask as coco_mask

from segzs.formats.cvat import points
from segzs.formats.label_studio import brush
from segzs.formats.polygons import corners, pixels
from segzs.formats.rasters import row_runs
from segzs.masks import RLE
from tests.formats.conftest import masks


def parts_of(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


@given(masks())
def test_corners_enclose_the_mask_by_area(mask: np.ndarray) -> None:
    polygons = corners(mask)
    codes = coco_mask.frPyObjects([polygon.ravel().astype(float).tolist() for polygon in polygons], *mask.shape)
    assert np.array_equal(coco_mask.decode(coco_mask.merge(codes)).astype(bool), mask)
    assert len(polygons) == parts_of(mask)


@given(masks())
def test_pixels_drawn_with_their_outline_are_the_mask(mask: np.ndarray) -> None:
    polygons = pixels(mask)
    canvas = np.zeros(mask.shape, np.uint8)
    image = PIL.Image.fromarray(canvas)
    for polygon in polygons:
        cv2.fillPoly(canvas, [polygon.astype(np.int32)], 1)
        PIL.ImageDraw.Draw(image).polygon([(x, y) for x, y in polygon + 0.5], fill=1, outline=1)
    assert np.array_equal(canvas.astype(bool), mask)
    assert np.array_equal(np.asarray(image).astype(bool), mask)
    assert len(polygons) == parts_of(mask)
    assert min(map(len, polygons)) >= 3


def test_a_mask_of_noise_has_thousands_of_holes_in_one_part() -> None:
    mask = np.random.default_rng(0).random((250, 250)) < 0.7  # took a minute when holes were joined one by one
    polygons = corners(mask)
    codes = coco_mask.frPyObjects([polygon.ravel().astype(float).tolist() for polygon in polygons], 250, 250)
    assert np.array_equal(coco_mask.decode(coco_mask.merge(codes)).astype(bool), mask)
    canvas = np.zeros((250, 250), np.uint8)
    for polygon in pixels(mask):
        cv2.fillPoly(canvas, [polygon.astype(np.int32)], 1)
    assert np.array_equal(canvas.astype(bool), mask)


def test_straight_lines_have_two_ends() -> None:
    square = np.zeros((50, 50), bool)
    square[10:40, 10:40] = True
    assert len(corners(square)[0]) == len(pixels(square)[0]) == 4


@given(masks())
def test_runs_along_rows_are_the_mask(mask: np.ndarray) -> None:
    runs = row_runs(mask)
    assert np.array_equal(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(mask.shape), mask)


@given(masks())
def test_the_points_of_cvat_are_those_of_its_sdk(mask: np.ndarray) -> None:
    from cvat_sdk.masks import decode_mask, encode_mask

    result = points(RLE.encode(mask))
    assert result == encode_mask(mask)
    assert np.array_equal(decode_mask(result, image_width=mask.shape[1], image_height=mask.shape[0]), mask)


def unpacked(code: list[int]) -> np.ndarray:
    """The values that rle-pack's bits stand for, by its description."""
    bits = "".join(f"{byte:08b}" for byte in code)
    at = 0

    def take(size: int) -> int:
        nonlocal at
        at += size
        return int(bits[at - size : at], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        is_run, length = take(1), take(sizes[take(2)]) + 1
        values += [take(word)] * length if is_run else [take(word) for _ in range(length)]
    return np.array(values)


@given(masks())
def test_the_brush_unpacks_to_four_values_a_pixel(mask: np.ndarray) -> None:
    assert np.array_equal(unpacked(brush(mask)).reshape(*mask.shape, 4), np.repeat(mask[..., None] * 255, 4, axis=2))


def test_the_brush_has_runs_longer_than_its_longest() -> None:
    mask = np.zeros((300, 400), bool)
    mask[100:] = True
    assert np.array_equal(unpacked(brush(mask))[::4].reshape(300, 400) == 255, mask)

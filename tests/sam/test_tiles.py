"""Tiles: they cover the image, parts of one object are joined, and masks lie on the whole image."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segzs.errors import PromptError
from segzs.image import Image, read_image
from segzs.masks import RLE, Mask, iou
from segzs.sam.encode import EncodedImage, encode
from segzs.sam.mask_generator import GeneratorOptions
from segzs.sam.model import SamModel
from segzs.sam.tiles import Part, generate_masks_in_tiles, group_parts, tile_boxes

FEW = GeneratorOptions(points_per_side=6)


def parts_of(mask: np.ndarray, per_side: int) -> list[Part]:
    """The part of a mask in each tile."""
    parts = []
    for x1, y1, x2, y2 in tile_boxes(mask.shape[1], mask.shape[0], per_side):
        part = mask[y1:y2, x1:x2]
        if part.any():
            parts.append(Part((x1, y1, x2, y2), Mask(RLE.encode(part), 1.0, 1.0)))
    return parts


def disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.ogrid[:600, :800]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 6))
def test_tiles_cover_the_image(width: int, height: int, per_side: int) -> None:
    covered_x, covered_y = np.zeros(width, bool), np.zeros(height, bool)
    for x1, y1, x2, y2 in tile_boxes(width, height, per_side):
        covered_x[x1:x2] = covered_y[y1:y2] = True
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
    assert covered_x.all()
    assert covered_y.all()


def test_the_parts_of_an_object_in_four_tiles_are_one_group() -> None:
    parts = parts_of(disc(400, 300, 180), 2)
    assert len(parts) == 4
    assert all(part.is_cut(read_image(np.zeros((600, 800), np.uint8))) for part in parts)
    assert [len(group) for group in group_parts(parts)] == [4]


def test_neighbouring_objects_at_a_seam_stay_two_groups() -> None:
    groups = group_parts([*parts_of(disc(400, 120, 100), 2), *parts_of(disc(400, 430, 100), 2)])
    assert sorted(len(group) for group in groups) == [2, 4]  # the lower one lies where the rows of tiles overlap, too


@pytest.mark.slow
def test_masks_of_tiles_lie_on_the_whole_image(tiny: SamModel, desk: Image) -> None:
    pixels = cv2.resize(desk.pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    encoded = encode(tiny, read_image(pixels))
    tiles: list[Image] = []

    def encode_tile(tile: Image) -> EncodedImage:
        tiles.append(tile)
        return encode(tiny, tile)

    steps: list[float] = []
    plain = generate_masks_in_tiles(tiny, encode_tile, encoded, FEW)
    assert not tiles
    masks = generate_masks_in_tiles(tiny, encode_tile, encoded, replace(FEW, tiles=2), steps.append)
    assert len(tiles) == 4
    assert steps == sorted(steps)
    assert steps[-1] == 1
    rles = [mask.rle for mask in masks]
    assert {(rle.height, rle.width) for rle in rles} == {pixels.shape[:2]}
    assert len(masks) > len(plain)
    assert np.triu(iou(rles, rles), 1).max() <= FEW.nms_threshold
    for mask in masks:
        height, width = encoded.input_size
        coarse = cv2.resize(mask.rle.decode().astype(np.float32), (width // 4, height // 4), cv2.INTER_AREA) > 0.5
        low_res = mask.low_res_logits[: height // 4, : width // 4] > 0
        assert (coarse & low_res).sum() > 0.7 * (coarse | low_res).sum()


@pytest.mark.parametrize("tiles", [0, 17, 1.5, "2"])
def test_a_wrong_number_of_tiles_is_refused(tiles: int) -> None:
    with pytest.raises(PromptError, match="tiles is"):
        GeneratorOptions(tiles=tiles)

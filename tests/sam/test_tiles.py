"""Tiles cover the image, what a seam cuts is group_parts, and what is found is as good as elsewhere."""

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
    """What a perfect model finds of a mask in each tile."""
    found = []
    for x1, y1, x2, y2 in tile_boxes(mask.shape[1], mask.shape[0], per_side):
        part = mask[y1:y2, x1:x2]
        if part.any():
            found.append(Part((x1, y1, x2, y2), Mask(RLE.encode(part), 1.0, 1.0)))
    return found


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


def test_an_object_on_the_crossing_of_all_seams_becomes_one() -> None:
    parts = parts_of(disc(400, 300, 180), 2)
    assert len(parts) == 4
    assert all(part.is_cut(read_image(np.zeros((600, 800), np.uint8))) for part in parts)
    assert [len(group) for group in group_parts(parts)] == [4]


def test_neighbours_at_a_seam_stay_two() -> None:
    groups = group_parts([*parts_of(disc(400, 120, 100), 2), *parts_of(disc(400, 430, 100), 2)])
    assert sorted(len(group) for group in groups) == [2, 4]  # the lower one lies where the rows of tiles overlap, too


def test_what_is_found_in_tiles_is_of_the_whole_picture(tiny: SamModel, desk: Image) -> None:
    pixels = cv2.resize(desk.pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    photo = encode(tiny, read_image(pixels))
    tiles: list[Image] = []

    def look(tile: Image) -> EncodedImage:
        tiles.append(tile)
        return encode(tiny, tile)

    steps: list[float] = []
    plain = generate_masks_in_tiles(tiny, look, photo, FEW)
    assert not tiles
    found = generate_masks_in_tiles(tiny, look, photo, replace(FEW, tiles=2), steps.append)
    assert len(tiles) == 4
    assert steps == sorted(steps)
    assert steps[-1] == 1
    rles = [masks.rle for masks in found]
    assert {(rle.height, rle.width) for rle in rles} == {pixels.shape[:2]}
    assert len(found) > len(plain)
    assert np.triu(iou(rles, rles), 1).max() <= FEW.nms_threshold
    for masks in found:
        height, width = photo.input_size
        coarse = cv2.resize(masks.rle.decode().astype(np.float32), (width // 4, height // 4), cv2.INTER_AREA) > 0.5
        low_res = masks.low_res_logits[: height // 4, : width // 4] > 0
        assert (coarse & low_res).sum() > 0.7 * (coarse | low_res).sum()


@pytest.mark.parametrize("tiles", [0, 17, 1.5, "2"])
def test_a_wrong_number_of_tiles_is_refused(tiles: int) -> None:
    with pytest.raises(PromptError, match="tiles is"):
        GeneratorOptions(tiles=tiles)

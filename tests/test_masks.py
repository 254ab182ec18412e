"""RLE, iou, ios and nms."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from segzs.masks import RLE, ios, iou, nms

bitmaps = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))
blobs = arrays(bool, (9, 7), elements=st.booleans(), fill=st.just(False))


@given(bitmaps)
def test_a_mask_is_decoded_as_it_was_encoded(mask: np.ndarray) -> None:
    rle = RLE.encode(mask)
    assert np.array_equal(rle.decode(), mask)
    assert rle == RLE.encode(rle.decode())
    assert rle.area == mask.sum()


@given(bitmaps)
def test_the_box_is_tight(mask: np.ndarray) -> None:
    ys, xs = np.nonzero(mask)
    expected = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else (0, 0, 0, 0)
    assert RLE.encode(mask).box == expected


@given(blobs, blobs)
def test_masks_are_equal_if_their_pixels_are(one: np.ndarray, other: np.ndarray) -> None:
    assert (RLE.encode(one) == RLE.encode(other)) == np.array_equal(one, other)


@settings(max_examples=50)
@given(st.lists(blobs, max_size=4), st.lists(blobs, max_size=4))
def test_iou_is_intersection_over_union(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    expected = np.array([[(a & b).sum() / max(1, (a | b).sum()) for b in theirs] for a in ours])
    overlap = iou([RLE.encode(mask) for mask in ours], [RLE.encode(mask) for mask in theirs])
    assert overlap.shape == (len(ours), len(theirs))
    assert overlap == pytest.approx(expected.reshape(overlap.shape))


@settings(max_examples=50)
@given(st.lists(blobs, max_size=4))
def test_ios_is_intersection_over_the_smaller_mask(masks: list[np.ndarray]) -> None:
    expected = [[(a & b).sum() / max(1, min(a.sum(), b.sum())) for b in masks] for a in masks]
    overlap = ios([RLE.encode(mask) for mask in masks])
    assert overlap == pytest.approx(np.reshape(expected, overlap.shape))


def test_nms_keeps_the_first_of_overlapping_masks() -> None:
    overlap = np.array([[1, 0.8, 0], [0.8, 1, 0.8], [0, 0.8, 1]])
    assert nms([0, 1, 2], overlap, 0.7) == [0, 2]
    assert nms([1, 0, 2], overlap, 0.7) == [1]
    assert nms([2, 1, 0], overlap, 0.8) == [2, 1, 0]
    assert nms([], overlap, 0.5) == []


def test_masks_of_any_memory_layout_are_encoded() -> None:
    mask = np.random.default_rng(1).random((13, 20)) < 0.5
    assert RLE.encode(np.asfortranarray(mask)) == RLE.encode(mask) == RLE.encode(mask.astype(np.uint8))
    assert np.array_equal(RLE.encode(mask[::2, ::-3]).decode(), mask[::2, ::-3])


def test_large_masks_do_not_overflow() -> None:
    mask = np.ones((5000, 7000), bool)
    assert RLE.encode(mask).area == 35_000_000
    assert iou([RLE.encode(mask)], [RLE.encode(mask)])[0, 0] == 1


def test_holes_and_parts_of_the_examples_are_kept(scene) -> None:
    for mask in scene("desk").masks:
        assert RLE.encode(mask.decode()) == mask


@given(bitmaps)
def test_masks_are_those_of_pycocotools(mask: np.ndarray) -> None:
    theirs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert np.array_equal(RLE(*mask.shape, theirs["counts"].decode()).decode(), mask)
    assert np.array_equal(coco_mask.decode(RLE.encode(mask).coco()).astype(bool), mask)


def test_masks_need_no_warning_to_be_ignored() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert RLE.encode(np.eye(3, dtype=bool)).decode().sum() == 3


@pytest.mark.parametrize(
    "lengths",
    [
        "",  # no runs
        "0",  # runs that are too short: pycocotools fills up the mask from memory that it does not own
        "<:",
        "o",  # a number that goes on after the text
        "XoooooooooooooooooooooooooooooooP",
        "d0d0",  # too long
        "\x01",
        "é",
        "F",  # negative
        [5, 6],
        [-5, 17],
        [2**63 - 1, 2**63 - 1, 14],
        [2**62, 2**62, 2**62, 2**62, 12],
        [6.0, 6.0],
        [[12]],
        [],
        None,
    ],
)
def test_run_lengths_of_another_size_are_refused(lengths: Any) -> None:
    with pytest.raises(ValueError, match="run length"):
        RLE.from_lengths(3, 4, lengths)


def test_the_first_character_beyond_the_alphabet_of_run_lengths_is_refused() -> None:
    assert RLE(2, 3, "06").area == 6
    with pytest.raises(ValueError, match="not COCO's compressed run lengths"):
        RLE(2, 3, "p6").decode()

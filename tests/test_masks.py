"""Masks as run lengths are the masks that they were: pixels, areas, boxes and overlaps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segzs.masks import RLE, iou

bitmaps = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))
blobs = arrays(bool, (9, 7), elements=st.booleans(), fill=st.just(False))


@given(bitmaps)
def test_masks_survive_the_round_trip(mask: np.ndarray) -> None:
    rle = RLE.encode(mask)
    assert np.array_equal(rle.decode(), mask)
    assert rle == RLE.encode(rle.decode())
    assert rle.area == mask.sum()


@given(bitmaps)
def test_the_box_is_the_tightest(mask: np.ndarray) -> None:
    ys, xs = np.nonzero(mask)
    expected = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else (0, 0, 0, 0)
    assert RLE.encode(mask).box == expected


@given(blobs, blobs)
def test_different_masks_are_different(one: np.ndarray, other: np.ndarray) -> None:
    assert (RLE.encode(one) == RLE.encode(other)) == np.array_equal(one, other)


@settings(max_examples=50)
@given(st.lists(blobs, max_size=4), st.lists(blobs, max_size=4))
def test_iou_is_intersection_over_union(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    expected = np.array([[(a & b).sum() / max(1, (a | b).sum()) for b in theirs] for a in ours])
    found = iou([RLE.encode(mask) for mask in ours], [RLE.encode(mask) for mask in theirs])
    assert found.shape == (len(ours), len(theirs))
    assert found == pytest.approx(expected.reshape(found.shape))


def test_masks_of_any_memory_layout() -> None:
    mask = np.random.default_rng(1).random((13, 20)) < 0.5
    assert RLE.encode(np.asfortranarray(mask)) == RLE.encode(mask) == RLE.encode(mask.astype(np.uint8))
    assert np.array_equal(RLE.encode(mask[::2, ::-3]).decode(), mask[::2, ::-3])


def test_large_masks_do_not_overflow() -> None:
    mask = np.ones((5000, 7000), bool)
    assert RLE.encode(mask).area == 35_000_000
    assert iou([RLE.encode(mask)], [RLE.encode(mask)])[0, 0] == 1


def test_holes_and_parts_of_the_example_survive(scene) -> None:
    for mask in scene("desk").masks:
        assert RLE.encode(mask.decode()) == mask

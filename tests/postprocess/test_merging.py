"""Merging: fragments of one object with one name are one segment, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from segzs.image import Image
from segzs.masks import RLE
from segzs.postprocess.merging import ios, join_touching, suppress_nested
from segzs.segments import Name, Segment, Segments

PICTURE = Image(np.zeros((60, 100, 3), np.uint8))


def block(x1: int, y1: int, x2: int, y2: int) -> RLE:
    mask = np.zeros((60, 100), bool)
    mask[y1:y2, x1:x2] = True
    return RLE.encode(mask)


def segment(rle: RLE, label: str = "", probability: float = 0.5, predicted_iou: float = 0.9) -> Segment:
    return Segment(rle, predicted_iou, 0.8, (Name(label, probability), Name("else", 0.1)) if label else ())


def segments(*items: Segment) -> Segments:
    return Segments(PICTURE, items, "a+b")


def always(label: str, probability: float):
    return lambda masks: [(Name(label, probability),) for _ in masks]


def never(masks: Sequence[RLE]) -> list[tuple[Name, ...]]:
    raise AssertionError("nothing was to be named")


LEFT, RIGHT, FAR = block(10, 10, 30, 40), block(31, 10, 50, 40), block(80, 10, 95, 40)


def test_fragments_that_touch_are_one_where_their_name_fits_the_union_better() -> None:
    parts = segments(segment(LEFT, "cat", 0.5, 0.9), segment(RIGHT, "cat", 0.6, 0.7), segment(FAR, "cat", 0.4))
    found = join_touching(parts, always("cat", 0.8))
    assert [each.rle for each in found] == [RLE.encode(LEFT.decode() | RIGHT.decode()), FAR]
    assert (found[0].name, found[0].probability) == ("cat", 0.8)
    assert found[0].predicted_iou == pytest.approx((0.9 * LEFT.area + 0.7 * RIGHT.area) / (LEFT.area + RIGHT.area))
    assert found[0].low_res_logits is None
    assert (found.model, found.image) == ("a+b", PICTURE)


@pytest.mark.parametrize("name", [always("cat", 0.59), always("dog", 0.9)])
def test_fragments_stay_apart_where_clip_does_not_prefer_the_union(name) -> None:
    two = segments(segment(LEFT, "cat", 0.5), segment(RIGHT, "cat", 0.6))
    assert join_touching(two, name).items == two.items


def test_what_is_apart_named_otherwise_unknown_or_unnamed_is_not_even_asked_for() -> None:
    for a, b in [("cat", "dog"), ("unknown", "unknown"), ("", "")]:
        assert len(join_touching(segments(segment(LEFT, a), segment(RIGHT, b)), never)) == 2
    assert len(join_touching(segments(segment(LEFT, "cat"), segment(FAR, "cat")), never)) == 2
    assert len(join_touching(segments(), never)) == 0


def test_a_chain_of_fragments_becomes_one() -> None:
    chain = [segment(block(x, 10, x + 14, 40), "cat", 0.5) for x in range(10, 85, 15)]
    (whole,) = join_touching(segments(*chain), always("cat", 0.5))
    assert whole.area == sum(each.area for each in chain)


def test_of_nested_segments_with_one_name_the_better_stays() -> None:
    whole, part = block(10, 10, 50, 50), block(15, 15, 40, 40)
    for better in (whole, part):
        pair = [segment(rle, "cat", 0.7 if rle is better else 0.6) for rle in (whole, part)]
        assert [each.rle for each in suppress_nested(segments(*pair))] == [better]
    equals = segments(segment(part, "cat"), segment(whole, "cat"))
    assert [each.rle for each in suppress_nested(equals)] == [whole]


def test_a_part_with_another_name_stays() -> None:
    whole, part = segment(block(10, 10, 50, 50), "car"), segment(block(15, 15, 40, 40), "wheel")
    assert merge_segments(segments(whole, part), never).items == (whole, part)


def test_two_objects_and_a_mask_of_both_are_two_objects() -> None:
    both = segment(RLE.encode(LEFT.decode() | RIGHT.decode()), "apple", 0.5)
    found = merge_segments(
        segments(both, segment(LEFT, "apple", 0.9), segment(RIGHT, "apple", 0.9)), always("apple", 0.5)
    )
    assert [each.rle for each in found] == [LEFT, RIGHT]


def test_containment_is_the_share_of_the_smaller_mask() -> None:
    half, empty = block(10, 10, 20, 20), block(0, 0, 0, 0)
    inside = ios([block(0, 0, 15, 60), half, empty])
    assert inside[0, 1] == inside[1, 0] == 0.5
    assert (inside[2, :2] == 0).all()

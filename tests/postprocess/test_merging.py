"""merge_segments: nested segments are suppressed, and touching parts of one object are joined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from segzs.image import Image
from segzs.masks import RLE
from segzs.postprocess.merging import join_touching, merge_segments, suppress_nested
from segzs.segments import Name, Segment, Segments

IMAGE = Image(np.zeros((60, 100, 3), np.uint8))


def block(x1: int, y1: int, x2: int, y2: int) -> RLE:
    mask = np.zeros((60, 100), bool)
    mask[y1:y2, x1:x2] = True
    return RLE.encode(mask)


def segment(rle: RLE, label: str = "", probability: float = 0.5, predicted_iou: float = 0.9) -> Segment:
    return Segment(rle, predicted_iou, 0.8, (Name(label, probability), Name("else", 0.1)) if label else ())


def segments(*items: Segment) -> Segments:
    return Segments(IMAGE, items, "a+b")


def always(label: str, probability: float):
    return lambda masks: [(Name(label, probability),) for _ in masks]


def never(masks: Sequence[RLE]) -> list[tuple[Name, ...]]:
    raise AssertionError("no mask has to be named")


LEFT, RIGHT, FAR = block(10, 10, 30, 40), block(31, 10, 50, 40), block(80, 10, 95, 40)


def test_touching_parts_are_joined_if_their_name_fits_the_union_better() -> None:
    parts = segments(segment(LEFT, "cat", 0.5, 0.9), segment(RIGHT, "cat", 0.6, 0.7), segment(FAR, "cat", 0.4))
    joined = join_touching(parts, always("cat", 0.8))
    assert [each.rle for each in joined] == [RLE.encode(LEFT.decode() | RIGHT.decode()), FAR]
    assert (joined[0].name, joined[0].probability) == ("cat", 0.8)
    assert joined[0].predicted_iou == pytest.approx((0.9 * LEFT.area + 0.7 * RIGHT.area) / (LEFT.area + RIGHT.area))
    assert joined[0].low_res_logits is None
    assert (joined.model, joined.image) == ("a+b", IMAGE)


@pytest.mark.parametrize("name", [always("cat", 0.59), always("dog", 0.9)])
def test_touching_parts_stay_apart_if_clip_does_not_prefer_the_union(name) -> None:
    two = segments(segment(LEFT, "cat", 0.5), segment(RIGHT, "cat", 0.6))
    assert join_touching(two, name).items == two.items


def test_only_touching_parts_with_the_same_name_are_named() -> None:
    for a, b in [("cat", "dog"), ("unknown", "unknown"), ("", "")]:
        assert len(join_touching(segments(segment(LEFT, a), segment(RIGHT, b)), never)) == 2
    assert len(join_touching(segments(segment(LEFT, "cat"), segment(FAR, "cat")), never)) == 2
    assert len(join_touching(segments(), never)) == 0


def test_a_chain_of_touching_parts_becomes_one_segment() -> None:
    chain = [segment(block(x, 10, x + 14, 40), "cat", 0.5) for x in range(10, 85, 15)]
    (whole,) = join_touching(segments(*chain), always("cat", 0.5))
    assert whole.area == sum(each.area for each in chain)


def test_of_nested_segments_with_one_name_the_better_is_kept() -> None:
    whole, part = block(10, 10, 50, 50), block(15, 15, 40, 40)
    for better in (whole, part):
        pair = [segment(rle, "cat", 0.7 if rle is better else 0.6) for rle in (whole, part)]
        assert [each.rle for each in suppress_nested(segments(*pair))] == [better]
    equals = segments(segment(part, "cat"), segment(whole, "cat"))
    assert [each.rle for each in suppress_nested(equals)] == [whole]


def test_a_part_with_another_name_stays() -> None:
    whole, part = segment(block(10, 10, 50, 50), "car"), segment(block(15, 15, 40, 40), "wheel")
    assert merge_segments(segments(whole, part), never).items == (whole, part)


def test_a_mask_of_two_objects_is_dropped() -> None:
    both = segment(RLE.encode(LEFT.decode() | RIGHT.decode()), "apple", 0.5)
    joined = merge_segments(
        segments(both, segment(LEFT, "apple", 0.9), segment(RIGHT, "apple", 0.9)), always("apple", 0.5)
    )
    assert [each.rle for each in joined] == [LEFT, RIGHT]

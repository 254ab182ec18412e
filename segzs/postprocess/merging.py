"""Name-aware merging: fragments of one object become one segment, and what shows the same object again goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from segzs.masks import RLE
from segzs.segments import UNKNOWN, Name, Segment, Segments

NESTED = 0.85
"""Share of the smaller of two masks inside the other one from which on it is a part of that."""
TOUCHING = 0.005
"""Masks touch where they are less than this share of the image's short side apart."""

NameMasks = Callable[[Sequence[RLE]], Sequence[tuple[Name, ...]]]


def merged(segments: Segments, name: NameMasks) -> Segments:
    """Segments with one for each object: `united` of those that are `without_repeats`."""
    return without_repeats(united(without_repeats(segments), name))


def without_repeats(segments: Segments) -> Segments:
    """Of two segments with one name of which one lies in the other only the better: more probable, better outlined.

    Parts with another name stay, and so does what is "unknown" or has no name.
    """
    kept = suppress_nested(segments.items)
    items = tuple(segment for index, segment in enumerate(segments) if kept[index] == index)
    return Segments(segments.image, items, segments.model)


def suppress_nested(items: Sequence[Segment]) -> list[int]:
    """For each segment the index of the one that stands for it: its own, or of a better one that it repeats."""
    inside = ios([segment.rle for segment in items])
    stands_for = list(range(len(items)))
    kept: list[int] = []
    for index in sorted(stands_for, key=lambda index: (-evidence(items[index]), -items[index].area)):
        same = [other for other in kept if items[other].name == items[index].name and inside[index, other] > NESTED]
        if same and is_known(items[index]):
            stands_for[index] = max(same, key=lambda other: inside[index, other])
        else:
            kept.append(index)
    return stands_for


def united(segments: Segments, name: NameMasks) -> Segments:
    """Segments of which those with one name that touch are one, where its name is then at least as probable.

    Args:
        segments: named segments.
        name: gives ranked names of masks of the same image, to ask how the union of two is called.

    Returns:
        The segments, largest first. A union has the mean predicted IoU and stability of its parts, by area, and no
        logits, for SAM has not seen it.
    """
    items, refused = list(segments.items), set()
    while True:
        pairs = [pair for pair in _touching(items) if pair not in refused]
        unions = [_union(a, b) for a, b in pairs]
        names = name([segment.rle for segment in unions]) if unions else []
        better: list[tuple[float, Segment, Segment, Segment]] = []
        for (a, b), union, ranked in zip(pairs, unions, names, strict=True):
            named = replace(union, names=ranked)
            gain = named.probability - max(a.probability, b.probability)
            if named.name == a.name and gain >= 0:
                better.append((gain, named, a, b))
            else:
                refused.add((a, b))
        if not better:
            return Segments(segments.image, tuple(sorted(items, key=lambda each: -each.area)), segments.model)
        taken: list[Segment] = []
        for _, union, a, b in sorted(better, key=lambda each: -each[0]):
            if a not in taken and b not in taken:
                taken += [a, b]
                items = [*(each for each in items if each not in (a, b)), union]


def evidence(segment: Segment) -> float:
    """How much a segment speaks for its name: the probability times the predicted IoU."""
    return segment.probability * segment.predicted_iou


def is_known(segment: Segment) -> bool:
    """Whether it has a name, and another one than "unknown"."""
    return segment.name not in ("", UNKNOWN)


def ios(masks: Sequence[RLE]) -> np.ndarray:
    """Of every pair of masks the share of the smaller one that lies in the other: float (len(masks), len(masks))."""
    if not masks:
        return np.zeros((0, 0))
    codes = [mask.coco() for mask in masks]
    inside = np.asarray(coco_mask.iou(codes, codes, [1] * len(codes)))  # with crowds: the share of the first mask
    return np.nan_to_num(np.maximum(inside, inside.T))


def _touching(items: Sequence[Segment]) -> Iterable[tuple[Segment, Segment]]:
    """Pairs with one name that touch, and neither of which lies in the other."""
    for a, b in combinations(items, 2):
        if is_known(a) and a.name == b.name and _touch(a.rle, b.rle) and ios([a.rle, b.rle])[0, 1] <= NESTED:
            yield a, b


def _touch(a: RLE, b: RLE) -> bool:
    reach = max(2, round(TOUCHING * min(a.height, a.width)))
    x1, y1 = (max(one, other) - reach for one, other in zip(a.box[:2], b.box[:2], strict=True))
    x2, y2 = (min(one, other) + reach for one, other in zip(a.box[2:], b.box[2:], strict=True))
    if x1 >= x2 or y1 >= y2:
        return False
    x1, y1 = max(x1 - reach, 0), max(y1 - reach, 0)
    near = np.s_[y1 : y2 + reach, x1 : x2 + reach]
    grown = cv2.dilate(a.decode()[near].astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
    return bool((grown.astype(bool) & b.decode()[near]).any())


def _union(a: Segment, b: Segment) -> Segment:
    codes = [a.rle.coco(), b.rle.coco()]
    weights = (a.area, b.area)
    return Segment(
        rle=RLE(a.rle.height, a.rle.width, coco_mask.merge(codes)["counts"].decode()),
        predicted_iou=float(np.average([a.predicted_iou, b.predicted_iou], weights=weights)),
        stability=float(np.average([a.stability, b.stability], weights=weights)),
    )

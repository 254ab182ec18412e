"""Merge segments that belong to one object, by their names and positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from segzs.masks import RLE, ios
from segzs.postprocess.selection import NESTED_THRESHOLD
from segzs.segments import UNKNOWN, Name, Segment, Segments

TOUCHING_DISTANCE = 0.005
"""As a share of the image's short side. Masks that are closer than this touch."""

NameMasks = Callable[[Sequence[RLE]], Sequence[tuple[Name, ...]]]


def merge_segments(segments: Segments, name: NameMasks) -> Segments:
    """One segment for each object: suppress nested segments, join touching ones, suppress nested ones again."""
    return suppress_nested(join_touching(suppress_nested(segments), name))


def suppress_nested(segments: Segments) -> Segments:
    """Of two nested segments with the same name, drop the one with the lower score; see `score`.

    Parts with another name stay, and so do segments that are "unknown" or have no name.
    """
    owners = owners_of_nested(segments.items)
    return segments.replace(segment for index, segment in enumerate(segments) if owners[index] == index)


def owners_of_nested(items: Sequence[Segment]) -> list[int]:
    """For each segment the index of the better nested segment with its name that replaces it, or its own index."""
    nested = ios([segment.rle for segment in items])
    owners = list(range(len(items)))
    kept: list[int] = []
    for index in sorted(owners, key=lambda index: (-score(items[index]), -items[index].area)):
        near = [other for other in kept if nested[index, other] > NESTED_THRESHOLD]
        same = [other for other in near if items[other].name == items[index].name]
        if same and has_name(items[index]):
            owners[index] = max(same, key=lambda other: nested[index, other])
        else:
            kept.append(index)
    return owners


def join_touching(segments: Segments, name: NameMasks) -> Segments:
    """Join touching segments with the same name where the union has that name with at least the same probability.

    ``name`` returns the ranked names of masks; it is called with the unions. They have the mean predicted IoU and
    stability score of their parts, weighted by area, and no logits. Largest first.
    """
    items, rejected = list(segments.items), set()
    while True:
        pairs = [pair for pair in _touching(items) if pair not in rejected]
        unions = [_union(a, b) for a, b in pairs]
        names = name([segment.rle for segment in unions]) if unions else []
        better: list[tuple[float, Segment, Segment, Segment]] = []
        for (a, b), union, ranked in zip(pairs, unions, names, strict=True):
            named = replace(union, names=ranked)
            gain = named.probability - max(a.probability, b.probability)
            if named.name == a.name and gain >= 0:
                better.append((gain, named, a, b))
            else:
                rejected.add((a, b))
        if not better:
            return segments.replace(sorted(items, key=lambda each: -each.area))
        joined: list[Segment] = []
        for _, union, a, b in sorted(better, key=lambda each: -each[0]):
            if a not in joined and b not in joined:
                joined += [a, b]
                items = [*(each for each in items if each not in (a, b)), union]


def score(segment: Segment) -> float:
    """The probability of a segment's name times its predicted IoU."""
    return segment.probability * segment.predicted_iou


def has_name(segment: Segment) -> bool:
    """Whether a segment has a name that is not "unknown"."""
    return segment.name not in ("", UNKNOWN)


def _touching(items: Sequence[Segment]) -> Iterable[tuple[Segment, Segment]]:
    """Pairs of touching segments with the same name that are not nested."""
    for a, b in combinations(items, 2):
        if has_name(a) and a.name == b.name and _touch(a.rle, b.rle) and ios([a.rle, b.rle])[0, 1] <= NESTED_THRESHOLD:
            yield a, b


def _touch(a: RLE, b: RLE) -> bool:
    reach = max(2, round(TOUCHING_DISTANCE * min(a.height, a.width)))
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
        image=a.image,
        predicted_iou=float(np.average([a.predicted_iou, b.predicted_iou], weights=weights)),
        stability_score=float(np.average([a.stability_score, b.stability_score], weights=weights)),
    )

"""Masks that are difficult for formats, as segments of two images of different size, and a strategy for more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from segzs import Name, Segment
from segzs.formats import Digests, ImageAnnotations
from segzs.masks import RLE


def difficult_masks(width: int, height: int) -> dict[str, np.ndarray]:
    """What each of the masks is -> bool (height, width); both sides are 24 at least."""
    names = ("ring", "parts", "one pixel", "full frame", "edges", "corner", "island in a hole", "diagonal", "thin")
    masks = {name: np.zeros((height, width), bool) for name in names}
    masks["ring"][2:15, 3:20] = True
    masks["ring"][5:10, 6:12] = False
    masks["ring"][11, 17] = False
    masks["parts"][1:4, 1:4] = masks["parts"][10:20, 12:15] = masks["parts"][22, 22] = True
    masks["one pixel"][7, 9] = True
    masks["full frame"][:] = True
    masks["edges"][:, :2] = masks["edges"][-3:] = masks["edges"][:5, -1] = True
    masks["corner"][-1, -1] = True
    masks["island in a hole"][1:20, 1:20] = True
    masks["island in a hole"][4:16, 4:16] = False
    masks["island in a hole"][8:11, 8:11] = True
    np.fill_diagonal(masks["diagonal"], True)
    masks["thin"][6, 2:20] = masks["thin"][2:20, 9] = True
    return masks


def segments_of(masks: dict[str, np.ndarray]) -> tuple[Segment, ...]:
    """A segment a mask, named as it is called, with a runner-up; the last without a name."""
    names = [(Name(name, 0.75), Name("猫 & <Öl>", 0.125), Name("unknown", 0.0625)) for name in masks]
    names[-1] = ()
    return tuple(
        Segment(RLE.encode(mask), 0.5 + index / 16, 0.875, ranked)
        for index, (mask, ranked) in enumerate(zip(masks.values(), names, strict=True))
    )


@pytest.fixture
def annotated() -> list[ImageAnnotations]:
    """Three images: two with all difficult masks, in a folder each, and one without segments."""
    wide, high = segments_of(difficult_masks(40, 24)), segments_of(difficult_masks(31, 53))
    return [
        ImageAnnotations("a/1.png", 40, 24, wide, "tiny+tiny", Digests("ab" * 32)),
        ImageAnnotations("b/1.jpg", 31, 53, high[::-1], "vit_b+ViT-B-16", Digests("cd" * 32)),
        ImageAnnotations("empty.png", 9, 5, (), "tiny+tiny", Digests("ef" * 32)),
    ]


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """Bool (height, width) up to 20 x 20, made of rectangles put on and taken away: parts, holes, pixels, edges."""
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(1, 8))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[y : y + draw(st.integers(1, height)), x : x + draw(st.integers(1, width))] = draw(st.booleans())
    mask.flat[draw(st.integers(0, mask.size - 1))] = True
    return mask


def iou(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Intersection over union of two masks that are not both empty."""
    return float((ours & theirs).sum() / (ours | theirs).sum())

"""Suppression of masks on a model's grid, against brute force."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segzs.sam.bitmaps import nms_bitmaps


def stacks() -> st.SearchStrategy[np.ndarray]:
    """Up to eight masks of 3 x 4 pixels, many of them alike."""
    return st.lists(st.integers(0, 2**12 - 1), min_size=1, max_size=8).map(
        lambda numbers: (np.array(numbers)[:, None] >> np.arange(12) & 1).astype(bool).reshape(-1, 3, 4)
    )


@settings(max_examples=200)
@given(masks=stacks(), limit=st.sampled_from([0.0, 0.2, 0.45, 0.7, 0.95, 1.0]), seed=st.integers(0, 1000))
def test_nms_of_bitmaps_equals_brute_force(masks: np.ndarray, limit: float, seed: int) -> None:
    scores = np.random.default_rng(seed).permutation(len(masks)) / len(masks)
    expected: list[int] = []
    for index in sorted(range(len(masks)), key=lambda i: -scores[i]):
        overlaps = [(masks[index] & masks[i]).sum() / (masks[index] | masks[i]).sum() for i in expected]
        if masks[index].any() and all(overlap <= limit for overlap in overlaps):
            expected.append(index)
    assert nms_bitmaps(torch.from_numpy(masks), torch.from_numpy(scores), limit) == expected


def test_nms_compares_masks_and_not_boxes() -> None:
    frame = torch.ones(20, 20, dtype=torch.bool)
    frame[2:18, 2:18] = False
    inside = ~frame
    assert nms_bitmaps(torch.stack([frame, inside, frame]), torch.tensor([0.5, 0.9, 0.8]), 0.7) == [1, 2]


def test_nms_of_no_masks() -> None:
    assert nms_bitmaps(torch.zeros(0, 4, 4, dtype=torch.bool), torch.zeros(0), 0.7) == []

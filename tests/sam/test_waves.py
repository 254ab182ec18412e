"""Which points of a grid are prompted."""

from __future__ import annotations

import numpy as np
import torch

from segzs.sam.waves import is_explained, is_near, point_grid

SIDE = 4  # coarse points at rows and columns 0 and 2


def square(size: int) -> torch.Tensor:
    """A mask of the upper left corner of 8 x 8 cells, two cells for each point."""
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:size, :size] = True
    return mask


def explained(masks: list[list[torch.Tensor]]) -> list[int]:
    indices = np.flatnonzero(~point_grid(SIDE)[1])
    stacked = torch.stack([mask for of_point in masks for mask in of_point])
    return indices[is_explained(indices, stacked, [len(of_point) for of_point in masks], SIDE)].tolist()


def test_points_between_points_that_agree_are_left_out() -> None:
    whole = square(8)
    between = [1, 4, 5, 6, 9]  # 3 and others at the far sides have one coarse row or column beside them
    assert set(between) <= set(explained([[whole]] * 4))


def test_points_outside_of_the_masks_are_kept() -> None:
    assert 5 not in explained([[square(2)]] * 4)


def test_points_between_points_that_disagree_at_one_level_are_kept() -> None:
    whole, part = square(8), square(7)
    assert explained([[whole, part], [whole, part], [whole, part], [whole]]) == [1, 4]
    assert explained([[whole], [square(2)], [whole], [whole]]) == [4, 9, 13]


def test_points_beside_no_masks_are_not_near() -> None:
    points, _ = point_grid(SIDE)
    assert not is_near(points, torch.zeros(0, 8, 8, dtype=torch.bool), SIDE).any()
    assert is_near(points, square(2)[None], SIDE).reshape(SIDE, SIDE)[:1, :1].all()
    assert not is_near(points, square(2)[None], SIDE).reshape(SIDE, SIDE)[2:].any()

"""Modules built for weights that are read from a file."""

from __future__ import annotations

import torch

from segzs.checkpoints.read import WithoutRandomWeights


def test_truncated_normal_weights_are_not_drawn_for_ever() -> None:
    with WithoutRandomWeights():
        weights = torch.nn.init.trunc_normal_(torch.full((3,), 9.0))
    assert weights.abs().max() <= 2

"""What the logits of a mask alone say about its quality; heads that predict IoU read it."""

from __future__ import annotations

from math import e

import torch
from torch import Tensor

STATISTICS = 5


def mask_statistics(logits: Tensor, step: int = 1) -> Tensor:
    """... H W logits -> ... 5: area, doubt in and around the mask, soft stability, boundary length, largest value.

    Only every ``step``-th row and column is read; the values stay about what they are of all.
    """
    probability = torch.sigmoid(logits[..., ::step, ::step].float())
    other = 1 - probability
    cells = step * step
    area = probability.sum((-2, -1)) * cells + 1
    doubt = (probability * other).sum((-2, -1)) * cells
    looser = (probability * e / (probability * e + other)).sum((-2, -1)) * cells + 1
    tighter = (probability / (probability + other * e)).sum((-2, -1)) * cells + 1
    across = (probability[..., 1:] - probability[..., :-1]).abs().sum((-2, -1))
    down = (probability[..., 1:, :] - probability[..., :-1, :]).abs().sum((-2, -1))
    boundary = (across + down) * step
    return torch.stack(
        [area.log() / 10, doubt / area, tighter / looser, boundary / area.sqrt() / 10, probability.amax((-2, -1))],
        dim=-1,
    )

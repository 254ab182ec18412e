"""Store weights as int8 with a scale for each row, a quarter of the size of float32."""

from __future__ import annotations

import torch
from torch import Tensor

SCALE = ".scale"
LEVELS = 127


def compacted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and convolutions as int8, with their scales beside them under ``name.scale``; the rest as float16.

    >>> sorted(compacted({"weight": torch.tensor([[1.0, -0.5]]), "bias": torch.zeros(1)}))
    ['bias', 'weight', 'weight.scale']
    """
    stored = {}
    for name, value in weights.items():
        if value.ndim < 2:
            stored[name] = value.half() if value.is_floating_point() else value
            continue
        rows = value.float().flatten(1)
        scale = (rows.abs().amax(1) / LEVELS).clamp_min(1e-8)
        stored[name] = (rows / scale[:, None]).round().to(torch.int8).reshape(value.shape).contiguous()
        stored[name + SCALE] = scale
    return {name: value.contiguous() for name, value in stored.items()}


def expanded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that `compacted` made small, as float32; others as they are."""
    read = {}
    for name, value in weights.items():
        if name.endswith(SCALE) and weights.get(name.removesuffix(SCALE), value).dtype == torch.int8:
            continue
        if value.dtype == torch.int8 and name + SCALE in weights:
            scale = weights[name + SCALE].reshape(-1, *[1] * (value.ndim - 1))
            value = value.float() * scale
        read[name] = value
    return read

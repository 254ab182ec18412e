"""Masks for many points at almost no cost each: what every point of a grid, or a hovering pointer, would select.

An image costs one pass of small convolutions. From the features at a point, the weights of a tiny network follow,
which reads shared mask features and the position relative to the point (Tian et al., "Conditional Convolutions for
Instance Segmentation", ECCV 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.sam.networks.mask_statistics import STATISTICS, mask_statistics

MASKS = 3
FEATURES = 16
HIDDEN = 16
POSITIONS = 3
STRIDE = 8
UNIT = 64.0
"""Pixels of the input in which positions are measured."""
SPLIT = (FEATURES * HIDDEN, POSITIONS * HIDDEN, HIDDEN, HIDDEN * MASKS, MASKS, MASKS)
"""Parts of what a point's features give: weights of features, of positions, bias; weights, bias; predicted IoU."""


class PointFeatures(NamedTuple):
    """What the head computes once an image: at stride 16 B C G G, at stride 8 B c 2G 2G, of masks B F 2G 2G."""

    coarse: Tensor
    fine: Tensor
    of_masks: Tensor


class PointHead(nn.Module):
    """Three masks at stride 8 for each of many points, with predicted IoU; float32."""

    def __init__(self, channels_16: int, channels_8: int) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(channels_16, channels_16, 3, padding=1), nn.ReLU())
        self.spread = nn.Conv2d(channels_16, 32, 1)
        self.fine = nn.Conv2d(channels_8, 32, 1)
        self.smooth = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, FEATURES, 1))
        last = nn.Linear(256, sum(SPLIT))
        self.controller = nn.Sequential(nn.Linear(channels_16 + channels_8, 256), nn.ReLU(), last)
        self.statistics_head = nn.Sequential(nn.Linear(STATISTICS, 32), nn.ReLU(), nn.Linear(32, 1))
        with torch.no_grad():  # at first no point has a mask, rather than all cells
            last.bias.split(list(SPLIT))[4].fill_(-2.0)

    def prepare(self, x16: Tensor, x8: Tensor) -> PointFeatures:
        """The head's features of an image, from its embedding and its stride-8 features."""
        spread = F.interpolate(self.spread(x16), scale_factor=2, mode="bilinear")
        return PointFeatures(self.tower(x16), x8, self.smooth(F.relu(self.fine(x8) + spread)))

    def forward(self, features: PointFeatures, points: Tensor) -> tuple[Tensor, Tensor]:
        """Logits B P 3 2G 2G and predicted IoU B P 3 for points B P 2, in pixels of the input."""
        height, width = features.of_masks.shape[-2:]
        parts = self.controller(self._at(features, points)).split(SPLIT, dim=-1)
        of_features, of_positions, bias, weights_2, bias_2, predicted_iou = (part.float() for part in parts)
        grid = _positions(height, width, points.device)
        to_positions, shift = _relative(of_positions.unflatten(-1, (HIDDEN, POSITIONS)), points.float() / UNIT)
        weights = torch.cat([of_features.unflatten(-1, (HIDDEN, FEATURES)), to_positions], -1).flatten(1, 2)
        cells = torch.cat([features.of_masks.float().flatten(2), grid.expand(len(points), -1, -1)], 1)  # B F+3 hw
        hidden = F.relu(torch.baddbmm((bias + shift).flatten(1)[..., None], weights, cells), inplace=True)
        hidden = hidden.unflatten(1, (-1, HIDDEN)).flatten(0, 1)  # BP H hw
        bias_2 = bias_2.flatten(0, 1)[..., None]
        logits = torch.baddbmm(bias_2, weights_2.unflatten(-1, (MASKS, HIDDEN)).flatten(0, 1), hidden)
        logits = logits.unflatten(2, (height, width)).unflatten(0, points.shape[:2])
        statistics = mask_statistics(logits.detach(), step=2)
        return logits, predicted_iou + self.statistics_head(statistics).squeeze(-1)

    def _at(self, features: PointFeatures, points: Tensor) -> Tensor:
        """Features at points, B P C."""
        height, width = features.of_masks.shape[-2:]
        where = points.float() / points.new_tensor([width * STRIDE / 2, height * STRIDE / 2]) - 1
        parts = [
            F.grid_sample(each.float(), where[:, None], mode="bilinear", padding_mode="border", align_corners=False)
            for each in (features.coarse, features.fine)
        ]
        return torch.cat(parts, 1)[:, :, 0].transpose(1, 2)


def _positions(height: int, width: int, device: torch.device) -> Tensor:
    """x, y and x² + y² of each cell's middle: 3 HW."""
    y = (torch.arange(height, device=device) + 0.5) * (STRIDE / UNIT)
    x = (torch.arange(width, device=device) + 0.5) * (STRIDE / UNIT)
    x, y = x.expand(height, width).flatten(), y[:, None].expand(height, width).flatten()
    return torch.stack([x, y, x**2 + y**2])


def _relative(weights: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Weights B P H 3 of dx, dy and dx² + dy² from each point B P 2 -> weights of x, y, x² + y², and a bias B P H."""
    along, squared = weights[..., :2], weights[..., 2:] / 16
    points = points[:, :, None]
    moved = along - 2 * squared * points
    shift = squared[..., 0] * points.square().sum(-1) - (along * points).sum(-1)
    return torch.cat([moved, squared], -1), shift

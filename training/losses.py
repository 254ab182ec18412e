"""Losses of the tiny SAM: on masks that prompts ask for, and dense ones on every object of a scene at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.sam.networks.tiny import CHANNELS, CHANNELS_4, CHANNELS_8, STRIDE, likeness, unpack, voted

MASK_STRIDE = 4
SEEDS = 24
CONCEPT_WEIGHT = 0.1


def soft_masks(instances: Tensor, labels: Tensor) -> Tensor:
    """Instances B S S and labels B P -> the share of each stride-4 cell that is the labelled instance, B P S/4 S/4."""
    masks = instances[:, None] == labels[:, :, None, None]
    return F.avg_pool2d(masks.bfloat16(), MASK_STRIDE).float()


def mask_error(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss, cross-entropy and Dice of logits ... H W against soft targets of the same shape -> ...

    Sums are relative to the object's area, not the picture's: an error costs the same on a large canvas. The weights
    make focal loss and cross-entropy what their means were on pictures of twelve times an object's area.
    """
    probability = torch.sigmoid(logits)
    cross = F.softplus(logits) - logits * target
    focal = cross * (probability - target).square()
    overlap = 2 * (probability * target).sum((-2, -1)) + 1
    dice = 1 - overlap / (probability.sum((-2, -1)) + target.sum((-2, -1)) + 1)
    return ((10 * focal + cross).sum((-2, -1)) / (12 * (target.sum((-2, -1)) + 40))) + dice


def hard_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of logits > 0 with targets > 0.5, over the last two axes."""
    ours, theirs = logits > 0, target > 0.5
    union = (ours | theirs).sum((-2, -1)).clamp(min=1)
    return (ours & theirs).sum((-2, -1)) / union


def prompt_loss(masks: Tensor, predicted_iou: Tensor, target: Tensor, asked: Tensor) -> Tensor:
    """Loss of N prompts: masks N 4 H W, predicted IoU N 4, target N H W; ``asked`` N is False for the background.

    The first mask answers alone; of the other three the best one counts most. Every mask's IoU is predicted.
    """
    target = target[:, None].expand_as(masks)
    errors = mask_error(masks, target)
    several = errors[:, 1:]
    error = errors[:, 0] + 0.8 * several.amin(1) + 0.2 * several.mean(1)
    truth = torch.where(asked[:, None], hard_iou(voted(masks, likeness(masks)).detach(), target), 0.0)
    rank_error = F.mse_loss(predicted_iou, truth)
    return (error * asked).sum() / asked.sum().clamp(min=1) + 10 * rank_error


class DenseHeads(nn.Module):
    """Heads that exist during training only: what every pixel belongs to and is, so that one scene teaches much."""

    def __init__(self, concepts: int) -> None:
        super().__init__()
        seed_width = CHANNELS + CHANNELS_8 + CHANNELS_4
        self.seed = nn.Sequential(nn.Linear(seed_width, 128), nn.ReLU(), nn.Linear(128, CHANNELS_4 + 1))
        self.spread = nn.Conv2d(CHANNELS, CHANNELS_4, 1)
        self.border = nn.Conv2d(CHANNELS_4, 2, 1)
        self.extent = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU(), nn.Conv2d(CHANNELS, 4, 1))
        self.concept = nn.Sequential(nn.Linear(CHANNELS, 2 * CHANNELS), nn.ReLU(), nn.Linear(2 * CHANNELS, concepts))

    def forward(self, embedding: Tensor, instances: Tensor, concepts: Tensor) -> Tensor:
        """Scalar loss for embeddings B 512 G G of scenes with instances B S S, which are concepts B L (-1: none)."""
        x16, x8, x4 = (features.float() for features in unpack(embedding))
        size = instances.shape[-1]
        pixels = _random_object_pixels(instances, SEEDS)
        labels = instances.flatten(1).gather(1, pixels)
        where = torch.stack([pixels % size, pixels // size], -1) * (2 / size) + (1 / size - 1)
        seeds = [
            F.grid_sample(features, where[:, None], mode="bilinear", align_corners=False)[:, :, 0].transpose(1, 2)
            for features in (x16, x8, x4)
        ]
        return (
            self._affinity_loss(seeds, labels, x16, x4, instances)
            + CONCEPT_WEIGHT * self._concept_loss(seeds[0], concepts.gather(1, labels.long()))
            + self._border_loss(x4, instances)
            + self._extent_loss(x16, instances)
        )

    def _concept_loss(self, seeds: Tensor, concepts: Tensor) -> Tensor:
        """What the object at a pixel is: knowing that, its parts belong together."""
        named = concepts >= 0
        if not named.any():
            return seeds.new_zeros(())
        return F.cross_entropy(self.concept(seeds[named]), concepts[named])

    def _affinity_loss(self, seeds: list[Tensor], labels: Tensor, x16: Tensor, x4: Tensor, instances: Tensor) -> Tensor:
        """From the features at random object pixels, tell the whole object."""
        weights = self.seed(torch.cat(seeds, 2))
        fine = F.relu(x4 + F.interpolate(self.spread(x16), size=x4.shape[-2:], mode="bilinear"))
        logits = (weights[..., :-1] @ fine.flatten(2) + weights[..., -1:]).unflatten(2, fine.shape[-2:])
        cells = instances[:, None, MASK_STRIDE // 2 :: MASK_STRIDE, MASK_STRIDE // 2 :: MASK_STRIDE]
        target = (cells == labels[:, :, None, None]).float()
        return (mask_error(logits, target) * (labels > 0)).mean()

    def _border_loss(self, x4: Tensor, instances: Tensor) -> Tensor:
        """Object or background, and whether a stride-4 cell holds more than one instance."""
        cells = instances[:, None].float()
        highest = F.max_pool2d(cells, MASK_STRIDE)
        mixed = highest != -F.max_pool2d(-cells, MASK_STRIDE)
        target = torch.cat([F.avg_pool2d((cells > 0).float(), MASK_STRIDE), mixed.float()], 1)
        return F.binary_cross_entropy_with_logits(self.border(x4), target)

    def _extent_loss(self, x16: Tensor, instances: Tensor) -> Tensor:
        """From each object cell, the distances to the four sides of the object's visible box (1 - IoU)."""
        cells = instances[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        boxes = _visible_boxes(instances)
        target = boxes.gather(1, cells.flatten(1).long()[..., None].expand(-1, -1, 4))
        steps = (torch.arange(cells.shape[-1], device=x16.device) + 0.5) * STRIDE
        x, y = steps.repeat(len(steps)), steps.repeat_interleave(len(steps))
        truth = torch.stack([x - target[..., 0], y - target[..., 1], target[..., 2] - x, target[..., 3] - y], -1)
        reach = F.softplus(self.extent(x16).flatten(2).transpose(1, 2)) * STRIDE
        truth = truth.clamp(min=0)
        common = torch.minimum(reach, truth)
        inner = (common[..., 0] + common[..., 2]) * (common[..., 1] + common[..., 3])
        areas = [(d[..., 0] + d[..., 2]) * (d[..., 1] + d[..., 3]) for d in (reach, truth)]
        iou = (inner + 1) / (areas[0] + areas[1] - inner + 1)
        inside = (cells.flatten(1) > 0).float()
        return ((1 - iou) * inside).sum() / inside.sum().clamp(min=1)


def _random_object_pixels(instances: Tensor, count: int) -> Tensor:
    """B count flat positions, every visible instance about equally often."""
    flat = instances.flatten(1).long()
    areas = torch.zeros(flat.shape[0], int(flat.max()) + 1, device=flat.device)
    areas.scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.float32))
    weight = (1 / areas.clamp(min=30)).gather(1, flat) * (flat > 0) + 1e-9
    ends = weight.cumsum(1)
    draws = torch.rand(flat.shape[0], count, device=flat.device) * ends[:, -1:]
    return torch.searchsorted(ends, draws).clamp(max=flat.shape[1] - 1)


def _visible_boxes(instances: Tensor) -> Tensor:
    """B L 4: x1 y1 x2 y2 of every label 0..L-1, in pixels (meaningless for labels that are not there)."""
    batch, size = instances.shape[0], instances.shape[-1]
    flat = instances.flatten(1).long()
    pixels = torch.arange(size * size, device=flat.device).expand(batch, -1)
    x, y = (pixels % size).float(), (pixels // size).float()
    start = torch.full((batch, int(flat.max()) + 1), float(size), device=flat.device)
    low = [start.scatter_reduce(1, flat, v, "amin") for v in (x, y)]
    high = [torch.zeros_like(start).scatter_reduce(1, flat, v + 1, "amax") for v in (x, y)]
    return torch.stack(low + high, dim=-1)

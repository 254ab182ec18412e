"""Losses of the tiny SAM: on masks of prompts, and on the cheap masks of many points of a scene at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.sam.networks.point_head import STRIDE as POINT_STRIDE
from segzs.sam.networks.tiny import likeness, voted

MASK_STRIDE = 4
SEEDS, ELSEWHERE = 24, 4
"""Points a scene on objects, and on the background."""


def soft_masks(instances: Tensor, labels: Tensor, stride: int = MASK_STRIDE) -> Tensor:
    """Instances B S S and labels B P -> the share of each cell that is the labelled instance, B P S/stride S/stride."""
    masks = instances[:, None] == labels[:, :, None, None]
    return F.avg_pool2d(masks.float(), stride).float()


def mask_error(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss, cross-entropy and Dice of logits ... H W against soft targets of the same shape -> ...

    Sums are relative to the object's area, not the image's: an error costs the same on a large canvas. The weights
    make focal loss and cross-entropy what their means were on images of twelve times an object's area.
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


def prompt_loss(masks: Tensor, predicted_iou: Tensor, target: Tensor, given: Tensor) -> Tensor:
    """Loss of N prompts: masks N 4 H W, predicted IoU N 4, target N H W; ``given`` N is False for the background.

    The first mask answers alone; of the other three the best one counts most. Every mask's IoU is predicted.
    """
    target = target[:, None].expand_as(masks)
    errors = mask_error(masks, target)
    several = errors[:, 1:]
    error = errors[:, 0] + 0.8 * several.amin(1) + 0.2 * several.mean(1)
    truth = torch.where(given[:, None], hard_iou(voted(masks, likeness(masks)).detach(), target), 0.0)
    rank_error = F.mse_loss(predicted_iou, truth)
    return (error * given).sum() / given.sum().clamp(min=1) + 10 * rank_error


def point_loss(masks: Tensor, predicted_iou: Tensor, target: Tensor, on_object: Tensor) -> Tensor:
    """Loss of cheap masks B P 3 H W with predicted IoU B P 3 against targets B P H W at stride 8.

    The best mask of a point counts most. ``on_object`` B P is False for the background, where every IoU is 0.
    """
    target = target[:, :, None].expand_as(masks)
    errors = mask_error(masks, target)
    error = 0.8 * errors.amin(2) + 0.2 * errors.mean(2)
    truth = torch.where(on_object[..., None], hard_iou(masks.detach(), target), 0.0)
    return (error * on_object).sum() / on_object.sum().clamp(min=1) + 10 * F.mse_loss(predicted_iou, truth)


def seeds(instances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Random points of scenes with instances B S S: pixels B P 2, the labels there B P, their targets at stride 8.

    Every visible object gets about as many; a few lie on what is certainly background, where there is any.
    """
    flat = instances.flatten(1).long()
    areas = torch.zeros(flat.shape[0], max(int(flat.max()), 0) + 1, device=flat.device)
    areas.scatter_add_(1, flat.clamp(min=0), (flat > 0).float())
    weight = (1 / areas.clamp(min=30)).gather(1, flat.clamp(min=0)) * (flat > 0)
    pixels = torch.cat([_draw(weight, SEEDS), _draw((flat == 0).float(), ELSEWHERE)], 1)
    labels = flat.gather(1, pixels)
    side = instances.shape[-1]
    points = torch.stack([pixels % side, pixels // side], -1) + 0.5
    return points, labels, soft_masks(instances, labels, POINT_STRIDE)


def _draw(weight: Tensor, count: int) -> Tensor:
    """``count`` columns of each row of B N, at random by weight; anywhere where all weights are 0."""
    ends = (weight + 1e-9).double().cumsum(1)
    draws = torch.rand(weight.shape[0], count, device=weight.device, dtype=torch.float64) * ends[:, -1:]
    return torch.searchsorted(ends, draws).clamp(max=weight.shape[1] - 1)

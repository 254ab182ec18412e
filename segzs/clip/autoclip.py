"""AutoCLIP: weight the templates for each image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

ENTROPY = 0.85
"""Entropy of the weights, as a share of the entropy of equal weights; the paper's value."""
HALVINGS = 40


def autoclip(image_features: Tensor, template_features: Tensor, logit_scale: float) -> Tensor:
    """Cosine similarities with labels whose templates are weighted for each image.

    The weights are the softmax of the gradient of the logsumexp over labels, with a step size that gives them the
    entropy `ENTROPY`: templates that support the likely labels get larger weights. From "AutoCLIP: auto-tuning
    zero-shot classifiers for vision-language models" (Metzen et al. 2023). With equal weights the result is the cosine
    similarity with the mean of the templates. From (N, width) and (labels, templates, width) to (N, labels).
    """
    count = template_features.shape[1]
    similarity = torch.einsum("nd,lkd->nlk", image_features, template_features)
    likely = (logit_scale * similarity.mean(2)).softmax(1)
    gradient = torch.einsum("nl,nlk->nk", likely, similarity - similarity.mean(2, keepdim=True))
    weights = _with_entropy(gradient, ENTROPY * math.log(count)) if count > 1 else torch.ones_like(gradient)
    gram = torch.einsum("lkd,ljd->lkj", template_features, template_features)
    norm = torch.einsum("nk,lkj,nj->nl", weights, gram, weights).clamp_min(1e-12).sqrt()
    return torch.einsum("nk,nlk->nl", weights, similarity) / norm


def _with_entropy(gradient: Tensor, entropy: float) -> Tensor:
    """The softmax of each row (N, templates), scaled to an entropy by bisection."""
    rows = gradient / gradient.abs().amax(1, keepdim=True).clamp_min(1e-12)
    low, high = torch.zeros_like(rows[:, :1]), torch.full_like(rows[:, :1], 100.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        weights = (middle * rows).softmax(1)
        flat = torch.special.entr(weights).sum(1, keepdim=True) > entropy
        low, high = torch.where(flat, middle, low), torch.where(flat, high, middle)
    return ((low + high) / 2 * rows).softmax(1)

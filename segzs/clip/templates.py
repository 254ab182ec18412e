"""Which templates to trust for a picture: weights in place of the plain mean."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segzs.errors import SegzsError, UsageError

WEIGHTINGS = ("mean", "autoclip")
ENTROPY = 0.85
"""What the weights' entropy is set to, as a share of that of equal weights; the paper's value."""
HALVINGS = 40


def check_weighting(weighting: str) -> None:
    """Raise `UsageError` unless it is one of `WEIGHTINGS`."""
    if weighting not in WEIGHTINGS:
        raise UsageError(f"the weighting {weighting!r} is unknown; one of {', '.join(WEIGHTINGS)} is expected")


def autoclip(pictures: Tensor, sentences: Tensor, scale: float) -> Tensor:
    """Cosines with labels whose templates are weighted for each picture by itself.

    The weights are a softmax after one step up the gradient of the logsumexp over labels, as long as gives them the
    wanted entropy: templates that speak for the likely labels count more. From "AutoCLIP: auto-tuning zero-shot
    classifiers for vision-language models" (Metzen et al. 2023). With equal weights this is the mean's own cosine.

    Args:
        pictures: normalised image features, float32 (N, width).
        sentences: normalised text features, float32 (labels, templates, width).
        scale: the model's logit scale.

    Returns:
        float32 (N, labels).
    """
    count = sentences.shape[1]
    each = torch.einsum("nd,lkd->nlk", pictures, sentences)
    likely = (scale * each.mean(2)).softmax(1)
    gradient = torch.einsum("nl,nlk->nk", likely, each - each.mean(2, keepdim=True))
    weights = _with_entropy(gradient, ENTROPY * math.log(count)) if count > 1 else torch.ones_like(gradient)
    among = torch.einsum("lkd,ljd->lkj", sentences, sentences)
    length = torch.einsum("nk,lkj,nj->nl", weights, among, weights).clamp_min(1e-12).sqrt()
    return torch.einsum("nk,nlk->nl", weights, each) / length


def zero_shot_weights(pictures: Tensor, sentences: Tensor, scale: float) -> tuple[float, ...]:
    """Weights of templates for many pictures of one kind, without knowing what they show; for `Vocabulary.weights`.

    A template is trusted by how sure it makes the best label of a picture, on average: the largest scaled similarity,
    less what each sentence has on average, so that sentences which suit every picture win nothing. From "A simple
    zero-shot prompt weighting technique to improve prompt ensembling in text-image models" (Allingham et al. 2023),
    whose average also takes in pictures of the pretraining; here there are only the user's.

    Args:
        pictures: normalised image features, float32 (N, width), of some dozens of pictures or more.
        sentences: normalised text features, float32 (labels, templates, width), from `encode_sentences`.
        scale: the model's logit scale.

    Returns:
        A weight for each template; they add up to 1.

    Raises:
        SegzsError: there are fewer than two pictures, and nothing to compare.
    """
    if len(pictures) < 2:
        raise SegzsError(f"{len(pictures)} pictures cannot weigh templates; some dozens are expected")
    logits = scale * torch.einsum("nd,lkd->nlk", pictures, sentences)
    return tuple((logits - logits.mean(0)).amax(1).mean(0).softmax(0).tolist())


def _with_entropy(gradient: Tensor, wanted: float) -> Tensor:
    """Softmax of each row (N, templates), stretched until its entropy is what is wanted; found by bisection."""
    rows = gradient / gradient.abs().amax(1, keepdim=True).clamp_min(1e-12)
    low, high = torch.zeros_like(rows[:, :1]), torch.full_like(rows[:, :1], 100.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        weights = (middle * rows).softmax(1)
        flat = torch.special.entr(weights).sum(1, keepdim=True) > wanted
        low, high = torch.where(flat, middle, low), torch.where(flat, high, middle)
    return ((low + high) / 2 * rows).softmax(1)

"""Retrieval: which objects of an image fit a text, or resemble an example."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from segzs.checks import clean_texts
from segzs.clip.model import ClipModel
from segzs.clip.text_features import encode_vocabulary
from segzs.clip.vocabulary import Vocabulary
from segzs.errors import VocabularyError
from segzs.masks import RLE, ios, nms

TEXT_LIFT = 7.0
"""How many times its share by chance a text must get among the general labels to score 0.5; see `training.finding`."""
EXAMPLE_SHARE = 0.25
"""How far from the mean of the objects to the example an object must lie to score 0.5; see `training.finding`."""
WORDS = 0.7
"""The weight of words beside an image in one query; chosen with `benchmarks.quality.names`."""
SAME_OBJECT = 0.8
ARTICLE = re.compile(r"^(the|an?) ", re.IGNORECASE)


def encode_query(clip: ClipModel, text: str) -> Tensor:
    """The normalised text feature of a query in the CLIP's templates, without its article: float32 (width,)."""
    (text,) = clean_texts([text], "queries", error=VocabularyError)
    return encode_vocabulary(clip, Vocabulary([ARTICLE.sub("", text)]))[0]


def compose(image_feature: Tensor, text_feature: Tensor) -> Tensor:
    """The query for a thing like that in an image, but as a text describes it: normalised, (width,) as both are.

    >>> compose(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    tensor([0.3939, 0.9191])
    """
    return F.normalize((1 - WORDS) * image_feature + WORDS * text_feature, dim=-1)


def text_scores(
    clip: ClipModel, image_features: Tensor, query: Tensor, stability_scores: Tensor, general: Tensor
) -> Tensor:
    """How well a text fits each object, from 0 to 1.

    The text competes with the general labels in CLIP's softmax, because a cosine similarity alone has another range for
    every text and every CLIP. The score is ``p / (p + c)``, where ``p`` is the probability of the text times the
    stability score, and ``c`` is `TEXT_LIFT` times the share by chance. The stability score counts, because among many
    unstable masks one always resembles the text. From image features (N, width), a text feature (width,), stability
    scores (N,) and the `general_features` to float32 (N,).
    """
    logits = clip.logit_scale * image_features @ torch.cat([query[None], general]).T
    share = logits.softmax(1)[:, 0] * stability_scores.to(logits)
    return share / (share + TEXT_LIFT / (len(general) + 1))


def example_scores(image_features: Tensor, example: Tensor, stability_scores: Tensor) -> Tensor:
    """How much each object resembles an example, from 0 to 1.

    The score is ``s / (s + EXAMPLE_SHARE)``, where ``s`` is the projection of the object on the line from the mean of
    all objects (0) to the example (1), times the stability score. The mean is subtracted, because the image features
    of some CLIPs all lie in a narrow cone. From image features (N, width), that of the example (width,) and stability
    scores (N,) to float32 (N,).
    """
    mean = image_features.sum(0) / (len(image_features) + 1)
    direction = example - mean
    share = (image_features - mean) @ direction / direction.square().sum().clamp(min=1e-9)
    share = share.clamp(min=0) * stability_scores.to(mean)
    return share / (share + EXAMPLE_SHARE)


def select(masks: Sequence[RLE], scores: Tensor, threshold: float) -> list[int]:
    """Indices of the masks that score at least the threshold, best first; of nested masks only the best."""
    order = scores.argsort(descending=True, stable=True).tolist()
    ranked = [i for i in order if scores[i] >= threshold and masks[i].area]
    return nms(ranked, ios(masks), SAME_OBJECT)

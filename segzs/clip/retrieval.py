"""Words or a picture -> which of the pictures of a photo are meant, best first, or that none is."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from segzs.clip.model import ClipModel
from segzs.clip.vocabulary import Vocabulary, encode_labels, usual_templates
from segzs.errors import VocabularyError
from segzs.masks import RLE, ios, nms

TIMES_CHANCE = 7.0
"""So much more than its share of chance among the general vocabulary a query must get; see `training.finding`."""
RESEMBLING = 0.25
"""So much of the way from what is usual to an example: another drawing of the same thing, by another hand."""
SAME_OBJECT = 0.8
ARTICLE = re.compile(r"^(the|an?) ", re.IGNORECASE)


def encode_words(clip: ClipModel, words: str) -> Tensor:
    """The normalised text feature of a query, (width,), in the CLIP's usual templates, which bring an article along.

    Raises:
        VocabularyError: it is no text, or empty.
    """
    if not isinstance(words, str) or not words.strip():
        raise VocabularyError(f"the query is {words!r}; words are expected, such as 'red bicycle'")
    text = ARTICLE.sub("", " ".join(words.split()))
    return encode_labels(clip, Vocabulary((text,), usual_templates(clip)))[0]


def text_scores(clip: ClipModel, pictures: Tensor, query: Tensor, stability: Tensor, general: Tensor) -> Tensor:
    """How well words describe pictures, from 0 to 1: float32 (N,); from 0.5 on they do.

    The words compete with those of the general vocabulary, (words, width), in CLIP's own softmax, for each of the
    normalised image features (N, width): a cosine alone means another thing for every word and every CLIP. A half is
    what a few times the share of chance is worth, since the vocabulary may well have the same thing in other words.
    The masks' ``stability`` (N,) counts as well: of unstable ones there are many, and among many there is always one
    that is like something.
    """
    logits = clip.logit_scale * pictures @ torch.cat([query[None], general]).T
    share = logits.softmax(1)[:, 0] * stability.to(logits)
    return share / (share + TIMES_CHANCE / (len(general) + 1))


def example_scores(pictures: Tensor, example: Tensor, stability: Tensor) -> Tensor:
    """How much pictures resemble an example, from 0 to 1: float32 (N,); from 0.5 on they do.

    What counts is how far each of the normalised image features (N, width) lies on the way from their mean to the
    example's own, (width,), as any two pictures are similar to some CLIPs; ``stability`` (N,) counts as in
    `text_scores`.
    """
    usual = pictures.sum(0) / (len(pictures) + 1)
    away = example - usual
    way = ((pictures - usual) @ away / away.square().sum().clamp(min=1e-9)).clamp(min=0) * stability.to(usual)
    return way / (way + RESEMBLING)


def select(masks: Sequence[RLE], scores: Tensor, threshold: float) -> list[int]:
    """Indices of the masks that reach the score ``threshold``, best first; of those inside each other, the best."""
    order = [
        i for i in scores.argsort(descending=True, stable=True).tolist() if scores[i] >= threshold and masks[i].area
    ]
    return nms(order, ios(masks), SAME_OBJECT)

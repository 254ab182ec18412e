"""The tiny SAM's own parts: what its decoder makes of the four masks of a prompt."""

from __future__ import annotations

import copy

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segzs.image import Image
from segzs.masks import RLE, iou
from segzs.sam.encode import encode
from segzs.sam.model import SamModel
from segzs.sam.networks.tiny import likeness, voted

LOGITS = arrays(np.float32, (2, 4, 5, 6), elements=st.floats(-9, 9, width=16))


@settings(max_examples=100, deadline=None)
@given(logits=LOGITS)
def test_likeness_is_the_iou_of_a_prompts_masks(logits: np.ndarray) -> None:
    for masks, found in zip(logits > 0, likeness(torch.from_numpy(logits)).numpy(), strict=True):
        rles = [RLE.encode(mask) for mask in masks]
        there = masks.any((1, 2))
        assert np.allclose(found[np.ix_(there, there)], iou(rles, rles)[np.ix_(there, there)], atol=1e-6)
        assert not found[~there].any()


def test_masks_that_agree_become_their_mean_and_others_stay() -> None:
    logits = torch.full((1, 4, 8, 8), -1.0)
    logits[0, 0, :4, :4] = 1
    logits[0, 1, :4, :4] = 5
    logits[0, 2, 4:] = 3
    found = voted(logits, likeness(logits))[0]
    assert torch.allclose(found[0], logits[0, :2].mean(0), atol=1e-2)
    assert torch.allclose(found[1], logits[0, :2].mean(0), atol=1e-2)
    assert torch.equal(found[2:], logits[0, 2:])


def test_the_more_alike_masks_are_the_more_they_count() -> None:
    logits = torch.full((1, 2, 1, 8), -1.0)
    logits[0, 0, 0, :4] = logits[0, 1, 0, :2] = 1  # an IoU of a half: a weight of a sixteenth
    expected = (logits[0, 0] + logits[0, 1] / 16) / (1 + 1 / 16)
    assert torch.allclose(voted(logits, likeness(logits))[0, 0], expected, atol=1e-3)


def test_an_answer_is_voted_but_in_training(tiny: SamModel, desk: Image) -> None:
    """With the same predicted IoU."""
    encoded, decoder = encode(tiny, desk), copy.deepcopy(tiny.module.mask_decoder)
    boxes = torch.tensor([[100.0, 100.0, 300.0, 300.0]])
    sparse, dense = tiny.module.prompt_encoder(points=None, boxes=boxes, masks=None)
    asked = (encoded.read_by(tiny), tiny.positions, sparse.to(tiny.dtype), dense.to(tiny.dtype))
    with torch.inference_mode():
        answer, of_answer = decoder.predict_masks(*asked)
        masks, predicted_iou = decoder.train().predict_masks(*asked)
    assert torch.equal(voted(masks, likeness(masks)), answer)
    assert torch.equal(predicted_iou, of_answer)
    assert not torch.allclose(masks, answer, atol=0.1)

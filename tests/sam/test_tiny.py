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
from segzs.prompts import Prompt
from segzs.sam.decode import decode_low_res
from segzs.sam.encode import encode
from segzs.sam.model import SamModel
from segzs.sam.networks.tiny import CHANNELS, Context, extent, likeliest_first, likeness, look_around, voted

LOGITS = arrays(np.float32, (2, 4, 9, 12), elements=st.floats(-9, 9, width=16))


@settings(max_examples=100)
@given(logits=LOGITS)
def test_likeness_is_the_iou_of_a_prompts_masks(logits: np.ndarray) -> None:
    """Of every second row and column."""
    for masks, result in zip(logits[..., ::2, ::2] > 0, likeness(torch.from_numpy(logits)).numpy(), strict=True):
        rles = [RLE.encode(mask) for mask in masks]
        there = masks.any((1, 2))
        assert np.allclose(result[np.ix_(there, there)], iou(rles, rles)[np.ix_(there, there)], atol=1e-6)
        assert not result[~there].any()


def test_masks_that_agree_become_their_mean_and_others_stay() -> None:
    logits = torch.full((1, 4, 8, 8), -1.0)
    logits[0, 0, :4, :4] = 1
    logits[0, 1, :4, :4] = 5
    logits[0, 2, 4:] = 3
    result = voted(logits, likeness(logits))[0]
    assert torch.allclose(result[0], logits[0, :2].mean(0), atol=1e-2)
    assert torch.allclose(result[1], logits[0, :2].mean(0), atol=1e-2)
    assert torch.equal(result[2:], logits[0, 2:])


def test_the_more_alike_masks_are_the_more_they_count() -> None:
    logits = torch.full((1, 2, 2, 16), -1.0)
    logits[0, 0, :, :8] = logits[0, 1, :, :4] = 1  # an IoU of a half: a weight of a sixteenth
    expected = (logits[0, 0] + logits[0, 1] / 16) / (1 + 1 / 16)
    assert torch.allclose(voted(logits, likeness(logits))[0, 0], expected, atol=1e-3)


def test_a_border_of_the_mean_colour_is_no_padding(tiny: SamModel) -> None:
    pixels = np.full((512, 768, 3), 127, np.uint8)
    pixels[:200, :300] = 20
    features = encode(tiny, Image(pixels)).features
    assert extent(features) == (512 // 16, 768 // 16)


def test_an_answer_is_voted_but_in_training(tiny: SamModel, desk: Image) -> None:
    """With the same predicted IoU, where there is no padding."""
    encoded, decoder = encode(tiny, Image(desk.pixels[:, : desk.height])), copy.deepcopy(tiny.module.mask_decoder)
    boxes = torch.tensor([[100.0, 100.0, 300.0, 300.0]])
    sparse, dense = tiny.module.prompt_encoder(points=None, boxes=boxes, masks=None)
    positions = tiny.module.prompt_encoder.get_dense_pe()
    given = (encoded.read_by(tiny), positions, sparse.to(tiny.dtype), dense.to(tiny.dtype))
    with torch.inference_mode():
        answer, of_answer = decoder.predict_masks(*given)
        masks, predicted_iou = decoder.train().predict_masks(*given)
    expected = likeliest_first(voted(masks, likeness(masks)), predicted_iou)
    assert torch.equal(expected[0], answer)
    assert torch.equal(expected[1], of_answer)
    assert not torch.allclose(masks, answer, atol=0.1)


def test_padding_is_not_encoded(tiny: SamModel) -> None:
    """An image with padding has the features that it has alone, and features of 0 beside them."""
    encoder = tiny.module.image_encoder
    pixels = torch.zeros(1, 3, 128, 128)
    pixels[..., :96, :64] = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole, part = encoder(pixels), encoder(pixels[..., :96, :64])
    assert torch.equal(whole[..., :6, :4], part)
    assert extent(whole) == (6, 4)


def test_a_black_or_grey_image_is_not_padding() -> None:
    assert extent(torch.zeros(1, 3, 64, 32)) == (64, 32)


def test_masks_end_where_the_image_does(tiny: SamModel) -> None:
    encoded = encode(tiny, Image(np.random.default_rng(0).integers(0, 255, (60, 120, 3), np.uint8)))
    answers = decode_low_res(tiny, encoded, [Prompt.box(10, 10, 60, 50)])
    assert answers.logits.shape[-2:] == tiny.mask_size
    assert (answers.logits[..., tiny.mask_size[0] // 2 :, :] < 0).all()


def test_cells_attend_to_pooled_cells() -> None:
    """As timm's attention does, on the same weights, where two by two cells are alike."""
    torch.manual_seed(0)
    context = Context().eval()
    cells = torch.randn(1, CHANNELS, 3, 2).repeat_interleave(2, -1).repeat_interleave(2, -2)
    tokens = cells.flatten(2).transpose(1, 2)
    expected = context.blocks[0].attn(tokens).unflatten(1, (6, 4))
    result = look_around(context.blocks[0].attn, cells.permute(0, 2, 3, 1))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_the_first_mask_is_the_likeliest() -> None:
    masks = torch.arange(8.0)[:, None, None].expand(8, 3, 2).unflatten(0, (2, 4))
    scores = torch.tensor([[0.2, 0.9, 0.3, 0.1], [0.8, 0.1, 0.2, 0.3]])
    result, predicted_iou = likeliest_first(masks, scores)
    assert result[:, :, 0, 0].tolist() == [[1, 1, 2, 3], [4, 5, 6, 7]]
    assert torch.equal(predicted_iou[:, 0], torch.tensor([0.9, 0.8]))
    assert torch.equal(predicted_iou[:, 1:], scores[:, 1:])

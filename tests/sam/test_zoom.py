"""Zoom: small boxes are answered on the part of the image around them, and answers lie where they belong."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from segzs.image import Image
from segzs.masks import iou
from segzs.prompts import Prompt
from segzs.sam.decode import decode, full_size
from segzs.sam.encode import EncodedImage, encode
from segzs.sam.model import SamModel
from segzs.sam.zoom import CONTEXT, decode_zoomed, part_around

IMAGE = Image(np.zeros((480, 640, 3), np.uint8))


@pytest.mark.parametrize("box", [(0, 0, 20, 12), (600, 460, 640, 480), (300, 200, 316, 250)])
def test_a_part_holds_its_box_with_what_is_around_it(box: tuple[float, float, float, float]) -> None:
    x1, y1, x2, y2 = box
    part = part_around(Prompt.box(*box), IMAGE)
    assert part is not None
    left, top, right, bottom = part
    assert 0 <= left <= x1 < x2 <= right <= 640
    assert 0 <= top <= y1 < y2 <= bottom <= 480
    assert right - left == bottom - top >= CONTEXT * max(x2 - x1, y2 - y1) - 1


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt.box(100, 100, 400, 120),
        Prompt.point(5, 5),
        Prompt(box=(10, 10, 20, 20), mask=np.zeros((192, 192), np.float32)),
        Prompt(points=[(600, 400)], positive=[False], box=(10, 10, 20, 20)),
    ],
    ids=["large", "point", "mask", "far point"],
)
def test_other_prompts_are_answered_on_the_whole(prompt: Prompt) -> None:
    assert part_around(prompt, IMAGE) is None


def test_a_small_image_is_not_cropped() -> None:
    assert part_around(Prompt.box(4, 4, 6, 6), Image(np.zeros((60, 60, 3), np.uint8))) is None


def test_large_boxes_are_answered_as_without_zoom(tiny: SamModel, desk: Image) -> None:
    encoded = encode(tiny, desk)
    prompts = [Prompt.box(50, 60, 300, 300), Prompt.point(200, 200)]
    zoomed = decode_zoomed(tiny, partial(encode, tiny), encoded, prompts)
    for ours, plain in zip(zoomed, decode(tiny, encoded, prompts), strict=True):
        assert [mask.rle for mask in ours] == [mask.rle for mask in plain]


def test_answers_on_a_part_lie_where_they_belong(tiny: SamModel, desk: Image) -> None:
    """A part is decoded as an image of its own, and its masks are moved back."""
    encoded = encode(tiny, desk)
    looked: list[Image] = []

    def encode_part(image: Image) -> EncodedImage:
        looked.append(image)
        return encode(tiny, image)

    prompts = [Prompt.box(100, 90, 130, 125), Prompt.box(300, 200, 320, 228), Prompt.point(100, 100)]
    answers = decode_zoomed(tiny, encode_part, encoded, prompts, multimask=True)
    assert len(looked) == 2
    for prompt, masks, part in zip(prompts, answers, looked, strict=False):
        bounds = part_around(prompt, desk)
        assert bounds is not None
        left, top, right, bottom = bounds
        assert np.array_equal(part.pixels, desk.pixels[top:bottom, left:right])
        x1, y1, x2, y2 = prompt.box
        (alone,) = decode(
            tiny, encode(tiny, part), [Prompt.box(x1 - left, y1 - top, x2 - left, y2 - top)], multimask=True
        )
        assert len(masks) == 3
        for ours, theirs in zip(masks, alone, strict=True):
            whole = ours.rle.decode()
            assert whole.shape == (desk.height, desk.width)
            assert np.array_equal(whole[top:bottom, left:right], theirs.rle.decode())
            assert whole.sum() == theirs.rle.area


def test_an_answer_of_a_part_can_be_refined(tiny: SamModel, desk: Image) -> None:
    """Its low-res logits are on the whole image's grid, and show the same mask."""
    encoded = encode(tiny, desk)
    ((mask,),) = decode_zoomed(tiny, partial(encode, tiny), encoded, [Prompt.box(100, 90, 150, 140)])
    logits = mask.low_res_logits
    assert logits is not None
    assert logits.shape == tiny.mask_size
    (large,) = full_size(tiny, encoded, torch.tensor(logits)[None], torch.ones(1))
    assert iou([large.rle], [mask.rle])[0, 0] > 0.7
    assert decode(tiny, encoded, [Prompt(points=[(125, 115)], mask=logits)])

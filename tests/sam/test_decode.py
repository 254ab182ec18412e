"""Prompts in one call: order, limits of the image, refinement, and what a stable mask is."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_anything.modeling import TwoWayTransformer

from segzs.checkpoints.locate import locate_sam
from segzs.errors import PromptError
from segzs.image import Image
from segzs.masks import Mask, iou
from segzs.prompts import Prompt
from segzs.sam.decode import CHUNK, decode, enlarged, stability_score
from segzs.sam.encode import EncodedImage, encode
from segzs.sam.model import SamModel, load_sam
from segzs.sam.networks.attention import two_way
from tests.conftest import read_scene
from tests.sam.conftest import Pair


@pytest.fixture(scope="module")
def encoded(tiny: SamModel, desk: Image) -> EncodedImage:
    return encode(tiny, desk)


def same(one: tuple[Mask, ...], other: tuple[Mask, ...]) -> bool:
    """Equal but for the rounding of another batch."""
    close = np.allclose(one.predicted_iou, other.predicted_iou, atol=1e-4)
    if one.low_res_logits.shape == other.low_res_logits.shape:
        close = close and np.allclose(one.low_res_logits, other.low_res_logits, atol=2e-3)
    alike = iou(one.rles, other.rles).diagonal() > 0.99
    return close and all(a.area == b.area == 0 or like for a, b, like in zip(one.rles, other.rles, alike, strict=True))


@pytest.mark.parametrize("size", [(576, 768), (768, 577), (40, 40), (13, 900), (901, 13)])
def test_masks_are_enlarged_as_segment_anything_does(tiny: SamModel, size: tuple[int, int]) -> None:
    encoded = encode(tiny, Image(np.zeros((*size, 3), np.uint8)))
    logits = torch.randn(3, *tiny.mask_size)
    expected = tiny.module.postprocess_masks(logits[None], encoded.input_size, size)[0]
    ours = enlarged(logits, tiny.module.image_encoder.img_size, encoded)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_mixed_kinds_come_back_in_order(tiny: SamModel, encoded: EncodedImage) -> None:
    rng = np.random.default_rng(0)
    mask = rng.normal(scale=5, size=tiny.mask_size)
    prompts = []
    for x, y in rng.uniform((60, 60), (640, 440), size=(CHUNK // 2 + 2, 2)):
        prompts += [
            Prompt.point(x, y),
            Prompt.box(x - 50, y - 40, x + 50, y + 60),
            Prompt([(x, y), (x + 20, y + 20)], [True, False]),
            Prompt([(x, y)], box=(x - 30, y - 30, x + 70, y + 70)),
            Prompt([(x, y)], mask=mask),
            Prompt.point(x + 30, y),
        ]
    together = decode(tiny, encoded, prompts)
    alone = [decode(tiny, encoded, [prompt])[0] for prompt in prompts]
    assert len(together) == len(prompts) > 3 * CHUNK
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))
    assert not same(together[0], together[1])


def test_nothing_asked_nothing_answered(tiny: SamModel, encoded: EncodedImage) -> None:
    assert decode(tiny, encoded, []) == []


def test_answers_are_read_only_values(tiny: SamModel, encoded: EncodedImage) -> None:
    (masks,) = decode(tiny, encoded, [Prompt.point(300, 300)], multimask=True)
    height, width = tiny.mask_size
    assert len(masks) == 3
    assert masks.low_res_logits.shape == (3, height, width)
    assert masks.predicted_iou.tolist() == sorted(masks.predicted_iou, reverse=True)
    for array in (masks.predicted_iou, masks.stability_score, masks.low_res_logits):
        assert array.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_several_holds_the_best(tiny: SamModel, encoded: EncodedImage) -> None:
    (best,) = decode(tiny, encoded, [Prompt.point(300, 300)])
    (several,) = decode(tiny, encoded, [Prompt.point(300, 300)], multimask=True)
    assert best.rle == several.rles[0]


def test_a_box_partly_outside_is_cut(tiny: SamModel, encoded: EncodedImage) -> None:
    (outside,) = decode(tiny, encoded, [Prompt.box(-300, -5, 220, 224)])
    (inside,) = decode(tiny, encoded, [Prompt.box(0, 0, 220, 224)])
    assert outside.rles == inside.rles


@pytest.mark.parametrize(
    "prompt", [Prompt.box(800, 10, 900, 90), Prompt.point(768, 10), Prompt.point(10, 576), Prompt.point(-1, 10)]
)
def test_prompts_outside_are_refused_with_the_size(prompt: Prompt, tiny: SamModel, encoded: EncodedImage) -> None:
    with pytest.raises(PromptError, match="outside the image of 768x576 pixels"):
        decode(tiny, encoded, [Prompt.point(10, 10), prompt])


@pytest.mark.parametrize("shape", [(576, 768), (256, 256), (1, 1)])
def test_a_mask_of_another_size_is_refused(shape: tuple[int, int], tiny: SamModel, encoded: EncodedImage) -> None:
    with pytest.raises(PromptError, match=r"shape .*tiny works on low-res logits of shape \(192, 192\)"):
        decode(tiny, encoded, [Prompt([(10, 10)], mask=np.zeros(shape))])


def test_an_earlier_mask_is_refined(tiny: SamModel, encoded: EncodedImage) -> None:
    prompt = Prompt.box(41, 22, 195, 224)
    (first,) = decode(tiny, encoded, [prompt])
    refined, plain = decode(
        tiny, encoded, [Prompt([(120, 120)], mask=first.low_res_logits), Prompt([(120, 120), (121, 121)])]
    )
    assert len(refined) == 1
    assert not np.allclose(refined.low_res_logits, plain.low_res_logits)


def test_stability_is_the_overlap_of_two_cuts() -> None:
    steep = torch.full((10, 10), -9.0)
    steep[2:6, 2:6] = 9
    sloping = steep.clone()
    sloping[2:6, 6:8] = 0.5  # inside at the lower cut, outside at the higher
    nothing = torch.full((10, 10), -9.0)
    scores = stability_score(torch.stack([steep, sloping, nothing]), 0.0)
    assert scores.tolist() == pytest.approx([1, 16 / 24, 0])


def test_stability_of_very_wide_masks() -> None:
    assert stability_score(torch.full((1, 2, 40_000), 5.0), 0.0).tolist() == [1]


def test_bfloat16_gives_the_masks_of_float32(tiny: SamModel, encoded: EncodedImage) -> None:
    halved = load_sam(locate_sam("tiny"), dtype=torch.bfloat16)
    assert (halved.dtype, tiny.dtype) == (torch.bfloat16, torch.float32)
    scene = read_scene("desk")
    prompts = [Prompt.box(*mask.box) for mask in scene.masks]
    again = encode(halved, encoded.image)
    assert again.features.dtype == torch.float32
    pairs = zip(decode(tiny, encoded, prompts), decode(halved, again, prompts), strict=True)
    assert np.mean([iou(ours.rles, theirs.rles)[0, 0] for ours, theirs in pairs]) > 0.97


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prompts_without_masks_share_the_image(
    dtype: torch.dtype, small_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the image for every prompt would give the same answers, slowly."""
    seen: list[int] = []

    def noting(module: TwoWayTransformer, cells: torch.Tensor, *rest: torch.Tensor) -> tuple:
        seen.append(len(cells))
        return two_way(module, cells, *rest)

    monkeypatch.setattr("segzs.sam.networks.mask_decoder.two_way", noting)
    module = deepcopy(small_pair.sam.module)
    module.mask_decoder.to(dtype)
    sam = replace(small_pair.sam, module=module, dtype=dtype)
    points = [Prompt.point(20 + 10 * number, 40) for number in range(CHUNK)]
    masks = [Prompt(prompt.points, prompt.positive, mask=np.zeros(sam.mask_size)) for prompt in points]
    decode(sam, small_pair.encoded, points)
    decode(sam, small_pair.encoded, masks)
    assert seen == [1, CHUNK]

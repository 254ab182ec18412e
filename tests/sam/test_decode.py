"""decode: the order of prompts, the limits of the image, refinement, and the stability score."""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import FrozenInstanceError, replace

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


def same(one: Mask, other: Mask) -> bool:
    """Equal but for the rounding of another batch."""
    close = np.isclose(one.predicted_iou, other.predicted_iou, atol=1e-4)
    close &= np.allclose(one.low_res_logits, other.low_res_logits, atol=2e-3)
    return bool(close) and (one.rle.area == other.rle.area == 0 or iou([one.rle], [other.rle])[0, 0] > 0.99)


@pytest.mark.parametrize("size", [(576, 768), (768, 577), (40, 40), (13, 900), (901, 13)])
def test_masks_are_enlarged_as_segment_anything_does(tiny: SamModel, size: tuple[int, int]) -> None:
    encoded = encode(tiny, Image(np.zeros((*size, 3), np.uint8)))
    logits = torch.randn(3, *tiny.mask_size)
    expected = tiny.module.postprocess_masks(logits[None], encoded.input_size, size)[0]
    ours = enlarged(tiny, logits, encoded)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_prompts_of_mixed_kinds_keep_their_order(tiny: SamModel, encoded: EncodedImage) -> None:
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
    assert all(same(one, other) for (one,), (other,) in zip(together, alone, strict=True))
    assert not same(*together[0], *together[1])


def test_no_prompts_give_no_masks(tiny: SamModel, encoded: EncodedImage) -> None:
    assert decode(tiny, encoded, []) == []


def test_masks_are_ranked_and_read_only(tiny: SamModel, encoded: EncodedImage) -> None:
    (masks,) = decode(tiny, encoded, [Prompt.point(300, 300)], multimask=True)
    assert len(masks) == 3
    scores = [mask.predicted_iou for mask in masks]
    assert scores == sorted(scores, reverse=True)
    for mask in (*masks, *pickle.loads(pickle.dumps(masks)), *deepcopy(masks)):
        assert mask.low_res_logits is not None
        assert (mask.low_res_logits.dtype, mask.low_res_logits.shape) == (np.float32, tiny.mask_size)
        with pytest.raises(ValueError, match="read-only"):
            mask.low_res_logits[0] = 0
        with pytest.raises(FrozenInstanceError):
            mask.predicted_iou = 1.0  # type: ignore[misc]


def test_multimask_includes_the_best_mask(tiny: SamModel, encoded: EncodedImage) -> None:
    ((best,),) = decode(tiny, encoded, [Prompt.point(300, 300)])
    (ranked,) = decode(tiny, encoded, [Prompt.point(300, 300)], multimask=True)
    assert best.rle == ranked[0].rle


def test_a_box_is_clipped_to_the_image(tiny: SamModel, encoded: EncodedImage) -> None:
    ((outside,),) = decode(tiny, encoded, [Prompt.box(-300, -5, 220, 224)])
    ((inside,),) = decode(tiny, encoded, [Prompt.box(0, 0, 220, 224)])
    assert outside.rle == inside.rle


@pytest.mark.parametrize(
    "prompt", [Prompt.box(800, 10, 900, 90), Prompt.point(768, 10), Prompt.point(10, 576), Prompt.point(-1, 10)]
)
def test_prompts_outside_the_image_are_refused(prompt: Prompt, tiny: SamModel, encoded: EncodedImage) -> None:
    with pytest.raises(PromptError, match="outside the image of 768x576 pixels"):
        decode(tiny, encoded, [Prompt.point(10, 10), prompt])


@pytest.mark.parametrize("shape", [(576, 768), (256, 256), (1, 1)])
def test_a_mask_of_another_size_is_refused(shape: tuple[int, int], tiny: SamModel, encoded: EncodedImage) -> None:
    with pytest.raises(PromptError, match=r"shape .*tiny works on low-res logits of shape \(192, 192\)"):
        decode(tiny, encoded, [Prompt([(10, 10)], mask=np.zeros(shape))])


def test_an_earlier_mask_is_refined(tiny: SamModel, encoded: EncodedImage) -> None:
    prompt = Prompt.box(41, 22, 195, 224)
    ((first,),) = decode(tiny, encoded, [prompt])
    (refined,), (plain,) = decode(
        tiny, encoded, [Prompt([(120, 120)], mask=first.low_res_logits), Prompt([(120, 120), (121, 121)])]
    )
    assert not np.allclose(refined.low_res_logits, plain.low_res_logits)


def test_the_stability_score_is_the_iou_of_two_cuts() -> None:
    steep = torch.full((10, 10), -9.0)
    steep[2:6, 2:6] = 9
    sloping = steep.clone()
    sloping[2:6, 6:8] = 0.5  # inside at the lower cut, outside at the higher
    nothing = torch.full((10, 10), -9.0)
    scores = stability_score(torch.stack([steep, sloping, nothing]), 0.0)
    assert scores.tolist() == pytest.approx([1, 16 / 24, 0])


def test_the_stability_score_of_large_masks_does_not_overflow() -> None:
    assert stability_score(torch.full((1, 2, 40_000), 5.0), 0.0).tolist() == [1]


@pytest.mark.slow
def test_bfloat16_gives_the_masks_of_float32(tiny: SamModel, encoded: EncodedImage) -> None:
    halved = load_sam(locate_sam("tiny"), dtype=torch.bfloat16)
    assert (halved.dtype, tiny.dtype) == (torch.bfloat16, torch.float32)
    scene = read_scene("desk")
    prompts = [Prompt.box(*mask.box) for mask in scene.masks]
    again = encode(halved, encoded.image)
    assert again.features.dtype == torch.float32
    pairs = zip(decode(tiny, encoded, prompts), decode(halved, again, prompts), strict=True)
    assert np.mean([iou([ours.rle], [theirs.rle])[0, 0] for (ours,), (theirs,) in pairs]) > 0.97


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prompts_without_masks_share_the_image_features(
    dtype: torch.dtype, small_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the features for each prompt would give the same masks more slowly."""
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

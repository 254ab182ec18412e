"""SAM 2.1 and EdgeTAM against transformers, and their weights in the files of Meta and of transformers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import timm
import torch

from segzs.cache import EmbeddingCache
from segzs.errors import WeightsError
from segzs.image import Image
from segzs.masks import RLE, Mask, iou
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.encode import EncodedImage, encode, encode_cached, prepare
from segzs.sam.mask_generator import GeneratorOptions, generate_masks
from segzs.sam.model import SamModel, with_dtype
from segzs.sam.networks.sam2 import assembled
from segzs.sam.networks.sam2_keys import converted
from tests.sam.conftest import sam2_model
from tests.sam.sam2_peers import SIDE, edgetam_transformers, small_meta, small_sam2, small_transformers

PROMPTS = {
    "point": Prompt.point(100, 120),
    "points": Prompt([(100, 120), (130, 40)], [True, False]),
    "box": Prompt.box(40, 50, 180, 200),
    "box and points": Prompt([(100, 120), (130, 40)], [True, False], (40, 50, 180, 200)),
}


@pytest.fixture(scope="module")
def peer() -> Any:
    return small_transformers()


@pytest.fixture(scope="module")
def sam(peer: Any) -> SamModel:
    return sam2_model(small_sam2(), peer.state_dict())


@pytest.fixture(scope="module")
def encoded(sam: SamModel, square: Image) -> EncodedImage:
    return encode(sam, square)


def answers(peer: Any, image: Image, prompt: Prompt, *, multimask: bool) -> tuple[np.ndarray, np.ndarray]:
    """Masks and predicted IoU of transformers, with its own processing."""
    from transformers import Sam2ImageProcessor, Sam2Processor

    processor = Sam2Processor(Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}))
    inputs = processor(
        images=np.array(image.pixels),
        input_points=[[[list(point) for point in prompt.points]]] if prompt.points else None,
        input_labels=[[[int(sign) for sign in prompt.positive]]] if prompt.points else None,
        input_boxes=[[list(prompt.box)]] if prompt.box else None,
        return_tensors="pt",
    )
    masks = None if prompt.mask is None else torch.from_numpy(prompt.mask.copy())[None, None]
    with torch.inference_mode():
        output = peer(**inputs, input_masks=masks, multimask_output=multimask)
    (large,) = processor.post_process_masks(output.pred_masks, inputs["original_sizes"])
    return large[0].numpy(), output.iou_scores[0, 0].numpy()


def assert_equal(ours: tuple[Mask, ...], masks: np.ndarray, scores: np.ndarray, tolerance: float = 1e-4) -> None:
    order = scores.argsort()[::-1]
    theirs = [RLE.encode(mask) for mask in masks[order]]
    overlaps = iou([mask.rle for mask in ours], theirs).diagonal()
    both_empty = [not (mask.rle.area or other.area) for mask, other in zip(ours, theirs, strict=True)]
    assert np.where(both_empty, 1, overlaps).mean() >= 0.999
    np.testing.assert_allclose([mask.predicted_iou for mask in ours], scores[order], atol=tolerance)


def best(sam: SamModel, encoded: EncodedImage, prompt: Prompt) -> tuple[RLE, float]:
    (mask,) = decode(sam, encoded, [prompt])[0]
    return mask.rle, mask.predicted_iou


@pytest.mark.parametrize("kind", PROMPTS)
def test_masks_are_those_of_transformers(
    kind: str, sam: SamModel, encoded: EncodedImage, peer: Any, square: Image
) -> None:
    prompt = PROMPTS[kind]
    assert_equal(decode(sam, encoded, [prompt], multimask=True)[0], *answers(peer, square, prompt, multimask=True))
    if kind != "point":  # which is ambiguous, so that the best of three is returned
        assert_equal(decode(sam, encoded, [prompt])[0], *answers(peer, square, prompt, multimask=False))


def test_a_mask_is_refined_as_in_transformers(sam: SamModel, encoded: EncodedImage, peer: Any, square: Image) -> None:
    (first,) = decode(sam, encoded, [PROMPTS["box"]])[0]
    prompt = Prompt([(100, 120)], mask=first.low_res_logits)
    assert_equal(decode(sam, encoded, [prompt], multimask=True)[0], *answers(peer, square, prompt, multimask=True))


@pytest.mark.slow
def test_edgetam_has_the_masks_of_transformers(square: Image) -> None:
    peer = edgetam_transformers()
    sam = sam2_model(assembled(timm.create_model("repvit_m1", num_classes=0), SIDE), peer.state_dict())
    encoded = encode(sam, square)
    for prompt in PROMPTS.values():
        masks = decode(sam, encoded, [prompt], multimask=True)[0]
        assert_equal(masks, *answers(peer, square, prompt, multimask=True), tolerance=1e-3)


def test_the_files_of_meta_and_of_transformers_give_equal_masks(
    sam: SamModel, encoded: EncodedImage, peer: Any, square: Image
) -> None:
    names = converted({key: key for key in small_meta().state_dict()})  # type: ignore[misc]
    weights = {str(names[key]): tensor for key, tensor in converted(peer.state_dict()).items()}
    meta = sam2_model(small_sam2(), weights)
    assert torch.equal(encode(meta, square).features, encoded.features)
    for prompt in PROMPTS.values():
        assert best(meta, encoded, prompt) == best(sam, encoded, prompt)


def test_weights_of_videos_are_left_out_and_others_refused(peer: Any) -> None:
    video = {"memory_attention.layer_norm.weight": torch.ones(3), "no_object_pointer": torch.ones(3)}
    small_sam2().load({**peer.state_dict(), **video}, "a video model")
    with pytest.raises(WeightsError, match=r"1 unknown \(mask_decoder.hq_token\)"):
        small_sam2().load({**peer.state_dict(), "mask_decoder.hq_token": torch.ones(3)}, "another model")


def test_images_are_stretched_to_the_input(sam: SamModel, desk: Image) -> None:
    """Each axis has its own scale, and masks have the size of the image."""
    wide = Image(desk.pixels[:300, :400])
    stretched = Image(np.array(PIL.Image.fromarray(wide.pixels).resize((SIDE, SIDE), PIL.Image.Resampling.BILINEAR)))
    ours, theirs = encode(sam, wide), encode(sam, stretched)
    assert torch.equal(ours.features, theirs.features)
    (mask,) = decode(sam, ours, [Prompt.box(100, 150, 300, 270)])[0]
    (same,) = decode(sam, theirs, [Prompt.box(64, 128, 192, 230.4)])[0]
    np.testing.assert_allclose(mask.low_res_logits, same.low_res_logits, atol=1e-3)
    assert mask.rle.decode().shape == (300, 400)


def test_features_are_cached_saved_and_pickled(
    sam: SamModel, encoded: EncodedImage, square: Image, tmp_path: Path
) -> None:
    first = encode_cached(sam, prepare(sam, square), EmbeddingCache(tmp_path))
    again = encode_cached(sam, square, EmbeddingCache(tmp_path))
    assert torch.equal(first.features, again.features)
    encoded.save(tmp_path / "image.safetensors")
    prompt = PROMPTS["box"]
    for copy in (EncodedImage.load(tmp_path / "image.safetensors"), pickle.loads(pickle.dumps(encoded))):
        assert best(sam, copy, prompt) == best(sam, encoded, prompt)


def test_every_object_is_found_in_tiles_of_prompts(sam: SamModel, encoded: EncodedImage) -> None:
    options = GeneratorOptions(points_per_side=4, predicted_iou_threshold=0, stability_score_threshold=0)
    masks = generate_masks(sam, encoded, options)
    assert masks
    assert all(mask.rle.decode().shape == (SIDE, SIDE) for mask in masks)


def test_bfloat16_gives_about_the_same_masks(peer: Any, sam: SamModel, encoded: EncodedImage, square: Image) -> None:
    half = with_dtype(sam2_model(small_sam2(), peer.state_dict()), torch.bfloat16)
    ours = decode(half, encode(half, square), [PROMPTS["box"]])[0]
    theirs = decode(sam, encoded, [PROMPTS["box"]])[0]
    assert iou([ours[0].rle], [theirs[0].rle])[0, 0] > 0.8

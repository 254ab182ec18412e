"""The faster attention against segment-anything's own, on the same weights."""

from copy import deepcopy

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, TwoWayTransformer
from torch import nn

from segzs.sam.networks import attention as module
from segzs.sam.networks.attention import fuse_encoder, two_way
from segzs.sam.networks.mask_decoder import FusedMaskDecoder
from tests.sam.conftest import build_small_sam, randomised


@pytest.fixture
def encoder() -> ImageEncoderViT:
    encoder = randomised(build_small_sam).image_encoder
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "rel_pos" in name:
                parameter.normal_(std=0.5)  # large enough that a table read backwards shows
    return encoder


@pytest.mark.parametrize("scores", [1, 10_000, 2**30])
def test_the_encoder_has_the_same_features_and_keys(
    encoder: ImageEncoderViT, scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SCORES", scores)  # one row of one head at a time, a few, all
    ours = deepcopy(encoder)
    fuse_encoder(ours)
    assert ours.state_dict().keys() == encoder.state_dict().keys()
    pixels = torch.randn(2, 3, 256, 256)
    with torch.inference_mode():
        torch.testing.assert_close(ours(pixels), encoder(pixels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask_bytes", [1, 40_000, 2**30])
def test_attention_in_parts_equals_the_fused_kernel(mask_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPORTED_MASK_BYTES", mask_bytes)
    parts = torch.randn(3, 6, 16 * 16, 32).split(1)
    query, key, value = (part[0] for part in parts)
    query = query.unflatten(1, (16, 16))
    relative = torch.randn(2, 6, 16, 16, 16)
    in_parts = module._attend_in_parts(query, key, value, *relative)
    torch.testing.assert_close(in_parts, module._attend(query, key, value, *relative), rtol=1e-4, atol=1e-5)


def test_an_encoder_without_relative_positions_is_not_changed() -> None:
    plain = ImageEncoderViT(img_size=64, embed_dim=32, depth=1, num_heads=2)
    attention = plain.blocks[0].attn
    fuse_encoder(plain)
    assert plain.blocks[0].attn is attention


def transformer() -> TwoWayTransformer:
    torch.manual_seed(1)
    built = TwoWayTransformer(depth=2, embedding_dim=64, num_heads=4, mlp_dim=96).eval()
    return filled(built)


def filled(built: nn.Module) -> nn.Module:
    """With biases that are not zero."""
    for name, parameter in built.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.5)
    return built


@pytest.mark.parametrize("images", [1, 5])
def test_two_way_equals_the_transformer(images: int) -> None:
    reference = transformer()
    embeddings, positions = torch.randn(images, 64, 6, 7), torch.randn(1, 64, 6, 7)
    tokens = torch.randn(5, 8, 64)
    with torch.inference_mode():
        expected = reference(embeddings.expand(5, -1, -1, -1), positions.expand(5, -1, -1, -1), tokens)
        cells = embeddings.flatten(2).transpose(1, 2)
        results = two_way(reference, cells, positions[0].flatten(1).T, tokens)
    for ours, theirs in zip(results, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_masks", [False, True])
def test_the_mask_decoder_has_the_same_masks_and_keys(with_masks: bool) -> None:
    reference = filled(MaskDecoder(transformer_dim=64, transformer=transformer(), iou_head_hidden_dim=32)).eval()
    ours = FusedMaskDecoder(reference)
    assert ours.state_dict().keys() == reference.state_dict().keys()
    image, positions, sparse = torch.randn(1, 64, 6, 7), torch.randn(1, 64, 6, 7), torch.randn(3, 2, 64)
    dense = torch.randn(3, 64, 6, 7) if with_masks else torch.randn(1, 64, 1, 1).expand(3, -1, 6, 7)
    with torch.inference_mode():
        results, expected = (d.predict_masks(image, positions, sparse, dense) for d in (ours, reference))
    for mine, theirs in zip(results, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)

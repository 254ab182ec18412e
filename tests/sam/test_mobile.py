"""MobileSAM against the original's key names and its answers for weights made by a formula.

The golden answers know nothing of the attention biases. The original copies them into a cache whenever ``eval()`` is
called; its builder calls that once, before it loads the weights, and the answers were taken from such a model, with
zeros in the cache. (Its users must call ``eval()`` again after loading, and trained weights need their biases.)
So the golden tests set the biases to zero, and timm's TinyViT, another implementation, says what they do.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam
from timm.models.tiny_vit import TinyVitBlock
from torch import Tensor

from segzs.sam.networks.mobile import TinyViTBlock, build_mobile_sam, join_windows, offset_index, split_windows

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
KEYS = GOLDEN / "mobile_sam_state_dict.json"
ANSWERS = GOLDEN / "mobile_sam_golden.npz"
needs_golden = pytest.mark.skipif(not (KEYS.exists() and ANSWERS.exists()), reason=f"no golden files in {GOLDEN}")


def formula_weight(key: str, shape: list[int]) -> Tensor:
    normal = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    match key.rpartition(".")[2]:
        case "num_batches_tracked":
            return torch.tensor(0)
        case "running_var":
            values = 1 + 0.1 * np.abs(normal)
        case "running_mean":
            values = 0.1 * normal
        case "attention_biases":
            values = 0.5 * normal
        case _ if len(shape) > 1:
            values = normal / np.sqrt(np.prod(shape[1:]))
        case "weight":
            values = 1 + 0.1 * normal
        case _:
            values = 0.1 * normal
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


@pytest.fixture(scope="module")
def golden() -> Mapping[str, np.ndarray]:
    with np.load(ANSWERS) as answers:
        return dict(answers)


@pytest.fixture(scope="module")
def sam() -> Sam:
    """The formula's weights, but for the attention biases, which the golden answers were made without."""
    sam = build_mobile_sam()
    official = json.loads(KEYS.read_text())
    weights = {key: formula_weight(key, shape) for key, (shape, _) in official.items()}
    for key in weights:
        if key.endswith("attention_biases"):
            weights[key] = torch.zeros_like(weights[key])
    sam.load_state_dict(weights, strict=True)
    return sam


@pytest.fixture(scope="module")
def features(sam: Sam) -> Tensor:
    pixels = np.random.RandomState(0).standard_normal((1, 3, 1024, 1024)).astype(np.float32)
    with torch.inference_mode():
        return sam.image_encoder(torch.from_numpy(pixels))


def relative_deviation(ours: Tensor, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the largest value expected."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max())


@needs_golden
def test_keys_shapes_and_dtypes_are_the_official_ones(sam: Sam) -> None:
    ours = {key: [list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in sam.state_dict().items()}
    assert ours == json.loads(KEYS.read_text())


@needs_golden
def test_features_match_the_original(features: Tensor, golden: Mapping[str, np.ndarray]) -> None:
    assert relative_deviation(features[0, ::8, ::2, ::2], golden["features"]) < 1e-5


@needs_golden
def test_masks_and_iou_match_the_original(sam: Sam, features: Tensor, golden: Mapping[str, np.ndarray]) -> None:
    points = torch.from_numpy(golden["point_coords"]), torch.from_numpy(golden["point_labels"])
    with torch.inference_mode():
        sparse, dense = sam.prompt_encoder(points=points, boxes=None, masks=None)
        low, iou = sam.mask_decoder(
            image_embeddings=features,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
    assert relative_deviation(low[:, :, ::4, ::4], golden["low_res_logits"]) < 1e-5
    assert relative_deviation(iou, golden["predicted_iou"]) < 1e-5


@pytest.mark.parametrize(("width", "heads", "window"), [(128, 4, 7), (160, 5, 14), (320, 10, 7)])
def test_blocks_with_biases_match_timm(width: int, heads: int, window: int) -> None:
    ours = TinyViTBlock(width, heads, window).eval()
    weights = {key: formula_weight(key, list(tensor.shape)) for key, tensor in ours.state_dict().items()}
    assert weights["attn.attention_biases"].std() > 0.4
    ours.load_state_dict(weights)
    theirs = TinyVitBlock(width, heads, window).eval()
    theirs.load_state_dict({key.replace("local_conv.c.", "local_conv.conv."): weights[key] for key in weights})
    features = torch.from_numpy(np.random.RandomState(0).standard_normal((2, width, 20, 17)).astype(np.float32))
    with torch.inference_mode():
        expected = theirs(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # timm's blocks take B H W C
        assert relative_deviation(ours(features), expected.numpy()) < 1e-5


def test_the_image_embedding_has_the_size_that_sam_expects() -> None:
    sam = build_mobile_sam()
    assert not sam.training
    assert sam.image_encoder.img_size == 1024
    with torch.inference_mode():
        assert sam.image_encoder(torch.zeros(1, 3, 1024, 1024)).shape == (1, 256, 64, 64)

    shapes = {key: tuple(tensor.shape) for key, tensor in sam.state_dict().items()}
    assert len(shapes) == 439
    assert shapes["image_encoder.layers.2.blocks.5.attn.attention_biases"] == (5, 14 * 14)
    assert shapes["image_encoder.layers.2.downsample.conv2.c.weight"] == (320, 1, 3, 3)
    assert shapes["image_encoder.head.weight"] == (1000, 320)
    assert not any(key.endswith("offsets") for key in shapes)


@pytest.mark.parametrize(("height", "width"), [(14, 14), (9, 20), (3, 7)])
def test_join_windows_is_the_inverse_of_split_windows(height: int, width: int) -> None:
    features = torch.randn(2, 5, height, width)
    windows = split_windows(features, 7)
    assert windows.shape[1:] == (49, 5)
    assert torch.equal(windows[0, 1], features[0, :, 0, 1])
    assert torch.equal(join_windows(windows, 7, height, width), features)


def test_offsets_are_independent_of_the_direction() -> None:
    index = offset_index(3)
    assert torch.equal(index, index.T)
    assert index[0].tolist() == list(range(9))
    assert index[4].tolist() == [4, 3, 4, 1, 0, 1, 4, 3, 4]

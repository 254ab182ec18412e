"""Dense features equal the image tower's own features where both are defined."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from segzs.checkpoints.locate import locate_clip
from segzs.clip import dense as module
from segzs.clip.dense import dense_features, pool, tower_of
from segzs.clip.image_features import normalize, resize, to_tensor
from segzs.clip.model import ClipModel, load_clip
from segzs.errors import ModelError
from segzs.masks import RLE
from tests.clip.conftest import COCA, PLAIN_MODEL, SIGLIP_LIKE, random_clip

LAYER_SCALED = {**PLAIN_MODEL, "vision_cfg": {**PLAIN_MODEL["vision_cfg"], "ls_init_value": 0.5}}
AVERAGED = {**PLAIN_MODEL, "vision_cfg": {**PLAIN_MODEL["vision_cfg"], "pool_type": "avg"}}


def timm(name: str, pool: str, **options: Any) -> dict[str, Any]:
    vision = {"timm_model_name": name, "timm_pool": pool, "timm_proj": "linear", "image_size": 64, **options}
    return {**PLAIN_MODEL, "custom_text": True, "vision_cfg": vision}


def loaded(folder: Path, model: dict[str, Any]) -> ClipModel:
    return load_clip(locate_clip(str(random_clip(folder, model))))


def full(image: np.ndarray) -> RLE:
    return RLE.encode(np.ones(image.shape[:2], bool))


def pixel(image: np.ndarray, x: int, y: int) -> RLE:
    mask = np.zeros(image.shape[:2], bool)
    mask[y, x] = True
    return RLE.encode(mask)


def whole(clip: ClipModel, image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """The model's own image feature at a size."""
    pixels = normalize(resize(to_tensor(image), size, clip.preprocessing), clip.preprocessing)
    with torch.inference_mode():
        return clip.module.encode_image(pixels[None], normalize=True)


@pytest.fixture
def one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Square images fill one window of the model's input size."""
    monkeypatch.setattr(module, "SIZE", 1)
    monkeypatch.setattr(module, "MIN_CELLS", 0)


@pytest.mark.parametrize(
    "model",
    [
        SIGLIP_LIKE,
        AVERAGED,
        timm("regnetx_002", "avg"),
        timm("convnext_atto", "avg"),
        timm("regnetx_002", "avg", timm_proj="mlp"),
    ],
    ids=["siglip", "averaged", "regnet", "convnext", "mlp"],
)
@pytest.mark.usefixtures("one_window")
def test_the_mean_of_an_averaging_tower_is_the_image_feature(
    model: dict[str, Any], tmp_path: Path, images: list[np.ndarray]
) -> None:
    clip = loaded(tmp_path / "clip", model)
    square = images[2]
    ours = pool(clip, dense_features(clip, square), [full(square)])
    torch.testing.assert_close(ours, whole(clip, square, clip.preprocessing.size), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_embedded_tower_takes_images_of_any_shape(clip: ClipModel, images: list[np.ndarray]) -> None:
    """The dense features are those of the photograph trunk; their mean through its head is its image feature."""
    visual = clip.module.visual
    for image in (image for image in images if min(image.shape[:2]) > 12):  # pixels, the number of cells
        dense = dense_features(clip, image)
        assert min(dense.shape[:2]) == 12
        ours = pool(clip, dense, [full(image)])
        size = 32 * dense.shape[0], 32 * dense.shape[1]
        pixels = normalize(resize(to_tensor(image), size, clip.preprocessing), clip.preprocessing)[None]
        with torch.inference_mode():
            theirs = visual.photograph_head(visual.photograph_map(pixels).mean((2, 3)))
        torch.testing.assert_close(ours, F.normalize(theirs, dim=-1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("model", [PLAIN_MODEL, LAYER_SCALED], ids=["plain", "layer scale"])
@pytest.mark.usefixtures("one_window")
def test_a_transformer_returns_the_values_of_its_last_block(
    model: dict[str, Any], tmp_path: Path, images: list[np.ndarray]
) -> None:
    """MaskCLIP: the values of each patch through the output projection, then the rest of the block."""
    clip, square = loaded(tmp_path / "clip", model), images[2]
    visual = clip.module.visual
    last, met = visual.transformer.resblocks[-1], []
    hook = last.register_forward_pre_hook(lambda _, inputs: met.append(inputs[0]))
    whole(clip, square, clip.preprocessing.size)
    hook.remove()
    with torch.inference_mode():
        patches = met[0][:, 1:]
        third = slice(2 * patches.shape[2], None)
        values = F.linear(last.ln_1(patches), last.attn.in_proj_weight[third], last.attn.in_proj_bias[third])
        patches = patches + last.ls_1(last.attn.out_proj(values))
        patches = visual.ln_post(patches + last.ls_2(last.mlp(last.ln_2(patches)))) @ visual.proj
        expected = F.normalize(patches.mean(1), dim=-1)
    ours = pool(clip, dense_features(clip, square), [full(square)])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_a_transformer_takes_larger_images_in_windows(tmp_path: Path, images: list[np.ndarray]) -> None:
    """Only one window covers a corner of the grid."""
    clip, image = loaded(tmp_path / "clip", AVERAGED), images[0]
    dense = dense_features(clip, image)
    rows, columns = dense.shape[:2]
    assert (rows, columns) == (12, 16)  # of 16 pixels; the model's own 48 make 3
    scaled = resize(to_tensor(image), (rows * 16, columns * 16), clip.preprocessing)
    corner = scaled[:, -48:, -48:].permute(1, 2, 0).numpy()
    (alone,) = tower_of(clip).trunk(normalize(to_tensor(np.ascontiguousarray(corner)), clip.preprocessing)[None])
    torch.testing.assert_close(dense[-1, -1], alone[-1, -1], rtol=0, atol=1e-5)
    assert not torch.allclose(dense[-3, -3], alone[-3, -3], atol=1e-3)  # averaged with other windows


@given(st.integers(1, 40), st.integers(0, 200))
def test_windows_cover_and_overlap_by_about_half(window: int, more: int) -> None:
    starts = module._starts(window + more, window)
    assert (starts[0], starts[-1]) == (0, more)
    assert all(0 < after - before <= window // 2 + 1 for before, after in pairwise(starts))


@pytest.fixture(scope="module")
def dense(clip: ClipModel, images: list[np.ndarray]) -> Tensor:
    """The dense features of the desk, 576x768, by the embedded tower: 12x16 cells."""
    return dense_features(clip, images[0])


def test_the_feature_of_a_pixel_is_that_of_its_cell(clip: ClipModel, dense: Tensor, images: list[np.ndarray]) -> None:
    def between(*cells: tuple[int, int]) -> Tensor:
        mean = torch.stack([dense[row, column] for row, column in cells]).mean(0, keepdim=True)
        return F.normalize(tower_of(clip).head(mean), dim=-1)[0]

    desk = images[0]
    cases = {
        (0, 0): between((0, 0)),
        (767, 575): between((11, 15)),
        (5 * 48 + 24, 3 * 48 + 24): between((3, 5)),  # a cell is 48 pixels
        (6 * 48, 3 * 48 + 24): between((3, 5), (3, 6)),
    }
    ours = pool(clip, dense, [pixel(desk, x, y) for x, y in cases])
    for feature, expected in zip(ours, cases.values(), strict=True):
        assert feature @ expected > 0.998  # pixels lie half a pixel beside centres and edges
        assert feature.norm() == pytest.approx(1, abs=1e-5)
    assert (ours @ ours.T).fill_diagonal_(0).max() < 0.99


def test_masks_do_not_depend_on_each_other(clip: ClipModel, dense: Tensor, images: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    masks = [pixel(images[0], *rng.integers(0, 570, 2)) for _ in range(5)] + [full(images[0])]
    order = rng.permutation(len(masks))
    together = pool(clip, dense, masks)
    torch.testing.assert_close(pool(clip, dense, [masks[i] for i in order]), together[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.cat([pool(clip, dense, [m]) for m in masks]), together, rtol=0, atol=1e-5)


def test_the_feature_of_an_empty_mask_is_zero(clip: ClipModel, dense: Tensor) -> None:
    assert not pool(clip, dense, [RLE.encode(np.zeros((576, 768), bool))]).any()
    assert pool(clip, dense, []).shape == (0, 512)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (900, 2)])
def test_very_long_and_small_images(shape: tuple[int, int], clip: ClipModel, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for model in (clip, loaded(tmp_path / "clip", PLAIN_MODEL)):
        features = dense_features(model, image)
        assert max(features.shape[:2]) <= 8 * 12
        assert pool(model, features, [full(image)]).norm() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (COCA, "VisionTransformer"),
        ({**PLAIN_MODEL, "vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}}, "ModifiedResNet"),
        (timm("vit_tiny_patch16_224", "token", image_size=224), "VisionTransformer"),
        (timm("regnetx_002", "max"), "RegNet"),
        (timm("convnext_atto", "rot_attn", timm_proj=""), "ConvNeXt"),
    ],
    ids=["coca", "resnet", "timm vit", "maximum", "attention"],
)
def test_towers_without_dense_features_are_refused(
    model: dict[str, Any], kind: str, tmp_path: Path, images: list[np.ndarray]
) -> None:
    clip = loaded(tmp_path / "clip", model)
    with pytest.raises(ModelError, match=rf"local:clip \({kind}\) has no dense features; choose regions='crops'"):
        dense_features(clip, images[0])


@pytest.mark.slow
def test_bfloat16_features_are_close_to_float32(clip: ClipModel, dense: Tensor, images: list[np.ndarray]) -> None:
    halved = load_clip(locate_clip("tiny"), dtype=torch.bfloat16)
    ours = pool(halved, dense_features(halved, images[0]), [full(images[0])])
    assert ours.dtype == torch.float32
    assert F.cosine_similarity(ours, pool(clip, dense, [full(images[0])])) > 0.99

"""The tiny CLIP's two trunks, their gate, small weights, and names from both crops and the whole image."""

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.checkpoints.read import read_weights
from segzs.clip.both import encode_both
from segzs.clip.crops import Cropping
from segzs.clip.dense import dense_features
from segzs.clip.model import ClipModel
from segzs.clip.networks.compact import compacted, expanded
from segzs.clip.networks.tiny import TwoTrunks
from segzs.image import read_image
from segzs.masks import RLE
from segzs.settings import embedded_folder
from tests.conftest import Scene


@pytest.fixture(scope="module")
def visual() -> TwoTrunks:
    torch.manual_seed(0)
    return TwoTrunks(48, "tf_efficientnet_lite0", "regnetx_002", 64, 32, 16, 8).eval().requires_grad_(False)


def gated(visual: TwoTrunks, bias: float) -> None:
    visual.gate.weight.zero_()
    visual.gate.bias.fill_(bias)


def test_the_gate_chooses_the_trunk(visual: TwoTrunks) -> None:
    images = torch.randn(2, 3, 64, 64)
    means = visual.photograph_map(images).mean((2, 3))
    gated(visual, 50)
    torch.testing.assert_close(visual(images), visual.encode_drawings(images))
    gated(visual, -50)
    torch.testing.assert_close(visual(images), visual.photograph_head(means))
    gated(visual, 0)
    half = (visual.encode_drawings(images) + visual.photograph_head(means)) / 2
    torch.testing.assert_close(visual(images), half)


def test_the_trunks_are_timms(clip: ClipModel) -> None:
    """The stored weights in timm's own networks, with their batch norms, give the same features."""
    visual = clip.module.visual
    weights = expanded(read_weights(embedded_folder() / "tiny_clip.safetensors"))
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        photographs = _timm("tf_efficientnet_lite0", weights, "visual.photographs.")
        features = visual.photograph_map(images).mean((2, 3))
        torch.testing.assert_close(features, photographs(images), rtol=1e-4, atol=1e-4)
        drawings = _timm("regnetx_004", weights, "visual.drawings.")
        features = F.normalize(visual.drawing_head(drawings(images)), dim=-1)
        torch.testing.assert_close(visual.encode_drawings(images), features, rtol=1e-4, atol=1e-4)


def _timm(name: str, weights: dict[str, Tensor], prefix: str) -> nn.Module:
    network = timm.create_model(name, pretrained=False, num_classes=0).eval()
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    network.load_state_dict(own)
    return network


def test_small_weights_are_close(visual: TwoTrunks) -> None:
    weights = visual.state_dict()
    again = expanded(compacted(weights))
    assert again.keys() == weights.keys()
    for name, value in weights.items():
        bound = value.float().flatten(1).abs().amax(1) / 127 if value.ndim > 1 else value.float().abs().max() / 1000
        error = (again[name].float() - value.float()).abs().reshape(len(value), -1) if value.ndim else torch.zeros(1)
        assert (error.amax(-1) <= bound.reshape(-1) + 1e-6).all(), name


def test_both_is_zero_for_an_empty_mask(clip: ClipModel, scene: Callable[[str], Scene]) -> None:
    pixels = read_image(scene("desk").path).pixels
    masks = [RLE.encode(_box(pixels, 10, 10, 90, 120)), RLE.encode(np.zeros(pixels.shape[:2], bool))]
    features = encode_both(clip, pixels, dense_features(clip, pixels), masks, Cropping("grey"))
    torch.testing.assert_close(features.norm(dim=1), torch.tensor([1.0, 0.0]))


def test_both_does_not_depend_on_other_masks(clip: ClipModel, scene: Callable[[str], Scene]) -> None:
    pixels = read_image(scene("desk").path).pixels
    masks = [RLE.encode(_box(pixels, 10 * k, 5 * k, 60 + 10 * k, 70 + 8 * k)) for k in range(4)]
    dense = dense_features(clip, pixels)
    together = encode_both(clip, pixels, dense, masks, Cropping("grey"))
    alone = torch.cat([encode_both(clip, pixels, dense, [mask], Cropping("grey")) for mask in masks])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_no_masks(clip: ClipModel, scene: Callable[[str], Scene]) -> None:
    pixels = read_image(scene("desk").path).pixels
    assert len(encode_both(clip, pixels, dense_features(clip, pixels), [], Cropping("grey"))) == 0


def _box(pixels: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    inside = np.zeros(pixels.shape[:2], bool)
    inside[top:bottom, left:right] = True
    return inside

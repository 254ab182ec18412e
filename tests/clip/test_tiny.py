"""The tiny CLIP's two trunks, their gate, small weights, and names from both crops and the whole image."""

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch

from segzs.clip.both import encode_both
from segzs.clip.crops import Cropping
from segzs.clip.dense import dense_features
from segzs.clip.model import ClipModel
from segzs.clip.networks.compact import compacted, expanded
from segzs.clip.networks.tiny import TwoTrunks
from segzs.image import read_image
from segzs.masks import RLE
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


def test_the_photograph_trunk_is_timms(clip: ClipModel) -> None:
    """The same weights in timm's own network see the same."""
    visual = clip.module.visual
    reference = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    weights = visual.photographs.state_dict()
    head = visual.photograph_head.classes.state_dict()
    reference.load_state_dict({**weights, **{f"classifier.{name}": value for name, value in head.items()}})
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        means = visual.photograph_map(images).mean((2, 3))
        torch.testing.assert_close(visual.photograph_head.classes(means), reference(images), rtol=1e-4, atol=1e-4)


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

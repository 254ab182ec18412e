"""Image features, text features and probabilities equal those of open_clip's zero-shot classifier, in float32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segzs.checkpoints.locate import locate_clip
from segzs.clip.classifier import probabilities
from segzs.clip.image_features import encode_images
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.regions import Naming
from segzs.clip.text_features import encode_vocabulary
from segzs.clip.vocabulary import Vocabulary
from segzs.loading import load
from tests.clip.conftest import (
    COCA,
    PLAIN_MODEL,
    SIGLIP_LIKE,
    SIGLIP_PICTURES,
    classify,
    random_clip,
    randomised,
    reference,
    save_clip,
)

LABELS = ["laptop", "red apple", "hammer", "cactus", "nut and bolt", "cat"]
TEMPLATES = ("a photo of a {}", "{}", "an icon of the {}.")
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (PLAIN_MODEL, {}),
    "quick gelu": ({**PLAIN_MODEL, "quick_gelu": True}, {}),
    "siglip": (SIGLIP_LIKE, SIGLIP_PICTURES),
    "mobileclip": (PLAIN_MODEL, {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear"}),
    "longest": (PLAIN_MODEL, {"resize_mode": "longest", "fill_color": 128}),
    "size in the configuration is ignored": (PLAIN_MODEL, {"size": 96}),
    "coca": (COCA, {}),
    "timm": (
        {
            **PLAIN_MODEL,
            "custom_text": True,
            "vision_cfg": {
                "timm_model_name": "regnetx_002",
                "timm_proj": "linear",
                "timm_pool": "avg",
                "image_size": 64,
            },
        },
        {},
    ),
}


def ours(clip: ClipModel, images: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    labels = encode_vocabulary(clip, Vocabulary(tuple(LABELS), TEMPLATES))
    return labels, probabilities(encode_images(clip, images) @ labels.T, clip.logit_scale)


def assert_equal(ours: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    assert expected[1].amax(1).mean() > 1.3 / len(LABELS)  # otherwise equal probabilities would pass
    torch.testing.assert_close(ours[0], expected[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours[1], expected[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_model_equals_open_clip(variant: str, tmp_path: Path, images: list[np.ndarray]) -> None:
    folder = random_clip(tmp_path / "clip", *VARIANTS[variant])
    clip = load_clip(locate_clip(str(folder)))
    assert_equal(ours(clip, images), reference(folder, images, LABELS, TEMPLATES))


@pytest.fixture(scope="module")
def vit_b_32(tmp_path_factory: pytest.TempPathFactory, images: list[np.ndarray]) -> Iterator[tuple[Path, Any]]:
    """A folder of ViT-B-32 with random weights, and open_clip's features and probabilities."""
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
    randomised(model, logit_scale=100).eval()
    folder = tmp_path_factory.mktemp("clip") / "vit_b_32"
    save_clip(folder, open_clip.get_model_config("ViT-B-32"), {}, model.state_dict())
    yield folder, classify(model, preprocess, open_clip.get_tokenizer("ViT-B-32"), images, LABELS, TEMPLATES)
    (folder / "open_clip_model.safetensors").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["{}", "ViT-B-32:{}/open_clip_model.safetensors"])
def test_vit_b_32_of_a_folder_and_of_a_file_equal_open_clip(
    form: str, vit_b_32: tuple[Path, Any], images: list[np.ndarray]
) -> None:
    folder, expected = vit_b_32
    assert_equal(ours(load_clip(locate_clip(form.format(folder))), images), expected)


@pytest.mark.slow
def test_classify_equals_open_clip(vit_b_32: tuple[Path, Any], images: list[np.ndarray]) -> None:
    folder, (_, expected) = vit_b_32
    naming = Naming(templates=TEMPLATES, unknown=None)
    segmenter = load(labels=LABELS, clip=str(folder), naming=naming, dtype="float32", cache=False)
    for image, row in zip(images, expected, strict=True):
        names = {name.label: name.probability for name in segmenter.classify(image)}
        np.testing.assert_allclose([names[label] for label in LABELS], row, rtol=0, atol=1e-5)


def test_a_file_with_a_configuration_equals_open_clip(tmp_path: Path, images: list[np.ndarray]) -> None:
    folder = random_clip(tmp_path / "clip", SIGLIP_LIKE, SIGLIP_PICTURES)
    expected = reference(folder, images, LABELS, TEMPLATES)
    (folder / "open_clip_config.json").rename(folder / "mine.json")
    (folder / "open_clip_model.safetensors").rename(folder / "mine.safetensors")
    assert_equal(ours(load_clip(locate_clip(str(folder / "mine.safetensors"))), images), expected)


def test_torch_files_in_half_precision_equal_open_clip(tmp_path: Path, images: list[np.ndarray]) -> None:
    folder = random_clip(tmp_path / "clip")
    clip = load_clip(locate_clip(str(folder)))
    weights = {key: tensor.half() for key, tensor in clip.module.state_dict().items()}
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, folder / "open_clip_pytorch_model.bin")
    half = load_clip(locate_clip(str(folder)))
    assert {tensor.dtype for tensor in half.module.state_dict().values()} == {torch.float32}
    assert_equal(ours(half, images), reference(folder, images, LABELS, TEMPLATES))


def test_quick_gelu_and_preprocessing_change_the_features(tmp_path: Path, images: list[np.ndarray]) -> None:
    features = []
    for name in ("plain", "quick gelu", "mobileclip", "longest"):
        folder = random_clip(tmp_path / name, *VARIANTS[name])
        features.append(encode_images(load_clip(locate_clip(str(folder))), images))
    for index, one in enumerate(features):
        assert all((one - other).abs().max() > 1e-3 for other in features[:index])


def test_untrained_token_rows_are_zero(clip: ClipModel) -> None:
    """The embedded file contains only the trained rows of the token table."""
    table = clip.module.text.token_embedding.weight
    assert clip.known_tokens is not None
    used = torch.zeros(len(table), dtype=torch.bool)
    used[list(clip.known_tokens)] = True
    assert 0 < used.sum() < len(table)
    assert not table[~used].any()
    assert table[used].any(1).all()


@pytest.mark.slow
def test_features_do_not_depend_on_the_batch(clip: ClipModel, images: list[np.ndarray]) -> None:
    many = [image[offset:] for offset in range(8) for image in images]  # more than a batch
    together = encode_images(clip, many)
    alone = torch.cat([encode_images(clip, [image]) for image in many])
    assert len(together) == 40
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(40))


def test_the_order_of_saved_weights_does_not_matter(tmp_path: Path, images: list[np.ndarray]) -> None:
    folder = random_clip(tmp_path / "clip")
    first = ours(load_clip(locate_clip(str(folder))), images)
    weights = load_clip(locate_clip(str(folder))).module.state_dict()
    save_file(dict(reversed(list(weights.items()))), folder / "open_clip_model.safetensors")
    assert torch.equal(ours(load_clip(locate_clip(str(folder))), images)[1], first[1])

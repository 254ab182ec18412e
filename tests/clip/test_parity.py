"""Whole pictures, named as open_clip's own zero-shot classifier names them: the same probabilities, in float32."""

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

from segzs.clip.build import ClipModel, load_clip
from segzs.clip.naming import encode_pictures, probabilities
from segzs.clip.vocabulary import Vocabulary, encode_labels
from segzs.loading import load
from segzs.models.store import locate_clip
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


def ours(clip: ClipModel, pictures: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    labels = encode_labels(clip, Vocabulary(tuple(LABELS), TEMPLATES))
    return labels, probabilities(encode_pictures(clip, pictures) @ labels.T, clip.logit_scale)


def assert_equal(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> None:
    assert theirs[1].amax(1).mean() > 1.3 / len(LABELS)  # a reference that knows no difference would prove nothing
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_small_models_of_every_kind(variant: str, tmp_path: Path, pictures: list[np.ndarray]) -> None:
    folder = random_clip(tmp_path / "clip", *VARIANTS[variant])
    clip = load_clip(locate_clip(str(folder)))
    assert_equal(ours(clip, pictures), reference(folder, pictures, LABELS, TEMPLATES))


@pytest.fixture(scope="module")
def vit_b_32(tmp_path_factory: pytest.TempPathFactory, pictures: list[np.ndarray]) -> Iterator[tuple[Path, Any]]:
    """A folder of ViT-B-32 with random weights, and open_clip's answer."""
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
    randomised(model, logit_scale=100).eval()
    folder = tmp_path_factory.mktemp("clip") / "vit_b_32"
    save_clip(folder, open_clip.get_model_config("ViT-B-32"), {}, model.state_dict())
    yield folder, classify(model, preprocess, open_clip.get_tokenizer("ViT-B-32"), pictures, LABELS, TEMPLATES)
    (folder / "open_clip_model.safetensors").unlink()


@pytest.mark.parametrize("form", ["{}", "ViT-B-32:{}/open_clip_model.safetensors"])
def test_vit_b_32_from_a_folder_and_from_a_file(
    form: str, vit_b_32: tuple[Path, Any], pictures: list[np.ndarray]
) -> None:
    folder, theirs = vit_b_32
    assert_equal(ours(load_clip(locate_clip(form.format(folder))), pictures), theirs)


def test_a_loaded_segmenter_classifies_alike(vit_b_32: tuple[Path, Any], pictures: list[np.ndarray]) -> None:
    folder, (_, theirs) = vit_b_32
    segmenter = load(clip=str(folder), labels=LABELS, templates=TEMPLATES, unknown=None, dtype="float32", cache=False)
    for picture, expected in zip(pictures, theirs, strict=True):
        names = {name.label: name.probability for name in segmenter.classify(picture)}
        np.testing.assert_allclose([names[label] for label in LABELS], expected, rtol=0, atol=1e-5)


def test_a_file_with_its_configuration_beside_it(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    folder = random_clip(tmp_path / "clip", SIGLIP_LIKE, SIGLIP_PICTURES)
    theirs = reference(folder, pictures, LABELS, TEMPLATES)
    (folder / "open_clip_config.json").rename(folder / "mine.json")
    (folder / "open_clip_model.safetensors").rename(folder / "mine.safetensors")
    assert_equal(ours(load_clip(locate_clip(str(folder / "mine.safetensors"))), pictures), theirs)


def test_torch_files_and_half_precision(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    folder = random_clip(tmp_path / "clip")
    clip = load_clip(locate_clip(str(folder)))
    weights = {key: tensor.half() for key, tensor in clip.module.state_dict().items()}
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, folder / "open_clip_pytorch_model.bin")
    half = load_clip(locate_clip(str(folder)))
    assert {tensor.dtype for tensor in half.module.state_dict().values()} == {torch.float32}
    assert_equal(ours(half, pictures), reference(folder, pictures, LABELS, TEMPLATES))


def test_quick_gelu_and_preprocessing_make_a_difference(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    features = []
    for name in ("plain", "quick gelu", "mobileclip", "longest"):
        folder = random_clip(tmp_path / name, *VARIANTS[name])
        features.append(encode_pictures(load_clip(locate_clip(str(folder))), pictures))
    for index, one in enumerate(features):
        assert all((one - other).abs().max() > 1e-3 for other in features[:index])


def test_token_rows_unknown_to_the_model_are_zero(clip: ClipModel) -> None:
    """The embedded file holds only the rows of its table that were trained."""
    table = clip.module.text.token_embedding.weight
    assert clip.known_tokens is not None
    used = torch.zeros(len(table), dtype=torch.bool)
    used[list(clip.known_tokens)] = True
    assert 0 < used.sum() < len(table)
    assert not table[~used].any()
    assert table[used].any(1).all()


def test_names_do_not_depend_on_the_batch(clip: ClipModel, pictures: list[np.ndarray]) -> None:
    many = [picture[offset:] for offset in range(8) for picture in pictures]  # more than a batch
    together = encode_pictures(clip, many)
    alone = torch.cat([encode_pictures(clip, [picture]) for picture in many])
    assert len(together) == 40
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(40))


def test_saved_weights_of_another_order_load(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    folder = random_clip(tmp_path / "clip")
    first = ours(load_clip(locate_clip(str(folder))), pictures)
    weights = load_clip(locate_clip(str(folder))).module.state_dict()
    save_file(dict(reversed(list(weights.items()))), folder / "open_clip_model.safetensors")
    assert torch.equal(ours(load_clip(locate_clip(str(folder))), pictures)[1], first[1])

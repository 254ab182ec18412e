"""Small CLIPs of every kind with fixed random weights, as folders and files that open_clip can load."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import segzs
from segzs.clip.model import ClipModel
from segzs.image import read_image
from tests.conftest import EXAMPLES

PLAIN_MODEL: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 48, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
SIGLIP_LIKE: dict[str, Any] = {
    **PLAIN_MODEL,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        **PLAIN_MODEL["vision_cfg"],
        "pool_type": "avg",
        "no_ln_pre": True,
        "final_ln_after_pool": True,
    },
    "text_cfg": {**PLAIN_MODEL["text_cfg"], "context_length": 64, "no_causal_mask": True, "pool_type": "last"},
}
COCA: dict[str, Any] = {
    **PLAIN_MODEL,
    "custom_text": True,
    "vision_cfg": {
        **PLAIN_MODEL["vision_cfg"],
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "output_tokens": True,
    },
    "text_cfg": {**PLAIN_MODEL["text_cfg"], "context_length": 76, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**PLAIN_MODEL["text_cfg"], "context_length": 76, "attn_pooler_heads": 2},
}
SIGLIP_PICTURES = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    """Wide, high, square and tiny parts of the example scenes."""
    desk, tools = (read_image(EXAMPLES / f"{name}.png").pixels for name in ("desk", "toolbox"))
    parts = desk, desk[:, 250:450], tools[40:290, 40:290], tools[100:140, 300:310], tools[::4, ::3]
    return [np.ascontiguousarray(part) for part in parts]


@pytest.fixture(scope="session")
def clip(segmenter: segzs.Segmenter) -> ClipModel:
    """The embedded CLIP."""
    return segmenter.clip


def randomised(module: torch.nn.Module, logit_scale: float) -> torch.nn.Module:
    """Fixed random weights, and a logit scale with which texts and images should differ, but not beyond doubt."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                scale = 1 if "embedding" in name else parameter[0].numel() ** -0.5
                parameter.normal_(std=scale, generator=generator)
        module.logit_scale.fill_(math.log(logit_scale))
    return module


def save_clip(folder: Path, model: dict[str, Any], preprocess: dict[str, Any], weights: dict[str, Tensor]) -> Path:
    """Write a folder as open_clip pushes it to the hub."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": model, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, folder / "open_clip_model.safetensors")
    return folder


def random_clip(folder: Path, model: dict[str, Any] = PLAIN_MODEL, preprocess: dict[str, Any] | None = None) -> Path:
    """A folder of a small model with fixed random weights."""
    config = copy.deepcopy(model)
    custom = config.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    torch.manual_seed(0)
    weights = randomised(kind(**config), logit_scale=100 if "init_logit_bias" in config else 20).state_dict()
    return save_clip(folder, model, preprocess or {}, weights)


def reference(
    folder: Path, images: list[np.ndarray], labels: list[str], templates: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """open_clip's own zero-shot classifier of a folder: its weights (labels, width), and probabilities (N, labels)."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return classify(model.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{folder}"), images, labels, templates)


def classify(
    model: Any,
    preprocess: Any,
    tokenizer: Any,
    images: list[np.ndarray],
    labels: list[str],
    templates: tuple[str, ...],
) -> tuple[Tensor, Tensor]:
    classifier = open_clip.build_zero_shot_classifier(model, tokenizer, labels, templates)
    batch = torch.stack([preprocess(PIL.Image.fromarray(image)) for image in images])
    with torch.no_grad():
        features = model.encode_image(batch, normalize=True)
        return classifier.T, (model.logit_scale.exp() * features @ classifier).softmax(dim=-1)

"""SAMs with fixed weights, and segment-anything's predictor as the reference."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, build_sam_vit_b
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from segzs.checkpoints.locate import locate_sam
from segzs.checkpoints.registry import SAMS
from segzs.image import Image, read_image
from segzs.sam.encode import EncodedImage, encode
from segzs.sam.model import SamModel, load_sam
from segzs.sam.networks.network import SegmentAnything
from segzs.sam.networks.sam2 import Sam2
from segzs.sam.networks.tiny import build_tiny_sam
from tests.conftest import EXAMPLES
from tests.sam.sam2_peers import SIDE, meta_predictor, small_meta, small_sam2


@dataclass(frozen=True)
class Pair:
    """One image encoded by segzs and by segment-anything's predictor, with the same weights."""

    sam: SamModel
    encoded: EncodedImage
    predictor: Any


@pytest.fixture(scope="session")
def desk() -> Image:
    return read_image(EXAMPLES / "desk.png")


@pytest.fixture(scope="session")
def portrait() -> Image:
    """A part of the picnic, taller than wide."""
    return read_image(read_image(EXAMPLES / "picnic.png").pixels[:, 100:400])


@pytest.fixture(scope="session")
def tiny() -> SamModel:
    """The embedded SAM."""
    return load_sam(locate_sam("tiny"))


@pytest.fixture(scope="session")
def other_tiny() -> SamModel:
    """The embedded SAM's architecture with other weights."""
    return SamModel(SAMS["tiny"], "other", randomised(build_tiny_sam).requires_grad_(False))


@pytest.fixture(scope="session")
def tiny_pair(tiny: SamModel, desk: Image) -> Pair:
    return pair(tiny, desk, tiny.module)


@pytest.fixture(scope="session")
def small_pair(portrait: Image) -> Pair:
    """Meta's architecture, with windowed and global attention, but small."""
    module = randomised(build_small_sam).requires_grad_(False)
    return pair(
        SamModel(replace(SAMS["vit_b"], name="small"), "small", SegmentAnything.of(deepcopy(module)).fuse()),
        portrait,
        module,
    )


@pytest.fixture(scope="session")
def vit_b_pair(desk: Image, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """ViT-B: segzs loads a file in the official format; the reference is the module that was saved.

    After loading, both drop the last nine of twelve blocks, which repeat the first three and take a minute.
    """
    official = randomised(build_sam_vit_b)
    file = tmp_path_factory.mktemp("vit_b") / "sam_vit_b.pth"
    torch.save(official.state_dict(), file)
    sam = load_sam(locate_sam(f"vit_b:{file}"))
    file.unlink()
    loaded = sam.module.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in official.state_dict().items())
    for module in (official, sam.module):
        module.image_encoder.blocks = module.image_encoder.blocks[:3]
    return pair(sam, desk, official)


@pytest.fixture(scope="session")
def sam2_pair(square: Image) -> Pair:
    """A small SAM 2.1, with Meta's weights and predictor."""
    meta = small_meta()
    sam = sam2_model(small_sam2(), meta.state_dict())
    predictor = meta_predictor(meta)
    predictor.set_image(np.array(square.pixels))
    return Pair(sam, encode(sam, square), predictor)


@pytest.fixture(scope="session")
def square(desk: Image) -> Image:
    """A part of the desk that fills the input of the small SAM 2.1, so that nothing is resized."""
    return Image(desk.pixels[:SIDE, :SIDE])


def sam2_model(module: Sam2, weights: dict[str, torch.Tensor]) -> SamModel:
    module.load(weights, "random weights")
    module.eval().requires_grad_(False)
    return SamModel(replace(SAMS["vit_b"], name="small SAM 2.1"), "small SAM 2.1", module)


def pair(sam: SamModel, image: Image, module: Sam) -> Pair:
    predictor = SamPredictor(module)
    predictor.set_image(np.array(image.pixels))
    return Pair(sam, encode(sam, image), predictor)


def randomised(build: Callable[[], Sam]) -> Sam:
    """A module with fixed random weights, also for those that start as zeros, which could hide mistakes."""
    torch.manual_seed(0)
    module = build()
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return module


def build_small_sam() -> Sam:
    grid = (16, 16)
    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=256,
            embed_dim=64,
            depth=3,
            num_heads=2,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=7,
            global_attn_indexes=(1,),
        ),
        prompt_encoder=PromptEncoder(256, image_embedding_size=grid, input_image_size=(256, 256), mask_in_chans=16),
        mask_decoder=MaskDecoder(
            transformer_dim=256, transformer=TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048)
        ),
    )
    return sam.eval()

"""SAM 2.1 with random weights, built by its other implementations."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from timm.models.hieradet_sam2 import HieraDet
from torch import nn

from segzs.sam.networks.sam2 import Sam2, assembled

SIDE = 256
WIDTH, BLOCKS, GLOBAL = 16, (1, 2, 2, 1), (2,)


def small_sam2() -> Sam2:
    """SAM 2.1 with few and narrow blocks, for small images."""
    return assembled(HieraDet(embed_dim=WIDTH, stages=BLOCKS, global_att_blocks=GLOBAL, num_classes=0), SIDE)


def small_meta() -> Any:
    """`small_sam2` of Meta's package."""
    pytest.importorskip("sam2", reason="the package sam2 is not installed; see CONTRIBUTING.md")
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from sam2.modeling.sam2_base import SAM2Base

    widths = [WIDTH * 8, WIDTH * 4, WIDTH * 2, WIDTH]
    positions = PositionEmbeddingSine(num_pos_feats=256, normalize=True, scale=None, temperature=10000)
    trunk = Hiera(
        embed_dim=WIDTH,
        num_heads=1,
        stages=BLOCKS,
        global_att_blocks=GLOBAL,
        window_pos_embed_bkg_spatial_size=(7, 7),
    )
    neck = FpnNeck(positions, 256, widths, fpn_top_down_levels=[2, 3], fpn_interp_model="nearest")
    model = SAM2Base(
        ImageEncoder(trunk, neck, scalp=1),
        None,
        None,
        image_size=SIDE,
        directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
        multimask_output_in_sam=True,
        sam_mask_decoder_extra_args={
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    )
    return randomised(model)


def full_meta(size: str) -> Any:
    """SAM 2.1 of Meta's package: t, s, b+ or l."""
    pytest.importorskip("sam2", reason="the package sam2 is not installed; see CONTRIBUTING.md")
    from sam2.build_sam import build_sam2

    return randomised(build_sam2(f"configs/sam2.1/sam2.1_hiera_{size}.yaml", device="cpu"))


def meta_predictor(model: Any) -> Any:
    """`SAM2ImagePredictor`, also for small images."""
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit.script is deprecated
        predictor = SAM2ImagePredictor(model)
    predictor._bb_feat_sizes = [(model.image_size // stride,) * 2 for stride in (4, 8, 16)]
    return predictor


def small_transformers() -> Any:
    """`small_sam2` of transformers, and its processor."""
    pytest.importorskip("transformers", reason="transformers is not installed; see CONTRIBUTING.md")
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

    widths = [WIDTH, WIDTH * 2, WIDTH * 4, WIDTH * 8]
    backbone = Sam2HieraDetConfig(
        hidden_size=WIDTH,
        embed_dim_per_stage=widths,
        blocks_per_stage=list(BLOCKS),
        global_attention_blocks=list(GLOBAL),
        image_size=[SIDE, SIDE],
    )
    sizes = [[SIDE // stride] * 2 for stride in (4, 8, 16)]
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=widths[::-1], backbone_feature_sizes=sizes
    )
    return randomised(Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config={"image_size": SIDE})))


def edgetam_transformers() -> Any:
    """EdgeTAM of transformers, for small images."""
    pytest.importorskip("transformers", reason="transformers is not installed; see CONTRIBUTING.md")
    from transformers import EdgeTamConfig, EdgeTamModel, EdgeTamVisionConfig, TimmWrapperConfig

    arguments = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    sizes = [[SIDE // stride] * 2 for stride in (4, 8, 16)]
    vision = EdgeTamVisionConfig(
        backbone_config=TimmWrapperConfig(architecture="repvit_m1", model_args=arguments), backbone_feature_sizes=sizes
    )
    return randomised(EdgeTamModel(EdgeTamConfig(vision_config=vision, prompt_encoder_config={"image_size": SIDE})))


def randomised(module: nn.Module) -> Any:
    """The module with fixed random weights, also for those that start as zeros, which could hide mistakes."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1 or not parameter.any() or "token" in name:
                parameter.normal_(std=0.02 if parameter.ndim < 2 else parameter[0].numel() ** -0.5)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
        if hasattr(module, "shared_image_embedding"):  # equal in the published files
            positions = module.prompt_encoder.shared_embedding.positional_embedding
            module.shared_image_embedding.positional_embedding.copy_(positions)
    return module.eval().requires_grad_(False)

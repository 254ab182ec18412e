"""The names of SAM 2.1's and EdgeTAM's weights in Meta's files and in those of transformers."""

from __future__ import annotations

import re

from torch import Tensor

MLPS = r"(mask_decoder\.(?:output_hypernetworks_mlps\.\d|iou_prediction_head))"
META = (
    (r"^image_encoder\.trunk\.(?:body\.)?", "image_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv", r"image_encoder.laterals.\1"),
    (r"^sam_", ""),
    (r"^(image_encoder\..*mlp)\.layers\.0", r"\1.fc1"),
    (r"^(image_encoder\..*mlp)\.layers\.1", r"\1.fc2"),
    (r"^(mask_decoder\.transformer\..*mlp)\.layers\.0", r"\1.lin1"),
    (r"^(mask_decoder\.transformer\..*mlp)\.layers\.1", r"\1.lin2"),
    (r"^no_mem_embed$", "image_encoder.no_memory"),
)
TRANSFORMERS = (
    (r"^vision_encoder\.backbone\.(?:timm_model\.)?", "image_encoder.backbone."),
    (r"^vision_encoder\.neck\.convs\.(\d)", r"image_encoder.laterals.\1"),
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"^(image_encoder\..*mlp)\.proj_in", r"\1.fc1"),
    (r"^(image_encoder\..*mlp)\.proj_out", r"\1.fc2"),
    (r"^(mask_decoder\.transformer\..*mlp)\.proj_in", r"\1.lin1"),
    (r"^(mask_decoder\.transformer\..*mlp)\.proj_out", r"\1.lin2"),
    (r"^(mask_decoder\.transformer\..*)o_proj", r"\1out_proj"),
    (rf"^{MLPS}\.layers\.0", r"\1.layers.1"),
    (rf"^{MLPS}\.proj_in", r"\1.layers.0"),
    (rf"^{MLPS}\.proj_out", r"\1.layers.2"),
    (r"\.mask_embed\.conv1", ".mask_downscaling.0"),
    (r"\.mask_embed\.layer_norm1", ".mask_downscaling.1"),
    (r"\.mask_embed\.conv2", ".mask_downscaling.3"),
    (r"\.mask_embed\.layer_norm2", ".mask_downscaling.4"),
    (r"\.mask_embed\.conv3", ".mask_downscaling.6"),
    (r"\.upscale_conv1", ".output_upscaling.0"),
    (r"\.upscale_layer_norm", ".output_upscaling.1"),
    (r"\.upscale_conv2", ".output_upscaling.3"),
    (r"([._])layer_norm", r"\1norm"),
    (r"\.shared_embedding\.positional_embedding", ".pe_layer.positional_encoding_gaussian_matrix"),
    (r"^no_memory_embedding$", "image_encoder.no_memory"),
)
BOTH = (
    (r"^(image_encoder\.backbone)\.stages_(\d)", r"\1.stages.\2"),  # timm's name for a stage without its classifier
    (r"^(image_encoder\.backbone)\.stem_", r"\1.stem."),
    (r"^mask_decoder\.conv_s0", "image_encoder.to_4"),
    (r"^mask_decoder\.conv_s1", "image_encoder.to_8"),
)
UNUSED = re.compile(
    "memory_|maskmem_|mask_downsample|spatial_perceiver|obj_ptr_|object_pointer_|no_obj_|no_object_|no_mem_pos_"
    r"|no_memory_positional_|occlusion_|temporal_|shared_image_embedding|(sam_)?mask_decoder\.pred_obj_score_head"
)
"""What only videos need, the head that says whether an object is in a frame, and copies of other weights."""
POINTS = "prompt_encoder.point_embed.weight"


def converted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an image under the names of `Sam2`; others keep their names, to be refused."""
    rules = TRANSFORMERS if any(key.startswith("vision_encoder.") for key in weights) else META
    renamed: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        if not UNUSED.match(key):
            for pattern, name in (*rules, *BOTH):
                key = re.sub(pattern, name, key)
            renamed[key] = tensor
    if POINTS in renamed:
        rows = renamed.pop(POINTS).split(1)
        renamed |= {f"prompt_encoder.point_embeddings.{index}.weight": row for index, row in enumerate(rows)}
    return renamed

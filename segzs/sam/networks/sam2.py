"""SAM 2.1 and EdgeTAM on images, without their memory of videos.

Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024, https://arxiv.org/abs/2408.00714; Zhou et al.,
"EdgeTAM: On-Device Track Anything Model", CVPR 2025, https://arxiv.org/abs/2501.07256. timm has the backbones. The
prompt encoder and the mask decoder are those of SAM, with a few more tokens and finer image features.
"""

from __future__ import annotations

import timm
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from timm.utils.model import reparameterize_model
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.sam.networks.mask_decoder import FusedMaskDecoder, normed, quartered
from segzs.sam.networks.network import LowResMasks, PromptTensors, SegmentAnything
from segzs.sam.networks.sam2_keys import converted

SIDE, STRIDE = 1024, 16
CHANNELS = 256
CHANNELS_8, CHANNELS_4 = CHANNELS // 4, CHANNELS // 8
PIXEL_MEAN, PIXEL_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
MAX_LOGIT = 32.0
"""Low-res logits of a mask prompt are cut there."""
STABILITY_OFFSET, MIN_STABILITY = 0.05, 0.98
"""A single mask that is less stable at this offset gives way to the best of the three."""


def build_sam2(backbone: str) -> Sam2:
    """Build a SAM 2.1 or an EdgeTAM with untrained weights around a backbone of timm."""
    return assembled(timm.create_model(backbone, num_classes=0))


def assembled(backbone: nn.Module, side: int = SIDE) -> Sam2:
    """A SAM 2.1 for square inputs of ``side`` pixels around a backbone with stages of stride 4, 8, 16 and 32."""
    backbone.head = nn.Identity()
    grid = (side // STRIDE, side // STRIDE)
    decoder = MaskDecoder(
        transformer_dim=CHANNELS,
        transformer=TwoWayTransformer(depth=2, embedding_dim=CHANNELS, num_heads=8, mlp_dim=2048),
    )
    return Sam2(
        PyramidEncoder(backbone, side),
        PaddingPromptEncoder(CHANNELS, image_embedding_size=grid, input_image_size=(side, side), mask_in_chans=16),
        FinerMaskDecoder(decoder),
        PIXEL_MEAN,
        PIXEL_STD,
    )


class Sam2(SegmentAnything):
    """SAM 2.1 or EdgeTAM: images are stretched to the square input."""

    keeps_aspect = False
    memory_format = torch.channels_last

    def load(self, weights: dict[str, Tensor], source: str) -> None:
        """Take over the weights of Meta's or of transformers' file of the same model."""
        super().load(converted(weights), source)
        self.image_encoder.backbone = reparameterize_model(self.image_encoder.backbone)

    def decode(self, features: Tensor, prompts: PromptTensors) -> LowResMasks:
        if prompts.masks is not None:
            prompts = prompts._replace(masks=prompts.masks.clamp(-MAX_LOGIT, MAX_LOGIT))
        return super().decode(features, prompts)


class PyramidEncoder(nn.Module):
    """B 3 S S normalised pixels -> B 1024 G G.

    Of each cell, the embedding comes first, then the features of its 2 x 2 cells of stride 8 and those of its 4 x 4
    cells of stride 4, in the order in which `FinerMaskDecoder` needs them.
    """

    def __init__(self, backbone: nn.Module, side: int) -> None:
        super().__init__()
        self.img_size = side
        self.backbone = backbone
        widths = [stage["num_chs"] for stage in backbone.feature_info]  # type: ignore[union-attr, index]
        self.laterals = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in reversed(widths))
        self.to_8, self.to_4 = nn.Conv2d(CHANNELS, CHANNELS_8, 1), nn.Conv2d(CHANNELS, CHANNELS_4, 1)
        self.no_memory = nn.Parameter(torch.zeros(1, 1, CHANNELS))

    def forward(self, pixels: Tensor) -> Tensor:
        stages = self.backbone.forward_intermediates(pixels, intermediates_only=True)  # type: ignore[operator]
        c4, c8, c16, c32 = (stage.permute(0, 2, 3, 1) for stage in stages)
        from_32, from_16, from_8, from_4 = self.laterals
        x16 = pointwise(from_16, c16) + doubled(pointwise(from_32, c32)) + self.no_memory
        x8 = composed(self.to_8, from_8, c8).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # B G 2 G 2 c
        x4 = composed(self.to_4, from_4, c4)
        x4 = x4.unflatten(2, (-1, 2, 2)).unflatten(1, (-1, 2, 2))  # B G 2 2 G 2 2 c
        packed = [x16, x8.permute(0, 1, 3, 2, 4, 5).flatten(3), x4.permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(3)]
        return torch.cat(packed, -1).permute(0, 3, 1, 2)


def pointwise(convolution: nn.Module, cells: Tensor) -> Tensor:
    """A 1x1 convolution on cells ... C."""
    return F.linear(cells, convolution.weight.flatten(1), convolution.bias)  # type: ignore[operator, arg-type]


def composed(second: nn.Module, first: nn.Module, cells: Tensor) -> Tensor:
    """Two 1x1 convolutions on cells ... C as one, so that the wide features between them are not made."""
    outer, inner = (layer.weight.flatten(1).float() for layer in (second, first))  # type: ignore[operator]
    weight, bias = outer @ inner, outer @ first.bias.float() + second.bias  # type: ignore[operator]
    return F.linear(cells, weight.to(cells.dtype), bias.to(cells.dtype))


def doubled(cells: Tensor) -> Tensor:
    """B H W C -> B 2H 2W C, each cell four times."""
    return cells.repeat_interleave(2, 1).repeat_interleave(2, 2)


class PaddingPromptEncoder(PromptEncoder):
    """segment-anything's prompt encoder that adds the token of no point to boxes as well."""

    def _embed_boxes(self, boxes: Tensor) -> Tensor:
        corners = super()._embed_boxes(boxes)
        return torch.cat([corners, self.not_a_point_embed.weight.expand(len(corners), 1, -1)], 1)


class FinerMaskDecoder(FusedMaskDecoder):
    """The mask decoder of SAM 2.1, for features of `PyramidEncoder`.

    It has one more token, adds finer image features while upscaling, and answers an unambiguous prompt with the best
    of the three other masks where its own is unstable.
    """

    def __init__(self, original: MaskDecoder) -> None:
        super().__init__(original)
        self.iou_prediction_head.sigmoid_output = True
        self.obj_score_token = nn.Embedding(1, CHANNELS)

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        own = self.obj_score_token.weight.expand(len(sparse_prompt_embeddings), 1, -1)
        sparse = torch.cat([own, sparse_prompt_embeddings], 1)
        masks, predicted_iou = super().predict_masks(image_embeddings, image_pe, sparse, dense_prompt_embeddings)
        return stable_first(masks, predicted_iou)

    def _upscaled(self, cells: Tensor, features: Tensor) -> Tensor:
        first, norm, activation, second, activation_2 = self.output_upscaling
        _, x8, x4 = features.permute(0, 2, 3, 1).flatten(1, 2).split([CHANNELS, 4 * CHANNELS_8, 16 * CHANNELS_4], 2)
        finer = quartered(first, cells).add_(x8.unflatten(2, (4, -1)))
        finer = quartered(second, activation(normed(finer, norm)))
        return activation_2(finer.add_(x4.unflatten(2, (4, 4, -1))))


def stable_first(masks: Tensor, predicted_iou: Tensor) -> tuple[Tensor, Tensor]:
    """N 4 H W and N 4, whose first mask is replaced, where it is unstable, by the best of the others."""
    first = masks[:, 0].flatten(1)
    higher, lower = ((first > offset).sum(1) for offset in (STABILITY_OFFSET, -STABILITY_OFFSET))
    rows = ((lower > 0) & (higher < MIN_STABILITY * lower)).nonzero()[:, 0]
    best = predicted_iou[rows, 1:].argmax(1) + 1
    masks[rows, 0], predicted_iou[rows, 0] = masks[rows, best], predicted_iou[rows, best]
    return masks, predicted_iou

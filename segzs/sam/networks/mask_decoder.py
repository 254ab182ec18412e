"""segment-anything's mask decoder on the same weights, for many prompts on one image."""

from __future__ import annotations

from typing import cast

import torch
from segment_anything.modeling import MaskDecoder
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.sam.networks.attention import two_way


class FusedMaskDecoder(MaskDecoder):
    """A `MaskDecoder` that neither copies the image for every prompt nor moves pixels about before the last step.

    A transposed convolution of two by two at stride two is a matrix product that makes four cells of each. Cells stay
    in the order in which they are made until there are masks, a fraction of the data, to be put into rows and columns.
    """

    def __init__(self, original: MaskDecoder) -> None:
        nn.Module.__init__(self)
        for name, part in original.named_children():
            setattr(self, name, part)
        self.transformer_dim = original.transformer_dim
        self.num_multimask_outputs = original.num_multimask_outputs
        self.num_mask_tokens = original.num_mask_tokens

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Masks N 4 4G 4G and predicted IoU N 4 for N prompts on one image, 1 C G G."""
        if dense_prompt_embeddings.stride(0) == 0:  # no mask among the prompts: one embedding stands for all
            dense_prompt_embeddings = dense_prompt_embeddings[:1]
        cells = image_embeddings + dense_prompt_embeddings
        answers, cells, weights = answer(self, cells, image_pe, sparse_prompt_embeddings)
        masks = self._upscaled(cells).flatten(1, 3) @ weights  # N (L 4 4) 4
        height, width = image_embeddings.shape[-2:]
        masks = masks.unflatten(1, (height, width, 2, 2, 2, 2))  # N y x y x y x 4
        masks = masks.permute(0, 7, 1, 3, 5, 2, 4, 6).flatten(5).flatten(2, 4)
        return masks, self.iou_prediction_head(answers[:, 0])

    def _upscaled(self, cells: Tensor) -> Tensor:
        """Cells N L C -> N L 4 4 c, the sixteen finer cells of each."""
        first, norm, activation, second, activation_2 = self.output_upscaling
        finer = activation(normed(quartered(first, cells), norm))
        return activation_2(quartered(second, finer))


def answer(decoder: MaskDecoder, features: Tensor, positions: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a decoder's transformer makes of prompts, before there are masks.

    Args:
        decoder: whose tokens, transformer and mask heads.
        features: image and dense prompt embeddings, 1|N C H W.
        positions: 1 C H W.
        sparse: sparse prompt embeddings, N T C.

    Returns:
        The answered tokens N T' C, the IoU's first; the cells N HW C; the weights of the four masks N c 4.
    """
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(sparse.shape[0], -1, -1), sparse], dim=1)
    cells, places = (part.flatten(2).transpose(1, 2) for part in (features, positions))
    answers, cells = two_way(decoder.transformer, cells, places[0], tokens)
    weights = [mlp(answers[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
    return answers, cells, torch.stack(weights, dim=2)


def quartered(convolution: nn.ConvTranspose2d, cells: Tensor) -> Tensor:
    """... C -> ... 4 C': what a transposed convolution of two by two makes of each cell."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2 2 C') C
    return F.linear(cells, weight, cast(Tensor, convolution.bias).repeat(4)).unflatten(-1, (4, -1))


def normed(cells: Tensor, norm: LayerNorm2d) -> Tensor:
    """``norm`` over the last axis, where cells hold their channels."""
    return F.layer_norm(cells, cells.shape[-1:], norm.weight, norm.bias, norm.eps)

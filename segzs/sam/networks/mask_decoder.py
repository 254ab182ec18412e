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
    """A `MaskDecoder` that does not copy the image features for each prompt, and permutes only the final masks.

    A 2x2 transposed convolution with stride 2 is a matrix product that makes four cells of each cell. The cells keep
    this order until the masks, which are a fraction of the data, are put into rows and columns.
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
        if dense_prompt_embeddings.stride(0) == 0:  # no prompt has a mask: all share one embedding
            dense_prompt_embeddings = dense_prompt_embeddings[:1]
        cells = image_embeddings[:, : self.transformer_dim] + dense_prompt_embeddings
        tokens, cells, weights = answer(self, cells, image_pe, sparse_prompt_embeddings)
        masks = self._upscaled(cells, image_embeddings).flatten(1, 3) @ weights  # N (L 4 4) 4
        height, width = image_embeddings.shape[-2:]
        masks = masks.unflatten(1, (height, width, 2, 2, 2, 2))  # N y x y x y x 4
        masks = masks.permute(0, 7, 1, 3, 5, 2, 4, 6).flatten(5).flatten(2, 4)
        return masks, self.iou_prediction_head(tokens[:, 0])

    def _upscaled(self, cells: Tensor, features: Tensor) -> Tensor:
        """Cells N L C -> N L 4 4 c, the sixteen finer cells of each cell; a subclass may read the image's features."""
        first, norm, activation, second, activation_2 = self.output_upscaling
        finer = activation(normed(quartered(first, cells), norm))
        return activation_2(quartered(second, finer))


def answer(decoder: MaskDecoder, features: Tensor, positions: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Run the transformer and the hypernetworks of a decoder.

    Args:
        decoder: its tokens, transformer and hypernetworks are used.
        features: image embedding plus dense prompt embeddings, 1|N C H W.
        positions: positional encoding, 1 C H W.
        sparse: sparse prompt embeddings, N T C.

    Returns:
        The output tokens N T' C, the IoU token first; the cells N HW C; the weights of the four masks N c 4.
    """
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(sparse.shape[0], -1, -1), sparse], dim=1)
    cells, encoding = (part.flatten(2).transpose(1, 2) for part in (features, positions))
    tokens, cells = two_way(decoder.transformer, cells, encoding[0], tokens)
    weights = [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
    return tokens, cells, torch.stack(weights, dim=2)


def quartered(convolution: nn.ConvTranspose2d, cells: Tensor) -> Tensor:
    """A 2x2 transposed convolution with stride 2 on cells: ... C -> ... 4 C'."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2 2 C') C
    return F.linear(cells, weight, cast(Tensor, convolution.bias).repeat(4)).unflatten(-1, (4, -1))


def normed(cells: Tensor, norm: LayerNorm2d) -> Tensor:
    """``norm`` over the channels, which are the last axis of cells."""
    return F.layer_norm(cells, cells.shape[-1:], norm.weight, norm.bias, norm.eps)

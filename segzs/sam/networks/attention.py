"""Faster attention for segment-anything's encoder and decoder, with the same weights and results.

In the encoder, the relative positions are added for a few rows of the grid at a time, instead of as one table. In the
decoder, a few tokens attend to thousands of cells of the image: the cells' projections are applied to the tokens
instead, ``(x W) q = x (W q)``, so that no cell is projected.
"""

from __future__ import annotations

from math import sqrt

import torch
from segment_anything.modeling import ImageEncoderViT, TwoWayTransformer, transformer
from segment_anything.modeling import image_encoder as reference
from torch import Tensor, nn
from torch.nn import functional as F

SCORES = 2**20
"""Number of attention scores in memory at once on a CPU, so that they stay in its cache."""
EXPORTED_MASK_BYTES = 256 * 2**20
"""Size of the attention mask in a compiled graph; smaller masks make the graph longer."""


class FusedAttention(nn.Module):
    """`segment_anything.modeling.image_encoder.Attention` on the same weights, with the same keys in its state dict.

    B H W C -> B H W C, for the grid size H x W of the tables of relative positions. For inference only: the tables are
    computed once, from the weights at construction.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, original: reference.Attention) -> None:
        super().__init__()
        self.heads = original.num_heads
        self.qkv, self.proj = original.qkv, original.proj
        self.rel_pos_h, self.rel_pos_w = original.rel_pos_h, original.rel_pos_w
        for name, table in (("rows", self.rel_pos_h), ("columns", self.rel_pos_w)):
            size = (len(table) + 1) // 2
            self.register_buffer(name, reference.get_rel_pos(size, size, table.detach()), persistent=False)  # S S c

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        qkv = self.qkv(x).view(batch, height * width, 3, self.heads, -1)
        # contiguous: otherwise each of the following products copies them
        q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2).contiguous()  # each B*heads HW c
        q = q.unflatten(1, (height, width))
        bias_rows = torch.einsum("nhwc,hkc->nhwk", q, self.rows).contiguous()
        bias_columns = torch.einsum("nhwc,wkc->nhwk", q, self.columns).contiguous()
        attend = _attend_in_parts if x.device.type == "cpu" and not torch.compiler.is_compiling() else _attend
        attended = attend(q, k, v, bias_rows, bias_columns)
        return self.proj(attended.unflatten(0, (batch, -1)).permute(0, 2, 3, 1, 4).flatten(3))


def _attend_in_parts(q: Tensor, k: Tensor, v: Tensor, bias_rows: Tensor, bias_columns: Tensor) -> Tensor:
    """Attention of a few rows of a few heads at a time: on CPUs faster than the fused kernel.

    The product of q and k is added to the bias in place, so that the bias needs no pass of its own.
    """
    count, height, width, channels = q.shape
    q, k = q * channels**-0.5, k.transpose(1, 2)
    scores_per_row = width * height * width
    rows = max(1, min(height, SCORES // scores_per_row))
    heads = max(1, SCORES // (rows * scores_per_row))
    attended = torch.empty_like(q, memory_format=torch.contiguous_format)
    for head in range(0, count, heads):
        some = slice(head, head + heads)
        for top in range(0, height, rows):
            part = some, slice(top, top + rows)
            bias = _bias(bias_rows[part], bias_columns[part])
            weights = bias.baddbmm_(q[part].flatten(1, 2), k[some]).softmax(-1)
            attended[part] = (weights @ v[some]).unflatten(1, (-1, width))
    return attended


def _attend(q: Tensor, k: Tensor, v: Tensor, bias_rows: Tensor, bias_columns: Tensor) -> Tensor:
    """Attention by the fused kernel; in a graph compiled for CPUs in parts, whose masks fit into memory."""
    count, height, width, _ = q.shape
    bytes_per_row = count * width * height * width * q.element_size()
    step = max(1, min(height, EXPORTED_MASK_BYTES // bytes_per_row)) if q.device.type == "cpu" else height
    attended = torch.empty_like(q, memory_format=torch.contiguous_format)
    for top in range(0, height, step):
        part = slice(None), slice(top, top + step)
        attended[part] = F.scaled_dot_product_attention(
            q[part].flatten(1, 2), k, v, attn_mask=_bias(bias_rows[part], bias_columns[part])
        ).unflatten(1, (-1, width))
    return attended


def _bias(rows: Tensor, columns: Tensor) -> Tensor:
    """The bias of each query and key, N hw HW, from those of the keys' rows N h w H and columns N h w W."""
    return (rows[..., :, None] + columns[..., None, :]).flatten(3).flatten(1, 2)


class DensePatches(nn.Module):
    """`segment_anything.modeling.image_encoder.PatchEmbed` on the same weights: B 3 H W -> B h w C.

    The result is contiguous, so that later layers do not copy it.
    """

    def __init__(self, original: reference.PatchEmbed) -> None:
        super().__init__()
        self.proj = original.proj

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 1).contiguous()


def fuse_encoder(encoder: ImageEncoderViT) -> None:
    """Replace parts of this encoder by faster ones with the same weights and results."""
    encoder.patch_embed = DensePatches(encoder.patch_embed)
    for block in encoder.blocks:
        if isinstance(block.attn, reference.Attention) and block.attn.use_rel_pos:
            block.attn = FusedAttention(block.attn)


def two_way(module: TwoWayTransformer, cells: Tensor, positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """`TwoWayTransformer` on the same weights, for many prompts on one image.

    Args:
        module: the decoder's transformer.
        cells: the image embedding, 1 L C if all prompts share it, otherwise N L C.
        positions: positional encoding of the cells, L C.
        tokens: prompt tokens, N T C.

    Returns:
        The output tokens N T C and the cells of each prompt N L C.
    """
    queries = tokens
    for layer in module.layers:
        if layer.skip_first_layer_pe:
            queries = layer.norm1(layer.self_attn(queries, queries, queries))
        else:
            with_tokens = queries + tokens
            queries = layer.norm1(queries + layer.self_attn(with_tokens, with_tokens, queries))
        positioned = cells + positions
        attended = tokens_to_cells(layer.cross_attn_token_to_image, queries + tokens, positioned, cells)
        queries = layer.norm2(queries + attended)
        queries = layer.norm3(queries + layer.mlp(queries))
        cells = layer.norm4(
            cells_to_tokens(layer.cross_attn_image_to_token, positioned, queries + tokens, queries, cells)
        )
    attended = tokens_to_cells(module.final_attn_token_to_image, queries + tokens, cells + positions, cells)
    return module.norm_final_attn(queries + attended), cells


def tokens_to_cells(attention: transformer.Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention from tokens q, N T C, to cells k and v, 1|N L C: N T C.

    The bias of the projection of k adds the same to all scores of a query and cancels in the softmax.
    """
    heads = attention.num_heads
    q = attention.q_proj(q).unflatten(2, (heads, -1))  # N T h c
    q = q / sqrt(q.shape[-1])
    q = torch.einsum("nthc,hcd->nhtd", q, _by_head(attention.k_proj.weight, heads)).flatten(1, 2)  # N hT C
    weights = _matmul(q, k.transpose(1, 2)).softmax(-1)  # N hT L
    attended = _matmul(weights, v).unflatten(1, (heads, -1))  # N h T C
    attended = torch.einsum("nhtd,hcd->nthc", attended, _by_head(attention.v_proj.weight, heads)).flatten(2)
    return attention.out_proj(attended + attention.v_proj.bias)


def cells_to_tokens(attention: transformer.Attention, q: Tensor, k: Tensor, v: Tensor, residual: Tensor) -> Tensor:
    """Attention from cells q, 1|N L C, to tokens k and v, N T C, plus ``residual`` 1|N L C: N L C."""
    heads = attention.num_heads
    k = attention.k_proj(k).unflatten(2, (heads, -1))  # N T h c
    k = k / sqrt(k.shape[-1])
    bias = torch.einsum("nthc,hc->nht", k, attention.q_proj.bias.unflatten(0, (heads, -1))).flatten(1)  # N hT
    k = torch.einsum("nthc,hcd->nhtd", k, _by_head(attention.q_proj.weight, heads)).flatten(1, 2)  # N hT C
    scores = _matmul(k, q.transpose(1, 2)).add_(bias[..., None])  # N hT L
    weights = scores.unflatten(1, (heads, -1)).softmax(2).flatten(1, 2)  # over the tokens; cells last, which is fast
    v = attention.v_proj(v).unflatten(2, (heads, -1))  # N T h c
    v = torch.einsum("nthc,dhc->nhtd", v, attention.out_proj.weight.unflatten(1, (heads, -1))).flatten(1, 2)
    v = v + attention.out_proj.bias / heads  # the weights of each head sum to one
    return (weights.transpose(1, 2) @ v).add_(residual)


def _matmul(tokens: Tensor, cells: Tensor) -> Tensor:
    """Matrix product of N T . and 1|N . M, which does not copy cells that all prompts share."""
    if cells.shape[0] == 1:
        return (tokens.flatten(0, 1) @ cells[0]).unflatten(0, tokens.shape[:2])
    return tokens @ cells


def _by_head(weight: Tensor, heads: int) -> Tensor:
    """The weight of a projection by head: (h c) C -> h c C."""
    return weight.unflatten(0, (heads, -1))

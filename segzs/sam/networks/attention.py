"""The attention of segment-anything's encoder and decoder, computed in fewer and smaller steps, with its weights.

The encoder's relative positions enter for a few rows of the grid at a time, never as one whole table. In the
decoder a handful of tokens meets thousands of image cells: there, projections of the cells are moved over to the
tokens, ``(x W) q = x (W q)``, so that no cell is projected at all.
"""

from __future__ import annotations

from math import sqrt

import torch
from segment_anything.modeling import ImageEncoderViT, TwoWayTransformer, transformer
from segment_anything.modeling import image_encoder as reference
from torch import Tensor, nn
from torch.nn import functional as F

SCORES = 2**20
"""How many scores are in memory at once on a CPU, so that they stay in the cache from their product to the next."""
EXPORTED_MASK_BYTES = 256 * 2**20
"""The same in an exported graph, as a mask: its compiler cuts for the cache, and every part makes it longer."""


class FusedAttention(nn.Module):
    """`segment_anything.modeling.image_encoder.Attention` on the same weights, with the same keys in its state dict.

    B H W C -> B H W C, for the one grid size H x W that the tables of relative positions were made for. For inference
    only: the tables are made once, of the weights as they are then.
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
        # contiguous, or every product that these enter copies them, and what is made of them is copied once more
        query, key, value = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2).contiguous()  # each B*heads HW c
        query = query.unflatten(1, (height, width))
        up_down = torch.einsum("nhwc,hkc->nhwk", query, self.rows).contiguous()
        left_right = torch.einsum("nhwc,wkc->nhwk", query, self.columns).contiguous()
        attend = _attend_in_parts if x.device.type == "cpu" and not torch.compiler.is_compiling() else _attend
        attended = attend(query, key, value, up_down, left_right)
        return self.proj(attended.unflatten(0, (batch, -1)).permute(0, 2, 3, 1, 4).flatten(3))


def _attend_in_parts(query: Tensor, key: Tensor, value: Tensor, up_down: Tensor, left_right: Tensor) -> Tensor:
    """Scores of a few rows of a few heads at a time, by plain products: on CPUs faster than the fused kernel.

    The relative positions are what the product of queries and keys is added to, so they cost no pass of their own.
    """
    count, height, width, channels = query.shape
    query, key = query * channels**-0.5, key.transpose(1, 2)
    a_row = width * height * width
    rows = max(1, min(height, SCORES // a_row))
    heads = max(1, SCORES // (rows * a_row))
    attended = torch.empty_like(query, memory_format=torch.contiguous_format)
    for head in range(0, count, heads):
        some = slice(head, head + heads)
        for top in range(0, height, rows):
            part = some, slice(top, top + rows)
            bias = _bias(up_down[part], left_right[part])
            shares = bias.baddbmm_(query[part].flatten(1, 2), key[some]).softmax(-1)
            attended[part] = (shares @ value[some]).unflatten(1, (-1, width))
    return attended


def _attend(query: Tensor, key: Tensor, value: Tensor, up_down: Tensor, left_right: Tensor) -> Tensor:
    """All at once by the fused kernel, but for an exported graph that would hold too much."""
    count, height, width, _ = query.shape
    a_row = count * width * height * width * query.element_size()
    step = max(1, min(height, EXPORTED_MASK_BYTES // a_row)) if query.device.type == "cpu" else height
    attended = torch.empty_like(query, memory_format=torch.contiguous_format)
    for top in range(0, height, step):
        part = slice(None), slice(top, top + step)
        attended[part] = F.scaled_dot_product_attention(
            query[part].flatten(1, 2), key, value, attn_mask=_bias(up_down[part], left_right[part])
        ).unflatten(1, (-1, width))
    return attended


def _bias(up_down: Tensor, left_right: Tensor) -> Tensor:
    """Relative positions as N queries keys, from how each query N h w takes the keys' rows and columns."""
    return (up_down[..., :, None] + left_right[..., None, :]).flatten(3).flatten(1, 2)


class DensePatches(nn.Module):
    """`segment_anything.modeling.image_encoder.PatchEmbed` on the same weights: B 3 H W -> B h w C.

    The answer lies in memory in that order of axes, or every residual has another one and every norm copies it.
    """

    def __init__(self, original: reference.PatchEmbed) -> None:
        super().__init__()
        self.proj = original.proj

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 1).contiguous()


def fuse_encoder(encoder: ImageEncoderViT) -> None:
    """Replace parts of this encoder, in the instance; weights and answers stay."""
    encoder.patch_embed = DensePatches(encoder.patch_embed)
    for block in encoder.blocks:
        if isinstance(block.attn, reference.Attention) and block.attn.use_rel_pos:
            block.attn = FusedAttention(block.attn)


def two_way(module: TwoWayTransformer, cells: Tensor, positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """`TwoWayTransformer` on the same weights, for many prompts on one image.

    Args:
        module: the decoder's transformer.
        cells: image features, 1 L C where all prompts share them, or N L C.
        positions: where the cells are, L C.
        tokens: what is asked, N T C.

    Returns:
        The answered tokens N T C and the cells as each prompt changed them, N L C.
    """
    answers = tokens
    for layer in module.layers:
        if layer.skip_first_layer_pe:
            answers = layer.norm1(layer.self_attn(answers, answers, answers))
        else:
            placed = answers + tokens
            answers = layer.norm1(answers + layer.self_attn(placed, placed, answers))
        placed_cells = cells + positions
        found = tokens_to_cells(layer.cross_attn_token_to_image, answers + tokens, placed_cells, cells)
        answers = layer.norm2(answers + found)
        answers = layer.norm3(answers + layer.mlp(answers))
        cells = layer.norm4(
            cells_to_tokens(layer.cross_attn_image_to_token, placed_cells, answers + tokens, answers, cells)
        )
    found = tokens_to_cells(module.final_attn_token_to_image, answers + tokens, cells + positions, cells)
    return module.norm_final_attn(answers + found), cells


def tokens_to_cells(attention: transformer.Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Tokens N T C look at cells 1|N L C: what each finds, N T C.

    The bias of the keys' projection adds the same to all cells and falls out of the softmax.
    """
    heads = attention.num_heads
    asked = attention.q_proj(query).unflatten(2, (heads, -1))  # N T h c
    asked = asked / sqrt(asked.shape[-1])
    for_cells = torch.einsum("nthc,hcd->nhtd", asked, _by_head(attention.k_proj.weight, heads)).flatten(1, 2)
    shares = _times(for_cells, key.transpose(1, 2)).softmax(-1)  # N hT L
    mixed = _times(shares, value).unflatten(1, (heads, -1))  # N h T C
    found = torch.einsum("nhtd,hcd->nthc", mixed, _by_head(attention.v_proj.weight, heads)).flatten(2)
    return attention.out_proj(found + attention.v_proj.bias)


def cells_to_tokens(
    attention: transformer.Attention, query: Tensor, key: Tensor, value: Tensor, onto: Tensor
) -> Tensor:
    """Cells 1|N L C look at tokens N T C: what each finds, added ``onto`` 1|N L C, as N L C."""
    heads = attention.num_heads
    offered = attention.k_proj(key).unflatten(2, (heads, -1))  # N T h c
    offered = offered / sqrt(offered.shape[-1])
    for_cells = torch.einsum("nthc,hcd->nhtd", offered, _by_head(attention.q_proj.weight, heads)).flatten(1, 2)
    bias = torch.einsum("nthc,hc->nht", offered, attention.q_proj.bias.unflatten(0, (heads, -1))).flatten(1)
    scores = _times(for_cells, query.transpose(1, 2)).add_(bias[..., None])  # N hT L
    shares = scores.unflatten(1, (heads, -1)).softmax(2).flatten(1, 2)  # over the tokens; cells last, as that is fast
    told = attention.v_proj(value).unflatten(2, (heads, -1))  # N T h c
    told = torch.einsum("nthc,dhc->nhtd", told, attention.out_proj.weight.unflatten(1, (heads, -1))).flatten(1, 2)
    told = told + attention.out_proj.bias / heads  # as the shares of each head sum to one
    return (shares.transpose(1, 2) @ told).add_(onto)


def _times(tokens: Tensor, cells: Tensor) -> Tensor:
    """N T . times 1|N . M; cells that all prompts share are not copied for each."""
    if cells.shape[0] == 1:
        return (tokens.flatten(0, 1) @ cells[0]).unflatten(0, tokens.shape[:2])
    return tokens @ cells


def _by_head(weight: Tensor, heads: int) -> Tensor:
    """A projection's weight (h c) C -> h c C."""
    return weight.unflatten(0, (heads, -1))

"""MobileSAM: segment-anything's prompt encoder and mask decoder over TinyViT-5M, a small hybrid image encoder.

TinyViT (Wu et al. 2022, arXiv:2207.10666) is one stage of inverted residual convolutions, then three of windowed
attention; MobileSAM (Zhang et al. 2023, arXiv:2306.14289) distils SAM's ViT-H encoder into it. Attributes carry the
names of the official checkpoint's keys. Stochastic depth and dropout are left out: they only matter in training.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.sam.networks.network import SegmentAnything

IMAGE_SIZE = 1024
STRIDE = 16
EMBEDDING = 256
WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
MERGE_STRIDES = (2, 2, 1)
EXPANSION = 4
IMAGENET_CLASSES = 1000


def build_mobile_sam() -> SegmentAnything:
    """Build MobileSAM with untrained weights; the official checkpoint loads into it strictly."""
    sam = SegmentAnything(
        image_encoder=MobileImageEncoder(),
        prompt_encoder=PromptEncoder(
            embed_dim=EMBEDDING,
            image_embedding_size=(IMAGE_SIZE // STRIDE, IMAGE_SIZE // STRIDE),
            input_image_size=(IMAGE_SIZE, IMAGE_SIZE),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=EMBEDDING,
            transformer=TwoWayTransformer(depth=2, embedding_dim=EMBEDDING, mlp_dim=2048, num_heads=8),
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
    )
    return sam.eval()


class MobileImageEncoder(nn.Module):
    """Normalised pixels B 3 S S -> image embedding B 256 S/16 S/16."""

    def __init__(self) -> None:
        super().__init__()
        self.img_size = IMAGE_SIZE
        self.patch_embed = PatchEmbedding(WIDTHS[0])
        self.layers = nn.Sequential(*(stage(index) for index in range(len(WIDTHS))))
        # TinyViT's classifier: in the checkpoint, but not used
        self.norm_head = nn.LayerNorm(WIDTHS[-1])
        self.head = nn.Linear(WIDTHS[-1], IMAGENET_CLASSES)
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], EMBEDDING, 1, bias=False),
            LayerNorm2d(EMBEDDING),
            nn.Conv2d(EMBEDDING, EMBEDDING, 3, padding=1, bias=False),
            LayerNorm2d(EMBEDDING),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        return self.neck(self.layers(self.patch_embed(pixels)))


def stage(index: int) -> nn.Sequential:
    """``blocks``, and in all stages but the last ``downsample`` to the width of the next stage."""
    width = WIDTHS[index]
    parts = OrderedDict[str, nn.Module](blocks=nn.Sequential(*(block(index) for _ in range(DEPTHS[index]))))
    if index + 1 < len(WIDTHS):
        parts["downsample"] = PatchMerging(width, WIDTHS[index + 1], MERGE_STRIDES[index])
    return nn.Sequential(parts)


def block(index: int) -> nn.Module:
    """A block of stage ``index``: convolutions in the first stage, windowed attention in the others."""
    width = WIDTHS[index]
    return MBConv(width) if index == 0 else TinyViTBlock(width, HEADS[index], WINDOWS[index])


class ConvNorm(nn.Sequential):
    """A padded convolution, then batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        super().__init__(OrderedDict(c=convolution, bn=nn.BatchNorm2d(outputs)))


class PatchEmbedding(nn.Module):
    """Two strided convolutions: B 3 H W -> B C H/4 W/4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.seq = nn.Sequential(ConvNorm(3, half, 3, stride=2), nn.GELU(), ConvNorm(half, width, 3, stride=2))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.seq(pixels)


class MBConv(nn.Module):
    """Inverted residual: expand, depthwise convolution, project, add."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = width * EXPANSION
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, features: Tensor) -> Tensor:
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(features))))
        return F.gelu(features + self.conv3(hidden))


class PatchMerging(nn.Module):
    """Downsample between two stages: B C H W -> B C' H/stride W/stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(features)))))


class TinyViTBlock(nn.Module):
    """Attention within windows, a depthwise convolution across their borders, and an MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = Attention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = nn.Sequential(
            OrderedDict(
                norm=nn.LayerNorm(width),
                fc1=nn.Linear(width, width * EXPANSION),
                act=nn.GELU(),
                fc2=nn.Linear(width * EXPANSION, width),
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        attended = self.attn(split_windows(features, self.window))
        features = self.local_conv(features + join_windows(attended, self.window, height, width))
        return features + self.mlp(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Self-attention within N windows of L = window x window cells, N L C, with a learned bias for each offset.

    The bias depends on the distance of two cells in rows and in columns, and not on the direction.
    """

    offsets: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.register_buffer("offsets", offset_index(window), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(windows)).unflatten(2, (self.heads, 3, -1))  # N L heads 3 C/heads
        q, k, v = qkv.permute(3, 0, 2, 1, 4)  # each N heads L C/heads
        bias = self.attention_biases[None, :, self.offsets]  # 1 heads L L
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(attended.transpose(1, 2).flatten(2))  # N heads L C/heads -> N L C


def offset_index(window: int) -> Tensor:
    """The index of each offset in the table of biases, ``rows * window + columns``: L L."""
    cells = torch.cartesian_prod(torch.arange(window), torch.arange(window))  # L 2
    rows, columns = (cells[:, None] - cells[None]).abs().unbind(-1)
    return rows * window + columns


def split_windows(features: Tensor, window: int) -> Tensor:
    """B C H W -> N L C, zero-padded at the right and bottom to whole windows; cells attend to the padding, too."""
    height, width = features.shape[-2:]
    padded = F.pad(features, (0, -width % window, 0, -height % window))
    tiles = padded.unflatten(3, (-1, window)).unflatten(2, (-1, window))  # B C rows window columns window
    return tiles.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2)


def join_windows(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """N L C -> B C H W, without the padding of ``split_windows``."""
    rows, columns = -(-height // window), -(-width // window)
    tiles = windows.unflatten(0, (-1, rows, columns)).unflatten(3, (window, window))  # B rows columns window window C
    padded = tiles.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
    return padded[:, :, :height, :width]

"""The embedded tiny SAM: segment-anything's prompt encoder and mask decoder over a compact convolutional encoder.

`SamPredictor` and `SamAutomaticMaskGenerator` run on it unchanged: finer features travel inside the one image
embedding, packed by space-to-depth behind the channels that the transformer reads.
"""

from __future__ import annotations

from typing import Any

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.sam.networks.lite import Lite0
from segzs.sam.networks.mask_decoder import answer, normed, quartered
from segzs.sam.networks.mask_statistics import STATISTICS, mask_statistics
from segzs.sam.networks.network import SegmentAnything
from segzs.sam.networks.point_head import PointHead

CHANNELS = 128
CHANNELS_8 = CHANNELS // 4
CHANNELS_4 = CHANNELS // 8
STRIDE = 16
DEPTH, HEADS = 2, 4
COARSE = 2
"""Every so many rows and columns of a mask are enough to judge it."""
PIXEL_MEAN, PIXEL_STD = 127 + 2**-10, 128.0
"""No pixel value is the mean, so that zeros are only in padding."""
MULTIPLE = 32
"""Sides of what the backbone takes are multiples of it."""
OUTSIDE = -10.0
"""Logit of masks where an image is padded."""


def build_tiny_sam(image_size: int = 768) -> SegmentAnything:
    """Build the tiny SAM with untrained weights for square inputs of ``image_size`` pixels."""
    grid = image_size // STRIDE
    sam = SegmentAnything(
        image_encoder=TinyImageEncoder(image_size),
        prompt_encoder=DrawnPromptEncoder(
            embed_dim=CHANNELS,
            image_embedding_size=(grid, grid),
            input_image_size=(image_size, image_size),
            mask_in_chans=16,
            activation=nn.ReLU,
        ),
        mask_decoder=SkipMaskDecoder(
            transformer_dim=CHANNELS,
            transformer=TwoWayTransformer(depth=2, embedding_dim=CHANNELS, mlp_dim=512, num_heads=4),
            activation=nn.ReLU,
            iou_head_hidden_dim=CHANNELS,
        ),
        pixel_mean=[PIXEL_MEAN] * 3,
        pixel_std=[PIXEL_STD] * 3,
    )
    sam.point_head = PointHead(CHANNELS, CHANNELS_8)
    return sam.eval()


class TinyImageEncoder(nn.Module):
    """B 3 S S normalised pixels -> B 512 S/16 S/16: the embedding, then the packed stride-8 and stride-4 features."""

    def __init__(self, img_size: int) -> None:
        super().__init__()
        self.img_size = img_size
        self.backbone = Lite0()
        width_4, width_8, width_16, width_32 = Lite0.CHANNELS
        self.lateral_32 = nn.Conv2d(width_32, CHANNELS, 1)
        self.lateral_16 = nn.Conv2d(width_16, CHANNELS, 1)
        self.lateral_8 = nn.Conv2d(width_8, CHANNELS_8 * 2, 1)
        self.lateral_4 = nn.Conv2d(width_4, CHANNELS_4 * 2, 1)
        self.down_16_to_8 = nn.Conv2d(CHANNELS, CHANNELS_8 * 2, 1)
        self.down_8_to_4 = nn.Conv2d(CHANNELS_8 * 2, CHANNELS_4 * 2, 1)
        self.norm_in, self.norm_out = LayerNorm2d(CHANNELS), LayerNorm2d(CHANNELS)
        self.context = Context()
        self.smooth_16 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.smooth_8 = _conv_norm_relu(CHANNELS_8 * 2)
        self.smooth_4 = _conv_norm_relu(CHANNELS_4 * 2)
        self.head_8 = nn.Conv2d(CHANNELS_8 * 2, CHANNELS_8, 1)
        self.head_4 = nn.Conv2d(CHANNELS_4 * 2, CHANNELS_4, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Skip the padding: zeros at the right and at the bottom are not encoded, and their features are 0."""
        if self.training:
            return self.features(pixels)
        height, width = (-(-side // MULTIPLE) * MULTIPLE for side in extent(pixels))
        features = self.features(pixels[..., :height, :width].contiguous(memory_format=torch.channels_last))
        sides = (side // STRIDE for side in (pixels.shape[-1] - width, pixels.shape[-2] - height))
        return F.pad(features, [0, next(sides), 0, next(sides)])

    def features(self, pixels: Tensor) -> Tensor:
        c4, c8, c16, c32 = self.backbone(pixels)
        x16 = _layer_norm(self.lateral_16(c16) + _double(self.lateral_32(c32)), self.norm_in)
        x16 = _layer_norm(self.smooth_16(F.relu(self.context(x16))), self.norm_out)
        x8 = self.smooth_8(self.lateral_8(c8) + _double(self.down_16_to_8(x16)))
        x4 = self.smooth_4(self.lateral_4(c4) + _double(self.down_8_to_4(x8)))
        packed_8 = F.pixel_unshuffle(self.head_8(x8), 2)
        packed_4 = F.pixel_unshuffle(self.head_4(x4), 4)
        return torch.cat([x16, packed_8, packed_4], dim=1)


def extent(features: Tensor) -> tuple[int, int]:
    """Height and width of B C H W without the zero rows and columns at the end; all of them if everything is 0."""
    nonzero = features.any(1).any(0)
    sides = [line.nonzero() for line in (nonzero.any(1), nonzero.any(0))]
    height, width = (int(line[-1]) + 1 if len(line) else size for line, size in zip(sides, nonzero.shape, strict=True))
    return height, width


class Context(nn.Module):
    """Attention between all cells, so that the visible parts of a half-hidden object get similar features."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS)
        self.blocks = nn.ModuleList(PooledBlock() for _ in range(DEPTH))

    def forward(self, cells: Tensor) -> Tensor:
        """B C H W -> B C H W, with even H and W."""
        tokens = (cells + self.position(cells)).permute(0, 2, 3, 1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.permute(0, 3, 1, 2)


class PooledBlock(Block):
    """A transformer block on cells B H W C that attend to the means of every two by two cells."""

    def __init__(self) -> None:
        super().__init__(CHANNELS, num_heads=HEADS, qkv_bias=True, init_values=1e-4)

    def forward(self, cells: Tensor) -> Tensor:
        cells = cells + self.ls1(look_around(self.attn, self.norm1(cells)))
        return cells + self.ls2(self.mlp(self.norm2(cells)))


def look_around(attention: Attention, cells: Tensor) -> Tensor:
    """Cells B H W C attend to the means of every two by two of them, a quarter as many."""
    height, width, channels = cells.shape[1:]
    pooled = F.avg_pool2d(cells.permute(0, 3, 1, 2), 2).flatten(2).transpose(1, 2)
    of_query, of_others = attention.qkv.weight.split([channels, 2 * channels])
    bias, other_bias = attention.qkv.bias.split([channels, 2 * channels])
    query = F.linear(cells.flatten(1, 2), of_query, bias).unflatten(2, (HEADS, -1)).transpose(1, 2)
    key, value = F.linear(pooled, of_others, other_bias).unflatten(2, (2, HEADS, -1)).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    return attention.proj(attended).unflatten(1, (height, width))


def unpack(embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """B 512 G G -> the embedding B 128 G G, stride-8 features B 32 2G 2G, stride-4 features B 16 4G 4G."""
    x16, packed_8, packed_4 = embedding.split([CHANNELS, CHANNELS_8 * 4, CHANNELS_4 * 16], dim=1)
    return x16, F.pixel_shuffle(packed_8, 2), F.pixel_shuffle(packed_4, 4)


class DrawnPromptEncoder(PromptEncoder):
    """segment-anything's prompt encoder that also draws points and boxes on the embedding's grid.

    The stock encoder hands positions to the decoder only through attention, which takes very long to learn;
    a drawing of the prompt, added to the dense embedding, shows at once where to look.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draw = nn.Sequential(nn.Conv2d(9, 32, 1), nn.ReLU(), nn.Conv2d(32, self.embed_dim, 1))

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        sparse, dense = super().forward(points, boxes, masks)
        return sparse, dense + self.draw(self._maps(points, boxes, dense))

    def _maps(self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, like: Tensor) -> Tensor:
        """Nine maps N 9 G G: nearness to the closest positive (3 widths) and negative (2) point, and the box (4)."""
        rows, columns = (torch.arange(n, device=like.device) + 0.5 for n in self.image_embedding_size)
        y, x = rows[:, None], columns[None, :]
        empty = torch.zeros(like.shape[0], *self.image_embedding_size, device=like.device)
        maps = []
        for label, widths in ((1, (0.7, 2.0, 5.0)), (0, (0.7, 2.0))):
            if points is None:
                maps += [empty] * len(widths)
                continue
            coordinates, labels = points[0].float() / STRIDE, points[1]
            px, py = coordinates[..., 0, None, None], coordinates[..., 1, None, None]
            squared = (x - px) ** 2 + (y - py) ** 2
            squared = squared.masked_fill((labels != label)[..., None, None], 1e4).amin(1)
            maps += [torch.exp(-squared / (2 * width**2)) for width in widths]
        if boxes is None:
            maps += [empty] * 4
        else:
            x1, y1, x2, y2 = (boxes.reshape(-1, 4).float() / STRIDE).T[..., None, None]
            width, height = (x2 - x1).clamp(min=0.1), (y2 - y1).clamp(min=0.1)
            across, down = (x - x1) / width * 2 - 1, (y - y1) / height * 2 - 1
            inside = torch.sigmoid(4 * torch.minimum((1 - across.abs()) * width, (1 - down.abs()) * height))
            maps += [inside, across.clamp(-3, 3), down.clamp(-3, 3), torch.ones_like(inside)]
        return torch.stack([m.expand_as(empty) for m in maps], dim=1).to(like.dtype)


class SkipMaskDecoder(MaskDecoder):
    """segment-anything's mask decoder that adds finer image features while upscaling.

    Its IoU head also sees statistics of the masks themselves, which is most of what ranks them well. Each mask is at
    last the mean of the prompt's four, the more alike the heavier: nearer to the object than what one token says.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.statistics_head = nn.Sequential(nn.Linear(STATISTICS + 1, 32), nn.ReLU(), nn.Linear(32, 1))
        self.refine_8, self.refine_4 = _refine(CHANNELS_8), _refine(CHANNELS_4)

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Masks N 4 4G 4G and predicted IoU N 4, for N prompts that belong to B images in equal, ordered shares.

        In training the masks of the tokens are not averaged, so that the tokens stay different.
        """
        grid = image_embeddings.shape[-2:]
        height, width = grid if self.training else extent(image_embeddings)
        image, positions, dense = (
            part[..., :height, :width] for part in (image_embeddings, image_pe, dense_prompt_embeddings)
        )
        masks, predicted_iou = self._predict(image, positions, dense, sparse_prompt_embeddings)
        sides = [0, 4 * (grid[1] - width), 0, 4 * (grid[0] - height)]
        return F.pad(masks, sides, value=OUTSIDE) if any(sides) else masks, predicted_iou

    def _predict(self, image: Tensor, positions: Tensor, dense: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
        x16, x8, x4 = unpack(image)
        answers, cells, weights = answer(self, _add_per_image(dense, x16), positions, sparse)
        to_8, norm, relu, to_4, _ = self.output_upscaling
        fine = _doubled(to_8, cells.unflatten(1, x16.shape[-2:]).permute(0, 3, 1, 2))
        fine = relu(_layer_norm(_add_per_image(fine, x8), norm))
        fine = self.refine_8(fine).add_(fine)
        fine = relu(_add_per_image(_doubled(to_4, fine), x4))
        fine = self.refine_4(fine).add_(fine)
        masks = (fine.permute(0, 2, 3, 1).flatten(1, 2) @ weights).transpose(1, 2)
        masks = masks.unflatten(2, fine.shape[-2:])
        alike = likeness(masks.detach())
        statistics = torch.cat([mask_statistics(masks.detach(), COARSE), alike.mean(-1, keepdim=True)], -1)
        statistics = statistics.to(masks.dtype)
        predicted_iou = self.iou_prediction_head(answers[:, 0]) + self.statistics_head(statistics).squeeze(-1)
        return (masks, predicted_iou) if self.training else likeliest_first(voted(masks, alike), predicted_iou)


def likeliest_first(masks: Tensor, predicted_iou: Tensor) -> tuple[Tensor, Tensor]:
    """N M H W and N M with the mask of the highest predicted IoU also first, for unambiguous prompts."""
    best = predicted_iou.argmax(1, keepdim=True)
    first = masks.take_along_dim(best[:, :, None, None], 1)
    score = predicted_iou.take_along_dim(best, 1)
    return torch.cat([first, masks[:, 1:]], 1), torch.cat([score, predicted_iou[:, 1:]], 1)


def likeness(logits: Tensor) -> Tensor:
    """N M H W logits -> the IoU of every two of a prompt's masks, N M M, float32, on every second row and column."""
    masks = (logits[..., ::COARSE, ::COARSE] > 0).flatten(2).float()
    common = masks @ masks.transpose(1, 2)
    areas = masks.sum(2)
    return common / (areas[:, :, None] + areas[:, None] - common).clamp(min=1)


def voted(logits: Tensor, alike: Tensor) -> Tensor:
    """N M H W logits -> of each mask, the mean of a prompt's masks, weighted by the fourth power of their likeness.

    So those that mean the same agree, and those that mean different things, a part and its whole, say, stay different.
    """
    weights = alike.pow(4) + 1e-3 * torch.eye(logits.shape[1], device=logits.device)
    weights = (weights / weights.sum(2, keepdim=True)).to(logits.dtype)
    return (weights @ logits.flatten(2)).view_as(logits)


def _doubled(convolution: nn.ConvTranspose2d, features: Tensor) -> Tensor:
    """N C H W -> N C' 2H 2W."""
    quarters = quartered(convolution, features.permute(0, 2, 3, 1)).unflatten(3, (2, 2))  # N H W 2 2 C'
    return quarters.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def _conv_norm_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def _refine(channels: int) -> nn.Sequential:
    """What a pixel's neighbours make of the prompt, so that they can agree where an object is patterned."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
    )


def _add_per_image(per_prompt: Tensor, per_image: Tensor) -> Tensor:
    """N C H W plus B C H W, where N / B consecutive prompts share an image."""
    images = per_image.shape[0]
    return (per_prompt.unflatten(0, (images, -1)) + per_image[:, None]).flatten(0, 1)


def _layer_norm(features: Tensor, norm: LayerNorm2d) -> Tensor:
    """``norm`` over the channels of N C H W in one kernel; several times faster than the module itself."""
    return normed(features.permute(0, 2, 3, 1), norm).permute(0, 3, 1, 2)


def _double(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode="bilinear")

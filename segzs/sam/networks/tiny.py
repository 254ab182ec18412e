"""The embedded tiny SAM: segment-anything's prompt encoder and mask decoder over a compact convolutional encoder.

`SamPredictor` and `SamAutomaticMaskGenerator` run on it unchanged: finer features travel inside the one image
embedding, packed by space-to-depth behind the channels that the transformer reads.
"""

from __future__ import annotations

import timm
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from timm.models.convnext import ConvNeXtBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.sam.networks.mask_decoder import answer, normed, quartered

CHANNELS = 128
CHANNELS_8 = CHANNELS // 4
CHANNELS_4 = CHANNELS // 8
STRIDE = 16
DEPTH = 2
MASK_STATISTICS = 6


def build_tiny_sam(image_size: int = 768) -> Sam:
    """Build the tiny SAM with untrained weights for square inputs of ``image_size`` pixels."""
    grid = image_size // STRIDE
    sam = Sam(
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
    )
    return sam.eval()


class TinyImageEncoder(nn.Module):
    """B 3 S S normalised pixels -> B 512 S/16 S/16: the embedding, then the packed stride-8 and stride-4 features."""

    def __init__(self, img_size: int) -> None:
        super().__init__()
        self.img_size = img_size
        self.backbone = timm.create_model("regnetx_004", features_only=True, out_indices=(1, 2, 3, 4), pretrained=False)
        width_4, width_8, width_16, width_32 = self.backbone.feature_info.channels()
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
        c4, c8, c16, c32 = self.backbone(pixels)
        x16 = _layer_norm(self.lateral_16(c16) + _double(self.lateral_32(c32)), self.norm_in)
        x16 = _layer_norm(self.smooth_16(F.relu(self.context(x16))), self.norm_out)
        x8 = self.smooth_8(self.lateral_8(c8) + _double(self.down_16_to_8(x16)))
        x4 = self.smooth_4(self.lateral_4(c4) + _double(self.down_8_to_4(x8)))
        packed_8 = F.pixel_unshuffle(self.head_8(x8), 2)
        packed_4 = F.pixel_unshuffle(self.head_4(x4), 4)
        return torch.cat([x16, packed_8, packed_4], dim=1)


class Context(nn.Module):
    """Every cell looks at the whole picture, so that the parts of one object agree across what hides it."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS)
        self.blocks = nn.Sequential(
            *(Block(CHANNELS, num_heads=4, qkv_bias=True, init_values=1e-4) for _ in range(DEPTH))
        )

    def forward(self, cells: Tensor) -> Tensor:
        """B C G G -> B C G G."""
        tokens = (cells + self.position(cells)).flatten(2).transpose(1, 2)
        return self.blocks(tokens).transpose(1, 2).unflatten(2, cells.shape[-2:])


def unpack(embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """B 512 G G -> the embedding B 128 G G, stride-8 features B 32 2G 2G, stride-4 features B 16 4G 4G."""
    x16, packed_8, packed_4 = embedding.split([CHANNELS, CHANNELS_8 * 4, CHANNELS_4 * 16], dim=1)
    return x16, F.pixel_shuffle(packed_8, 2), F.pixel_shuffle(packed_4, 4)


class DrawnPromptEncoder(PromptEncoder):
    """segment-anything's prompt encoder that also draws points and boxes on the embedding's grid.

    The stock encoder hands positions to the decoder only through attention, which takes very long to learn;
    a picture of the prompt added to the dense embedding says at once where to look.
    """

    def __init__(self, *args, **kwargs) -> None:
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
    """segment-anything's mask decoder that lets neighbours agree and adds finer image features while upscaling.

    Its IoU head also sees statistics of the masks themselves, which is most of what ranks them well. Each mask is at
    last the mean of the prompt's four, the more alike the heavier: nearer to the object than what one token says.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.statistics_head = nn.Sequential(nn.Linear(MASK_STATISTICS, 32), nn.ReLU(), nn.Linear(32, 1))
        self.refine_16 = _neighbours()
        self.refine_8, self.refine_4 = _refine(CHANNELS_8), _refine(CHANNELS_4)

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Masks N 4 4G 4G and predicted IoU N 4, for N prompts that belong to B images in equal, ordered shares.

        In training masks are what each token alone says, so that the tokens stay different.
        """
        x16, x8, x4 = unpack(image_embeddings)
        features = _add_per_image(dense_prompt_embeddings, x16)
        answers, cells, weights = answer(self, features, image_pe, sparse_prompt_embeddings)
        to_8, norm, relu, to_4, _ = self.output_upscaling
        coarse = self.refine_16(cells.unflatten(1, x16.shape[-2:]).permute(0, 3, 1, 2))
        fine = _doubled(to_8, coarse)
        fine = relu(_layer_norm(_add_per_image(fine, x8), norm))
        fine = fine + self.refine_8(fine)
        fine = relu(_add_per_image(_doubled(to_4, fine), x4))
        fine = fine + self.refine_4(fine)
        masks = (fine.permute(0, 2, 3, 1).flatten(1, 2) @ weights).transpose(1, 2)
        masks = masks.unflatten(2, fine.shape[-2:])
        alike = likeness(masks)
        statistics = mask_statistics(masks.detach().float(), alike).to(masks.dtype)
        predicted_iou = self.iou_prediction_head(answers[:, 0]) + self.statistics_head(statistics).squeeze(-1)
        return masks if self.training else voted(masks, alike), predicted_iou


def mask_statistics(logits: Tensor, alike: Tensor) -> Tensor:
    """N M H W logits and their likeness -> N M 6: area, doubt in and around the mask, soft stability, boundary length,
    largest value, and how much like it the others are.
    """
    probability = torch.sigmoid(logits)
    area = probability.sum((-2, -1)) + 1
    doubt = (probability * (1 - probability)).sum((-2, -1))
    looser = torch.sigmoid(logits + 1).sum((-2, -1)) + 1
    tighter = torch.sigmoid(logits - 1).sum((-2, -1)) + 1
    across = (probability[..., 1:] - probability[..., :-1]).abs().sum((-2, -1))
    down = (probability[..., 1:, :] - probability[..., :-1, :]).abs().sum((-2, -1))
    return torch.stack(
        [
            area.log() / 10,
            doubt / area,
            tighter / looser,
            (across + down) / area.sqrt() / 10,
            probability.amax((-2, -1)),
            alike.mean(-1),
        ],
        dim=-1,
    )


def likeness(logits: Tensor) -> Tensor:
    """N M H W logits -> the IoU of every two of a prompt's masks, N M M, float32."""
    masks = (logits > 0).flatten(2).float()
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


def _neighbours() -> nn.Sequential:
    """What the cells around make of the prompt: an object and what lies on it are told apart by their extents."""
    return nn.Sequential(*(ConvNeXtBlock(CHANNELS, mlp_ratio=2, ls_init_value=1e-4) for _ in range(DEPTH)))


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

"""The tiny CLIP: one image tower of two trunks, for photographs and for drawings, and open_clip's text tower."""

from __future__ import annotations

import math
from typing import Any

import timm
import torch
from open_clip import CustomTextCLIP
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 1000
MIN_WEIGHT = 0.02
"""A trunk whose features have a smaller weight does not run."""


class PhotographHead(nn.Module):
    """The mean of EfficientNet-Lite's last map (N, channels) -> image features (N, width).

    The features are the directions of the classifier's rows, beside what the probable classes mean, and a learned
    correction of both.
    """

    def __init__(self, channels: int, direct: int, meaning: int, width: int) -> None:
        super().__init__()
        self.direct = nn.Linear(channels, direct)
        self.classes = nn.Linear(channels, CLASSES)
        self.meaning = nn.Linear(CLASSES, meaning, bias=False)
        self.correction = nn.Linear(channels, direct + meaning)
        self.width = width

    def forward(self, means: Tensor) -> Tensor:
        parts = self.direct(means), self.meaning(self.classes(means).softmax(-1))
        joined = torch.cat([F.normalize(part, dim=-1) for part in parts], -1) * math.sqrt(0.5)
        features = F.normalize(joined + self.correction(means), dim=-1)
        return F.pad(features, (0, self.width - features.shape[-1]))


class TwoTrunks(nn.Module):
    """Encode images (N, 3, side, side) as image features (N, width), weighted by a gate between two trunks.

    One trunk is for photographs, the other for drawings, which are resized to ``drawing_side`` pixels a side.
    """

    def __init__(
        self,
        width: int,
        photograph_trunk: str,
        drawing_trunk: str,
        image_size: int,
        drawing_side: int,
        direct: int,
        meaning: int,
    ) -> None:
        super().__init__()
        self.image_size, self.drawing_side = image_size, drawing_side
        self.photographs = timm.create_model(photograph_trunk, pretrained=False, num_classes=0, global_pool="")
        self.drawings = timm.create_model(drawing_trunk, pretrained=False, num_classes=0)
        self.photograph_head = PhotographHead(self.photographs.num_features, direct, meaning, width)
        self.drawing_head = nn.Linear(self.drawings.num_features, width, bias=False)
        self.gate = nn.Linear(self.photographs.num_features, 1)
        self.cell = (self.photographs.feature_info[-1]["reduction"],) * 2

    def forward(self, images: Tensor) -> Tensor:
        return self.combine(self.photograph_map(images).mean((2, 3)), images)

    def photograph_map(self, images: Tensor) -> Tensor:
        """The photograph trunk's last map (N, channels, rows, columns) of images of any size."""
        return self.photographs(images.contiguous(memory_format=torch.channels_last))

    def drawing_probability(self, means: Tensor) -> Tensor:
        """The probability that an image is a drawing, (N, 1), from means of the photograph trunk's last map."""
        return self.gate(means).sigmoid()

    def combine(self, means: Tensor, images: Tensor) -> Tensor:
        """Image features from means (N, channels) of the photograph trunk's last map and from the images."""
        weight = self.drawing_probability(means)
        features = (1 - weight) * self.photograph_head(means)
        if (chosen := weight[:, 0] > MIN_WEIGHT).any():
            features[chosen] += weight[chosen] * self.encode_drawings(images[chosen])
        return features

    def encode_drawings(self, images: Tensor) -> Tensor:
        """Image features of drawings."""
        size = (self.drawing_side, self.drawing_side)
        smaller = F.interpolate(images.float(), size, mode="bilinear", antialias=True).to(images.dtype)
        features = self.drawings(smaller.contiguous(memory_format=torch.channels_last))
        return F.normalize(self.drawing_head(features), dim=-1)


class TinyClip(CustomTextCLIP):
    """open_clip's `CustomTextCLIP` with `TwoTrunks` as image tower; ``vision_cfg`` holds that one's arguments."""

    def __init__(self, embed_dim: int, vision_cfg: dict[str, Any], text_cfg: dict[str, Any]) -> None:
        nn.Module.__init__(self)
        self.output_dict = False
        self.visual = TwoTrunks(embed_dim, **vision_cfg)
        self.text = open_clip_text_tower(embed_dim, text_cfg)
        self.context_length, self.vocab_size = self.text.context_length, self.text.vocab_size
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.logit_bias = None


def open_clip_text_tower(width: int, config: dict[str, Any]) -> nn.Module:
    """The text tower of a configuration as open_clip builds it."""
    from open_clip.model import _build_text_tower

    return _build_text_tower(width, config)

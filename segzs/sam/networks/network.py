"""What segzs asks of a SAM: the embedding of an image, and the masks of prompts on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Self

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, Sam
from torch import Tensor, nn

from segzs.checkpoints.read import load_strictly
from segzs.errors import WeightsError
from segzs.sam.networks.attention import fuse_encoder
from segzs.sam.networks.mask_decoder import FusedMaskDecoder

HQ_TOKEN = "mask_decoder.hf_token.weight"
"""A weight that only HQ-SAM has (Ke et al., "Segment Anything in High Quality", 2023)."""


class PromptTensors(NamedTuple):
    """N prompts of one kind, in pixels of a SAM's input; None is what the kind lacks.

    Points are float N P 2 with labels N P (1 positive, 0 negative), boxes float N 4 (x1 y1 x2 y2), masks the low-res
    logits N 1 h w of earlier masks.
    """

    points: tuple[Tensor, Tensor] | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None


class LowResMasks(NamedTuple):
    """Masks on the model's own grid: float32 logits N M h w and predicted IoU N M, for N prompts with M masks each."""

    logits: Tensor
    predicted_iou: Tensor


class Network(nn.Module, ABC):
    """A SAM of any family."""

    keeps_aspect = True
    """Whether an image keeps its aspect ratio in the square input, which is padded; otherwise it is stretched to it."""
    memory_format = torch.contiguous_format
    """The layout in which `decode` is fastest on features."""
    mask_threshold = 0.0

    @property
    @abstractmethod
    def side(self) -> int:
        """Pixels of a side of the square input; masks have a quarter as many cells a side."""

    @abstractmethod
    def encode(self, pixels: Tensor) -> Tensor:
        """The image embedding, float32 1 C G G, of an image at the size of the input, uint8 RGB 1 3 h w."""

    @abstractmethod
    def decode(self, features: Tensor, prompts: PromptTensors) -> LowResMasks:
        """Four masks of each prompt on an image embedding.

        The first is the answer to an unambiguous prompt, the others are the answers to an ambiguous one.
        """

    @abstractmethod
    def cast(self, dtype: torch.dtype) -> None:
        """Compute in a dtype from now on."""

    def load(self, weights: dict[str, Tensor], source: str) -> None:
        """Take over a checkpoint's weights; see `load_strictly`."""
        load_strictly(self, weights, source)


class SegmentAnything(Sam, Network):
    """segment-anything's image encoder, prompt encoder and mask decoder.

    The prompt encoder computes in float32, because positions need it.
    """

    image_encoder: Any
    prompt_encoder: Any
    mask_decoder: Any
    preprocess: Any
    _positions: Tensor | None = None

    @classmethod
    def of(cls, sam: Sam) -> Self:
        """A network with the parts of a module of segment-anything."""
        mean, std = (buffer.flatten().tolist() for buffer in (sam.pixel_mean, sam.pixel_std))
        return cls(sam.image_encoder, sam.prompt_encoder, sam.mask_decoder, mean, std)

    def fuse(self) -> Self:
        """Replace parts by faster ones with the same weights and results; call it after weights were loaded."""
        if isinstance(self.image_encoder, ImageEncoderViT):
            fuse_encoder(self.image_encoder)
        if type(self.mask_decoder) is MaskDecoder:
            self.mask_decoder = FusedMaskDecoder(self.mask_decoder)
        return self

    def load(self, weights: dict[str, Tensor], source: str) -> None:
        if HQ_TOKEN in weights:
            raise WeightsError(f"{source}: the file is an HQ-SAM, which segzs does not build; give a SAM")
        super().load(weights, source)
        self.fuse()

    @property
    def side(self) -> int:
        return self.image_encoder.img_size

    def encode(self, pixels: Tensor) -> Tensor:
        normalised = self.preprocess(pixels.float())
        return self.image_encoder(normalised.to(self._dtype)).float().contiguous()

    def decode(self, features: Tensor, prompts: PromptTensors) -> LowResMasks:
        sparse, dense = self.prompt_encoder(*prompts)
        if dense.stride(0) == 0:  # the same for all prompts, so it is not copied for each of them
            dense = dense[:1]
        logits, predicted_iou = self.mask_decoder.predict_masks(
            image_embeddings=features,
            image_pe=self._positions_like(features),
            sparse_prompt_embeddings=sparse.to(features.dtype),
            dense_prompt_embeddings=dense.to(features.dtype),
        )
        return LowResMasks(logits.float(), predicted_iou.float())

    def cast(self, dtype: torch.dtype) -> None:
        self.image_encoder.to(dtype)
        self.mask_decoder.to(dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.image_encoder.parameters()).dtype

    def _positions_like(self, features: Tensor) -> Tensor:
        """The positional encoding of the embedding's grid, 1 C G G; computed once."""
        positions = self._positions
        if positions is None or (positions.dtype, positions.device) != (features.dtype, features.device):
            positions = self._positions = self.prompt_encoder.get_dense_pe().to(features)
        return positions

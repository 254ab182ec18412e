"""Build a SAM and load its checkpoint, without executing pickles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, Sam
from torch import Tensor

from segzs.checkpoints.locate import SamFile
from segzs.checkpoints.read import WithoutRandomWeights, load_strictly, read_weights
from segzs.checkpoints.registry import SamCheckpoint
from segzs.sam.networks.attention import fuse_encoder
from segzs.sam.networks.mask_decoder import FusedMaskDecoder
from segzs.sam.networks.mobile import build_mobile_sam
from segzs.sam.networks.tiny import build_tiny_sam

ARCHITECTURES: dict[str, Callable[[], Sam]] = {
    "tiny": build_tiny_sam,
    "vit_t": build_mobile_sam,
    "vit_b": build_sam_vit_b,
    "vit_l": build_sam_vit_l,
    "vit_h": build_sam_vit_h,
}


@dataclass(frozen=True, eq=False)
class SamModel:
    """A loaded SAM: its row of the registry, the SHA-256 of its weights, its module in evaluation mode, its dtype."""

    spec: SamCheckpoint
    digest: str
    module: Sam = field(repr=False)
    dtype: torch.dtype = torch.float32

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return self.module.pixel_mean.device

    @cached_property
    def positions(self) -> Tensor:
        """The positional encoding of the image embedding's grid: 1 C G G."""
        return self.module.prompt_encoder.get_dense_pe().to(self.dtype)

    @property
    def mask_size(self) -> tuple[int, int]:
        """Height and width of its low-res logits."""
        height, width = self.module.prompt_encoder.mask_input_size
        return height, width


def load_sam(file: SamFile, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> SamModel:
    """Build the architecture of a checkpoint and load its weights strictly; it computes in ``dtype``.

    Raises:
        WeightsError: the file is not a checkpoint, or one of another architecture.
    """
    with WithoutRandomWeights():
        module = ARCHITECTURES[file.spec.architecture]()
    load_strictly(module, read_weights(file.path), f"{file.path} as {file.spec.architecture}")
    module = fused(module).to(device).eval().requires_grad_(False)
    return with_dtype(SamModel(file.spec, file.digest, module), dtype)


def with_dtype(sam: SamModel, dtype: torch.dtype) -> SamModel:
    """The same model, whose module computes in ``dtype`` from now on."""
    sam.module.image_encoder.to(dtype)
    sam.module.mask_decoder.to(dtype)
    return replace(sam, dtype=dtype)


def fused(module: Sam) -> Sam:
    """Replace parts of segment-anything in this module by faster ones with the same weights and results."""
    if isinstance(module.image_encoder, ImageEncoderViT):
        fuse_encoder(module.image_encoder)
    if type(module.mask_decoder) is MaskDecoder:
        module.mask_decoder = FusedMaskDecoder(module.mask_decoder)
    return module

"""Build a SAM and load its checkpoint, without executing pickles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l

from segzs.checkpoints.locate import SamFile
from segzs.checkpoints.read import WithoutRandomWeights, read_weights
from segzs.checkpoints.registry import SamCheckpoint
from segzs.sam.networks.mobile import build_mobile_sam
from segzs.sam.networks.network import Network, SegmentAnything
from segzs.sam.networks.sam2 import build_sam2
from segzs.sam.networks.tiny import build_tiny_sam

ARCHITECTURES: dict[str, Callable[[], Network]] = {
    "tiny": build_tiny_sam,
    "vit_t": build_mobile_sam,
    "vit_b": lambda: SegmentAnything.of(build_sam_vit_b()),
    "vit_l": lambda: SegmentAnything.of(build_sam_vit_l()),
    "vit_h": lambda: SegmentAnything.of(build_sam_vit_h()),
    "edgetam": partial(build_sam2, "repvit_m1"),
    "hiera_tiny": partial(build_sam2, "sam2_hiera_tiny"),
    "hiera_small": partial(build_sam2, "sam2_hiera_small"),
    "hiera_base_plus": partial(build_sam2, "sam2_hiera_base_plus"),
    "hiera_large": partial(build_sam2, "sam2_hiera_large"),
}


@dataclass(frozen=True, eq=False)
class SamModel:
    """A loaded SAM: its row of the registry, the SHA-256 of its weights, its module in evaluation mode, its dtype."""

    spec: SamCheckpoint
    digest: str
    module: Network = field(repr=False)
    dtype: torch.dtype = torch.float32

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return next(self.module.parameters()).device

    @property
    def mask_size(self) -> tuple[int, int]:
        """Height and width of its low-res logits."""
        return self.module.side // 4, self.module.side // 4


def load_sam(file: SamFile, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> SamModel:
    """Build the architecture of a checkpoint and load its weights strictly; it computes in ``dtype``.

    Raises:
        WeightsError: the file is not a checkpoint, or one of another architecture.
    """
    with WithoutRandomWeights():
        module = ARCHITECTURES[file.spec.architecture]()
    module.load(read_weights(file.path), f"{file.path} as {file.spec.architecture}")
    module.to(device).eval().requires_grad_(False)
    return with_dtype(SamModel(file.spec, file.digest, module), dtype)


def with_dtype(sam: SamModel, dtype: torch.dtype) -> SamModel:
    """The same model, whose module computes in ``dtype`` from now on."""
    sam.module.cast(dtype)
    return replace(sam, dtype=dtype)

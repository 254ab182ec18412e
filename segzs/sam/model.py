"""Build a SAM and load its checkpoint, without executing pickles."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, Sam
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from segzs.checkpoints.locate import SamFile
from segzs.checkpoints.registry import SamCheckpoint
from segzs.errors import WeightsError
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
    """A loaded SAM: its row, the SHA-256 of its weights, the module in evaluation mode, and what computes it, how."""

    spec: SamCheckpoint
    digest: str
    module: Sam = field(repr=False)
    dtype: torch.dtype = torch.float32

    @property
    def device(self) -> torch.device:
        return self.module.pixel_mean.device

    @cached_property
    def positions(self) -> Tensor:
        """Where the cells of an image embedding are, as the decoder takes it: 1 C G G."""
        return self.module.prompt_encoder.get_dense_pe().to(self.dtype)

    @property
    def mask_size(self) -> tuple[int, int]:
        """Height and width of its low-res logits."""
        height, width = self.module.prompt_encoder.mask_input_size
        return height, width


def load_sam(file: SamFile, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> SamModel:
    """Build the architecture of a checkpoint, load it strictly, and let it compute in ``dtype``.

    Raises:
        WeightsError: the file is no checkpoint, or one of another architecture.
    """
    with WithoutRandomWeights():
        module = ARCHITECTURES[file.spec.architecture]()
    load_strictly(module, read_weights(file.path), f"{file.path} as {file.spec.architecture}")
    module = fused(module).to(device).eval().requires_grad_(False)
    return with_dtype(SamModel(file.spec, file.digest, module), dtype)


def with_dtype(sam: SamModel, dtype: torch.dtype) -> SamModel:
    """The same model, its module changed to compute in ``dtype``."""
    sam.module.image_encoder.to(dtype)
    sam.module.mask_decoder.to(dtype)
    return replace(sam, dtype=dtype)


def fused(module: Sam) -> Sam:
    """Let segment-anything's parts compute in fewer steps: this instance only, with its weights and its answers."""
    if isinstance(module.image_encoder, ImageEncoderViT):
        fuse_encoder(module.image_encoder)
    if type(module.mask_decoder) is MaskDecoder:
        module.mask_decoder = FusedMaskDecoder(module.mask_decoder)
    return module


class WithoutRandomWeights(TorchFunctionMode):
    """Build modules with weights as they are allocated: random ones cost ViT-H seconds and 2.5 GB, for nothing."""

    RANDOM = (init.uniform_, init.normal_, init.kaiming_uniform_, Tensor.uniform_, Tensor.normal_)

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function in self.RANDOM:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def load_strictly(module: torch.nn.Module, weights: dict[str, Tensor], what: str) -> None:
    """Give a module weights whose keys and shapes must be its own; they become its weights, in its own types.

    Raises:
        WeightsError: they are not; names the first differences.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in weights]
    strange = [key for key in weights if key not in own]
    reshaped = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if missing or strange or reshaped:
        faults = [
            f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for kind, keys in (("missing", missing), ("unknown", strange), ("of another shape", reshaped))
            if keys
        ]
        raise WeightsError(f"{what}: the weights do not fit: {'; '.join(faults)}")
    module.load_state_dict({key: weights[key].to(own[key].dtype) for key in own}, assign=True)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or a PyTorch file, without executing pickles.

    Raises:
        WeightsError: the file is neither, is damaged, or holds other things than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return {key: value.clone() for key, value in load_file(path).items()}  # else they change with the file
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable checkpoint: {error}") from error
    except Exception as error:  # torch.load raises errors of many kinds on foreign files
        raise WeightsError(f"{path} is not a checkpoint of tensors: {_reason(error)}") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items()):
        raise WeightsError(f"{path} holds {type(loaded).__name__}, but not a state dict: tensors by their names")
    return loaded


def _reason(error: Exception) -> str:
    """Why PyTorch refused a file, without its advice to execute the file's code."""
    if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it holds {found[1]}, and segzs executes nothing from a checkpoint; save the state_dict() alone"
    if "TorchScript" in str(error):
        return "it is a TorchScript program; save its state_dict() instead"
    return "it is empty, damaged, or of another kind"

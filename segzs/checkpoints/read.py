"""Read checkpoints into state dicts and modules, without executing pickles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from segzs.errors import WeightsError

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model")
"""Under one of these names, training programs store a state dict beside their own state."""
PREFIXES = ("module.", "model.", "sam.")
"""What training programs put before every name."""


class WithoutRandomWeights(TorchFunctionMode):
    """A context in which modules are built without random initial weights, which a checkpoint replaces anyway.

    Random weights cost ViT-H seconds and 2.5 GB.

    >>> with WithoutRandomWeights():
    ...     layer = nn.Linear(3, 2)
    """

    RANDOM = (init.uniform_, init.normal_, init.kaiming_uniform_, Tensor.uniform_)

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in self.RANDOM:
            return args[0] if args else kwargs["tensor"]
        if function is Tensor.normal_:  # `init.trunc_normal_` draws until all values lie between its bounds
            return args[0].zero_()
        return function(*args, **kwargs)


def load_strictly(module: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load a state dict whose keys and shapes must equal the module's; values are cast to the module's dtypes.

    ``source`` is how the `WeightsError` for other keys or shapes, and for NaN and infinite values, calls the weights.

    >>> load_strictly(nn.Linear(3, 2), {"weight": torch.zeros(2, 3)}, "my.pt as linear")
    Traceback (most recent call last):
    segzs.errors.WeightsError: my.pt as linear: the weights do not fit: 1 missing (bias)
    """
    own = module.state_dict()
    differences = {
        "missing": [key for key in own if key not in weights],
        "unknown": [key for key in weights if key not in own],
        "of another shape": [key for key in own if key in weights and own[key].shape != weights[key].shape],
    }
    if any(differences.values()):
        faults = [
            f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for kind, keys in differences.items()
            if keys
        ]
        raise WeightsError(f"{source}: the weights do not fit: {'; '.join(faults)}")
    if broken := [key for key in own if not bool(weights[key].isfinite().all())]:
        raise WeightsError(
            f"{source}: {len(broken)} weights are NaN or infinite ({', '.join(broken[:3])}), as after a training that "
            "diverged; take an earlier checkpoint"
        )
    module.load_state_dict({key: weights[key].to(own[key].dtype) for key in own}, assign=True)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or a PyTorch file, without executing pickles.

    What training programs wrap it in and put before its names is removed. Raises `WeightsError` if the file is damaged,
    is of another kind, or contains anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":  # cloned, because loaded tensors share memory with the file
            return _without_prefixes({key: value.clone() for key, value in load_file(path).items()})
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable checkpoint: {error}") from error
    except Exception as error:  # torch.load raises errors of many kinds on foreign files
        raise WeightsError(f"{path} is not a checkpoint of tensors: {_reason(error)}") from error
    while isinstance(loaded, dict) and (
        inner := [loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), dict)]
    ):
        loaded = inner[0]
    if not isinstance(loaded, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items()):
        raise WeightsError(f"{path} is not a state dict of tensors; it contains a {type(loaded).__name__}")
    return _without_prefixes(loaded)


def _without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((each for each in PREFIXES if weights and all(key.startswith(each) for key in weights)), ""):
        weights = {key.removeprefix(prefix): tensor for key, tensor in weights.items()}
    return weights


def _reason(error: Exception) -> str:
    """Why PyTorch refused a file, without its advice to execute the file's code."""
    if match := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it contains {match[1]}, and segzs executes no code from checkpoints; save only the state_dict()"
    if "TorchScript" in str(error):
        return "it is a TorchScript program; save its state_dict() instead"
    return "it is empty, damaged, or of another kind"

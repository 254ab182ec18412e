"""What this machine has: versions, devices, and whether torch and torchvision fit each other."""

from __future__ import annotations

import importlib
import platform
from importlib.metadata import PackageNotFoundError, version

from segzs.errors import ModelError

PACKAGES = ("torch", "torchvision", "segment-anything", "open-clip-torch", "timm", "numpy", "opencv-python")


def versions() -> dict[str, str]:
    """Installed version of every package that segzs needs, "missing" where it is not installed."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "missing"
    return installed


def require_fitting_torchvision() -> None:
    """Raise `ModelError` unless torchvision's operators load with this torch.

    A CPU-only torch beside a torchvision built for CUDA imports half and fails on the first operator; both SAM and
    CLIP need it.
    """
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        have = versions()
        raise ModelError(
            f"torch {have['torch']} and torchvision {have['torchvision']} do not fit each other "
            f"({(str(error) or type(error).__name__).splitlines()[0]}); install a pair from one source: "
            "pip install --force-reinstall torch torchvision"
        ) from error


def has_fast_bfloat16(kind: str) -> bool:
    """Whether a kind of device ("cpu", "cuda", "mps") has instructions that multiply bfloat16 matrices."""
    import torch

    if kind == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return kind == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def devices() -> list[str]:
    """What PyTorch computes on here, fastest first."""
    import torch

    found = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, f"cpu ({torch.get_num_threads()} threads)"]

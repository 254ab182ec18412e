"""What this machine has: versions, devices, and whether torch and torchvision fit each other."""

from __future__ import annotations

import importlib
import platform
from importlib.metadata import PackageNotFoundError, version

from segzs.errors import ModelError

PACKAGES = ("torch", "torchvision", "segment-anything", "open-clip-torch", "timm", "numpy", "opencv-python")


def versions() -> dict[str, str]:
    """Installed version of every package that matters, "missing" where there is none."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


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


def multiplies_bfloat16(kind: str) -> bool:
    """Whether a kind of device ("cpu", "cuda", "mps") has units for bfloat16 matrix products; on CPUs that is AMX."""
    import torch

    if kind == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return kind == "cpu" and bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def devices() -> list[str]:
    """What PyTorch computes on here, fastest first."""
    import torch

    found = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, f"cpu ({torch.get_num_threads()} threads)"]

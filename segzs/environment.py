"""This machine: versions, devices, and whether torch and torchvision are compatible."""

from __future__ import annotations

import importlib
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from segzs.errors import ModelError

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "torchvision", "segment-anything", "open-clip-torch", "timm", "numpy", "opencv-python")


def versions() -> dict[str, str]:
    """The versions of Python and of each package that segzs needs; "missing" for one that is not installed."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "missing"
    return installed


def require_fitting_torchvision() -> None:
    """Raise `ModelError` unless torchvision can be imported with this torch.

    SAM and CLIP need torchvision. One that was built for CUDA fails on import with a CPU-only torch.
    """
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        installed = versions()
        raise ModelError(
            f"torch {installed['torch']} and torchvision {installed['torchvision']} are not compatible "
            f"({(str(error) or type(error).__name__).splitlines()[0]}); install a pair from one source: "
            "pip install --force-reinstall torch torchvision"
        ) from error


def has_fast_bfloat16(device: str | torch.device) -> bool:
    """Whether a device, such as "cpu" or "cuda:1", has instructions to multiply bfloat16 matrices."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def devices() -> list[str]:
    """The devices that PyTorch can use, fastest first."""
    import torch

    names = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, f"cpu ({torch.get_num_threads()} threads)"]


@cache
def use_one_thread_in_forks() -> None:
    """Let forked children of this process compute with one thread; further calls do nothing.

    The threads of OpenMP and OpenCV do not survive a fork: a child that waits for them hangs. torch's DataLoader does
    the same for its workers. Children that are spawned start anew and keep all threads.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # run sequentially; setNumThreads(1) would join the threads of the parent and hang

"""What this machine has: versions, devices, and whether torch and torchvision fit each other."""

from __future__ import annotations

import importlib
import platform
import timeit
from contextlib import suppress
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version

from segzs.errors import ModelError

BFLOAT16_TRIAL = 512
BFLOAT16_GAIN = 1.5
OPTIONAL = ("openvino",)
PACKAGES = ("torch", "torchvision", "segment-anything", "open-clip-torch", "timm", "numpy", "opencv-python")


def versions() -> dict[str, str]:
    """Installed version of every package that matters, "missing" where there is none, and of optional ones that are."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    for package in OPTIONAL:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
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


@lru_cache
def multiplies_bfloat16(kind: str) -> bool:
    """Whether a kind of device ("cpu", "cuda", "mps") has units that multiply bfloat16 matrices faster than float32.

    A CPU is asked by a product: some that list AVX512-BF16 are slower in it than in float32, others are more than twice
    as fast.
    """
    import torch

    if kind == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if kind != "cpu":
        return False
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(BFLOAT16_TRIAL, BFLOAT16_TRIAL, dtype=dtype)
        torch.mm(matrix, matrix)
        seconds[dtype] = min(timeit.repeat(partial(torch.mm, matrix, matrix), number=1, repeat=5))
    return seconds[torch.bfloat16] < seconds[torch.float32] / BFLOAT16_GAIN


def devices() -> list[str]:
    """What PyTorch computes on here, fastest first."""
    import torch

    found = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, f"cpu ({torch.get_num_threads()} threads)"]

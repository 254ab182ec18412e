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
BFLOAT16_TRIALS = 25
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

    A CPU is asked by products: some that list AVX512-BF16 are slower in it than in float32, others are more than twice
    as fast. The best of many, in turns, is the same answer on a busy machine.
    """
    import torch

    if kind == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if kind != "cpu":
        return False
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    matrices = {dtype: torch.ones(BFLOAT16_TRIAL, BFLOAT16_TRIAL, dtype=dtype) for dtype in seconds}
    for _ in range(BFLOAT16_TRIALS):
        for dtype, matrix in matrices.items():
            seconds[dtype].append(timeit.timeit(partial(torch.mm, matrix, matrix), number=1))
    return min(seconds[torch.bfloat16]) < min(seconds[torch.float32]) / BFLOAT16_GAIN


def devices() -> list[str]:
    """What PyTorch computes on here, fastest first."""
    import torch

    found = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, f"cpu ({torch.get_num_threads()} threads)"]

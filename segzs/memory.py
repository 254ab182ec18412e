"""Batches for a model that are halved while memory does not suffice."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from segzs.errors import OutOfMemoryError

Result = TypeVar("Result")
WORDS = re.compile(r"out of memory|allocate memory|ALLOC_FAILED", re.IGNORECASE)
"""What PyTorch says on CPUs, GPUs and Apple's GPUs."""


def run_in_parts(run: Callable[[Any], Result], items: Any) -> list[Result]:
    """The results of a function on as few parts of a list or tensor as memory suffices for, in order.

    Raises:
        OutOfMemoryError: memory does not suffice for a single item.

    >>> run_in_parts(sum, [1, 2, 3])
    [6]
    """
    try:
        return [run(items)]
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not WORDS.search(str(error)):
            raise
        if len(items) < 2:
            reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
            raise OutOfMemoryError(
                f"there is not enough memory for the model ({reason}); end other programs, or use a smaller model or "
                "image"
            ) from error
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # here, because the traceback of the error would keep tensors alive
    middle = len(items) // 2
    return [*run_in_parts(run, items[:middle]), *run_in_parts(run, items[middle:])]

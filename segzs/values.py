"""Values: arrays that nobody can write to, and dataclasses that pickle and copy through their constructor."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np


class Value:
    """Base of frozen dataclasses that hold arrays.

    Pickle and deepcopy call the constructor, so that the arrays of a copy are read-only as well, and nothing that was
    computed from them, such as a digest, outlives them.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self) if field.init)  # type: ignore[arg-type]


def read_only(array: np.ndarray) -> np.ndarray:
    """The same array if its memory can never change, otherwise a copy in memory that cannot.

    Views are followed to the memory that they show: a read-only view of an array that can be written to is copied.

    >>> read_only(np.zeros(3)).flags.writeable
    False
    """
    memory: Any = array
    while isinstance(memory, np.ndarray) and not memory.flags.writeable:
        memory = memory.base
    return array if isinstance(memory, bytes) else np.ndarray(array.shape, array.dtype, array.tobytes())

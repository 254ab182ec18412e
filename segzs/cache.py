"""The embedding cache: tensors by key, in memory and in a folder that processes share."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from segzs.checks import check_number
from segzs.errors import CacheWarning, UsageError, warn
from segzs.files import atomic_write

MEBI = 2**20
SUFFIX = ".safetensors"
STRIPES = 64
"""Number of locks. Two keys that share a lock wait for each other."""
LOCK_TIMEOUT = 600
"""Seconds to wait for another process, which may hang."""
DTYPES = (torch.float16, torch.float32)


@dataclass(eq=False)
class EmbeddingCache:
    """Tensors by key, such as image embeddings: in memory, and in a folder that other processes may share.

    A key must state everything that the tensor depends on: the digest of the pixels, the digest of the weights, the
    dtype and the version of the preprocessing; never a file name. Files carry a checksum, and a damaged or foreign file
    is ignored. If several threads or processes want one key at once, one computes it and the others wait.

    Args:
        folder: the folder on disk; None keeps tensors in memory only.
        memory: bytes kept in memory.
        disk: bytes kept in the folder; the least recently used files are deleted first.

    Raises:
        UsageError: ``memory`` or ``disk`` is not a number of bytes.
    """

    folder: Path | None = None
    memory: int = 256 * MEBI
    disk: int = 4096 * MEBI
    _recent: OrderedDict[str, Tensor] = field(init=False, default_factory=OrderedDict, repr=False)
    _guard: threading.Lock = field(init=False, default_factory=threading.Lock, repr=False)
    _locks: list[threading.Lock] = field(
        init=False, default_factory=lambda: [threading.Lock() for _ in range(STRIPES)], repr=False
    )
    _warned: set[str] = field(init=False, default_factory=set, repr=False)

    def __post_init__(self) -> None:
        for name in ("memory", "disk"):
            check_number(name, getattr(self, name), "a number of bytes", 0, error=UsageError)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process, the same folder and an empty memory."""
        return EmbeddingCache, (self.folder, self.memory, self.disk)

    @torch.inference_mode()
    def get(self, key: str, compute: Callable[[], Tensor], *, on_disk: bool = True) -> Tensor:
        """The tensor of a key, from memory, from disk, or computed now; on the CPU.

        >>> cache = EmbeddingCache()
        >>> cache.get("answer", lambda: torch.ones(2)).tolist(), cache.get("answer", lambda: torch.zeros(2)).tolist()
        ([1.0, 1.0], [1.0, 1.0])
        """
        digest = hashlib.sha256(key.encode()).hexdigest()
        folder = self.folder if on_disk else None
        tensor = self._lookup(digest, folder)
        if tensor is None:
            with self._lock(int(digest[:8], 16) % STRIPES, folder):
                tensor = self._lookup(digest, folder)  # another thread or process may have computed it meanwhile
                if tensor is None:
                    tensor = compute().cpu().contiguous()
                    if folder is not None:
                        self._write(digest, tensor, folder)
                        self._evict()
        self._keep(digest, tensor)
        return tensor

    def size(self) -> tuple[int, int]:
        """Number of entries and bytes in the folder."""
        files = self._files()
        return sum(path.suffix == SUFFIX for _, _, path in files), sum(size for _, size, _ in files)

    def clear(self) -> None:
        """Delete everything, in memory and in the folder."""
        with self._guard:
            self._recent.clear()
        for _, _, path in self._files():
            path.unlink(missing_ok=True)

    @contextmanager
    def _lock(self, stripe: int, folder: Path | None) -> Iterator[None]:
        """Keep other threads, and other processes that share the folder, from computing the same key."""
        with self._locks[stripe], ExitStack() as stack:
            if folder is not None:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(FileLock(folder / f"{stripe:02}.lock", timeout=LOCK_TIMEOUT))
                except (OSError, NotImplementedError) as error:
                    self._warn(f"cannot wait for other processes in {folder}: {error}")
            yield

    def _lookup(self, key: str, folder: Path | None) -> Tensor | None:
        with self._guard:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
        return None if folder is None else self._read(folder / f"{key}{SUFFIX}", key)

    def _keep(self, key: str, tensor: Tensor) -> None:
        with self._guard:
            self._recent[key] = tensor
            self._recent.move_to_end(key)
            while sum(kept.nbytes for kept in self._recent.values()) > self.memory:
                self._recent.popitem(last=False)

    def _read(self, path: Path, key: str) -> Tensor | None:
        try:
            with safe_open(path, framework="pt") as file:
                about, tensor = file.metadata() or {}, file.get_tensor("tensor").clone()  # the file may change
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            self._warn(f"{path} is damaged or not a file of segzs ({error}); its tensor is computed again")
            return None
        if tensor.dtype not in DTYPES or about != {"key": key, "sha256": _sha256(tensor)}:
            self._warn(f"{path} is damaged or not a file of segzs; its tensor is computed again")
            return None
        with suppress(OSError):
            os.utime(path)
        return tensor

    def _write(self, key: str, tensor: Tensor, folder: Path) -> None:
        try:
            with atomic_write(folder / f"{key}{SUFFIX}", "wb") as file:
                file.write(save({"tensor": tensor}, {"key": key, "sha256": _sha256(tensor)}))
        except (SafetensorError, OSError) as error:
            self._warn(f"cannot write to the folder {folder}: {error}")

    def _evict(self) -> None:
        files = sorted(self._files())
        surplus = sum(size for _, size, _ in files) - self.disk
        for _, size, path in files:
            if surplus <= 0:
                return
            with suppress(OSError):
                path.unlink(missing_ok=True)  # another process may have evicted it first
                surplus -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        """Time of last use, bytes and path of each file, half-written files of killed processes included."""
        files = []
        for path in self.folder.glob(f"*{SUFFIX}*") if self.folder else ():
            with suppress(FileNotFoundError):  # another process evicts as well
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        return files

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warn(message, CacheWarning)


def _sha256(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()

"""Encoded images, and other features, kept in memory and in a folder, so that nothing is encoded twice."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segzs.errors import SegzsWarning, warn
from segzs.image import Image
from segzs.sam.encode import PREPROCESSING, EncodedImage, encode, input_size
from segzs.sam.model import SamModel

MEBI = 2**20
ENDING = ".safetensors"
STRIPES = 64
"""How many images can be worked on at once; two share a lock by chance only, and then one waits."""
LONGEST_WAIT = 600
"""Seconds after which another process's work is not waited for any longer: it may hang."""
KEPT = (torch.float16, torch.float32)


class CacheWarning(SegzsWarning):
    """The cache cannot keep or find something; it is encoded instead."""


@dataclass(frozen=True)
class CacheSize:
    """How much a folder of encoded images and labels holds."""

    entries: int
    bytes: int


@dataclass(eq=False)
class EmbeddingCache:
    """What `encode` answers, remembered: in memory, and in a folder that other processes may share.

    The key is made of the pixels, the weights, the precision they are computed with, and the version of the
    preprocessing; never of a file's name. Features of images are stored as float16, and returned so from the first
    time on. Files carry a checksum; a damaged or foreign file is ignored. If several threads or processes want one
    image at once, one encodes it and the others wait.

    Args:
        folder: where features are kept between runs; None keeps nothing.
        memory: bytes of features kept in memory.
        disk: bytes kept in the folder; those used longest ago go first.
    """

    folder: Path | None = None
    memory: int = 256 * MEBI
    disk: int = 4096 * MEBI
    _recent: OrderedDict[str, Tensor] = field(init=False, default_factory=OrderedDict, repr=False)
    _guard: threading.Lock = field(init=False, default_factory=threading.Lock, repr=False)
    _locks: list[threading.Lock] = field(
        init=False, default_factory=lambda: [threading.Lock() for _ in range(STRIPES)], repr=False
    )
    _said: set[str] = field(init=False, default_factory=set, repr=False)

    def __reduce__(self) -> tuple:
        """In another process, the same folder and an empty memory."""
        return EmbeddingCache, (self.folder, self.memory, self.disk)

    @torch.inference_mode()  # its tensors refuse to be written to outside of it
    def encode(self, sam: SamModel, image: Image) -> EncodedImage:
        """The encoded image, remembered or made now."""
        features = self.remember(
            f"{image.digest} {sam.digest} {sam.dtype} {PREPROCESSING}", lambda: _halved(encode(sam, image).features)
        )
        return EncodedImage(
            image, features.to(sam.device, torch.float32), input_size(sam, image), sam.spec.name, sam.digest
        )

    @torch.inference_mode()
    def remember(self, origin: str, make: Callable[[], Tensor], *, on_disk: bool = True) -> Tensor:
        """What ``make`` answers, remembered or made now, on the CPU.

        ``origin`` says all that the answer depends on.
        """
        key = hashlib.sha256(origin.encode()).hexdigest()
        folder = self.folder if on_disk else None
        features = self._known(key, folder)
        if features is None:
            with self._alone(int(key[:8], 16) % STRIPES, folder):
                features = self._known(key, folder)  # another may have made it meanwhile
                if features is None:
                    features = make().cpu().contiguous()
                    if folder is not None:
                        self._write(key, features, folder)
                        self._evict()
        self._remember(key, features)
        return features

    def size(self) -> CacheSize:
        """What lies in the folder."""
        files = self._files()
        return CacheSize(sum(path.suffix == ENDING for _, _, path in files), sum(size for _, size, _ in files))

    def clear(self) -> None:
        """Forget everything, in memory and in the folder."""
        with self._guard:
            self._recent.clear()
        for _, _, path in self._files():
            path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self, stripe: int, folder: Path | None) -> Iterator[None]:
        """Keep other threads from encoding the same image meanwhile, and other processes that share the folder."""
        with self._locks[stripe], ExitStack() as held:
            if folder is not None:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    held.enter_context(FileLock(folder / f"{stripe:02}.lock", timeout=LONGEST_WAIT))
                except (OSError, NotImplementedError) as error:
                    self._warn(f"other processes cannot be waited for in {folder}: {error}")
            yield

    def _known(self, key: str, folder: Path | None) -> Tensor | None:
        with self._guard:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
        return None if folder is None else self._read(folder / f"{key}{ENDING}", key)

    def _remember(self, key: str, features: Tensor) -> None:
        with self._guard:
            self._recent[key] = features
            self._recent.move_to_end(key)
            while sum(kept.nbytes for kept in self._recent.values()) > self.memory:
                self._recent.popitem(last=False)

    def _read(self, path: Path, key: str) -> Tensor | None:
        try:
            with safe_open(path, framework="pt") as file:
                about, features = file.metadata() or {}, file.get_tensor("features").clone()  # else it changes with it
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            self._warn(f"{path} is damaged or none of segzs's files ({error}); it is encoded again")
            return None
        if features.dtype not in KEPT or about != {"key": key, "sha256": _sha256(features)}:
            self._warn(f"{path} is damaged or none of segzs's files; it is encoded again")
            return None
        with suppress(OSError):
            os.utime(path)
        return features

    def _write(self, key: str, features: Tensor, folder: Path) -> None:
        """Write a temporary file and rename it: a reader sees all of it or nothing."""
        path = folder / f"{key}{ENDING}"
        temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            save_file({"features": features}, temporary, {"key": key, "sha256": _sha256(features)})
            os.replace(temporary, path)
        except (SafetensorError, OSError) as error:
            with suppress(OSError):
                temporary.unlink()
            self._warn(f"the folder {folder} cannot be written to: {error}")

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
        """When each file was last used, its bytes, and where it is; what a killed process left half written as well."""
        found = []
        for path in self.folder.glob(f"*{ENDING}*") if self.folder else ():
            with suppress(FileNotFoundError):  # another process evicts as well
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return found

    def _warn(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            warn(message, CacheWarning)


def _halved(features: Tensor) -> Tensor:
    """In float16, so that an image is the same fresh and remembered; as they are where float16 cannot hold them."""
    halves = features.half()
    return halves if bool(torch.isfinite(halves).all()) else features


def _sha256(features: Tensor) -> str:
    return hashlib.sha256(features.numpy().tobytes()).hexdigest()

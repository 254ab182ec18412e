"""The images that a session may read: those that were put, and the files below its folders."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from segzs.dataset.listing import list_images
from segzs.errors import ImageError, RequestError
from segzs.image import Image, read_image
from segzs.sam.encode import EncodedImage

MAX_PUT = 4096
"""Files that were put whose digests are remembered."""


@dataclass
class Entry:
    """An image under its name, and its encoding once it is wanted."""

    image: Image
    name: str
    encoding: Future[EncodedImage] | None = field(default=None, repr=False)

    @property
    def is_encoded(self) -> bool:
        """Whether the encoding is there."""
        return self.encoding is not None and _has_result(self.encoding)

    @property
    def held(self) -> int:
        """Bytes of the pixels and of the features."""
        features = self.encoding.result().features.nbytes if self.encoding and _has_result(self.encoding) else 0
        return self.image.pixels.nbytes + features


class ImageStore:
    """Images by digest. At most ``memory`` bytes of them stay; the least recently used go first.

    Files are found by the names that `listing` gives, and nothing else can be read. A link that leads out of its folder
    is not listed. An image that was put and is no longer kept must be put again; a file is read again.

    Raises:
        ImageError: a path is not a folder and not a file, or a folder holds no image.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], *, memory: int, max_pixels: int) -> None:
        self.memory = memory
        self.max_pixels = max_pixels
        self._roots = [Path(path).resolve() for path in paths]
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._digests: dict[str, tuple[tuple[int, int], str]] = {}  # of files, as long as they stay the same
        self._put: OrderedDict[bytes, str] = OrderedDict()  # digests of pixels by those of files that were put
        self._guard = threading.Lock()
        self._files: dict[str, Path] = {}
        for root in self._roots:
            if not root.exists():
                raise ImageError(f"{root}: no such file or folder")
            if root.is_dir():
                list_images(root)

    def listing(self) -> list[dict[str, str | None]]:
        """The names of files, then those of other images, each with its digest where that is known."""
        self._files = dict(self._find())
        with self._guard:
            put = [(entry.name, digest) for digest, entry in self._entries.items() if entry.name not in self._files]
        files = [(name, self._digest(name, path)) for name, path in self._files.items()]
        return [{"name": name, "digest": digest} for name, digest in [*files, *put]]

    def open(self, name: str) -> Entry:
        """The image of a name that `listing` gives.

        Raises:
            RequestError: there is no such name.
            ImageError: the file is not an image.
        """
        if name not in self._files:
            self._files = dict(self._find())
        if (path := self._files.get(name)) is not None and self._is_inside(path):
            return self._read(name, path)
        with self._guard:
            for entry in self._entries.values():
                if entry.name == name:
                    return entry
        raise RequestError(f"there is no image {name[:200]!r}; GET /api/images lists those that there are", 404)

    def put(self, data: bytes, name: str) -> Entry:
        """Keep the image of a file's bytes.

        Raises:
            ImageError: the bytes are not an image.
            RequestError: the image has too many pixels.
        """
        key = hashlib.sha256(data).digest()
        with self._guard:
            entry = self._entries.get(self._put.get(key, ""))
        if entry is not None:  # tools send an image again with each click
            return self._keep(entry)
        entry = self._keep(Entry(self._decode(data), name))
        with self._guard:
            self._put[key] = entry.image.digest
            while len(self._put) > MAX_PUT:
                self._put.popitem(last=False)
        return entry

    def get(self, digest: str) -> Entry:
        """The image of a digest.

        Raises:
            RequestError: it was never here, or is not kept any more.
        """
        with self._guard:
            if digest in self._entries:
                self._entries.move_to_end(digest)
                return self._entries[digest]
        for name, (_, of_file) in list(self._digests.items()):
            if of_file == digest and (entry := self.open(name)).image.digest == digest:
                return entry
        raise RequestError(f"there is no image with the digest {digest[:64]!r}; put it, or open it by its name", 404)

    def encoding(self, digest: str, start: Callable[[Image], Future[EncodedImage]]) -> Future[EncodedImage]:
        """The one encoding of an image, started if it was not, or if it failed.

        Raises:
            RequestError: there is no such image, or ``start`` refuses.
        """
        entry = self.get(digest)
        with self._guard:
            current = entry.encoding
            if current is not None and (not current.done() or _has_result(current)):
                return current
            entry.encoding = current = start(entry.image)
        current.add_done_callback(lambda _: self._evict())  # outside of the lock, as it may be called at once
        return current

    @property
    def held(self) -> int:
        """Bytes of the images and features that are kept."""
        with self._guard:
            return sum(entry.held for entry in self._entries.values())

    def _read(self, name: str, path: Path) -> Entry:
        if (digest := self._digest(name, path)) is not None:
            with self._guard:
                if digest in self._entries:
                    self._entries.move_to_end(digest)
                    return self._entries[digest]
        state = _state(path)
        try:
            data = path.read_bytes()  # so that no message shows where the folder lies
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error.strerror or type(error).__name__}") from error
        entry = self._keep(Entry(self._decode(data), name))
        if state is not None:
            self._digests[name] = (state, entry.image.digest)
        return entry

    def _decode(self, data: bytes) -> Image:
        try:
            return read_image(data, max_pixels=self.max_pixels)
        except ImageError as error:
            if "more than" in str(error):
                raise RequestError(str(error), 413) from error
            raise

    def _keep(self, entry: Entry) -> Entry:
        digest = entry.image.digest
        with self._guard:
            entry = self._entries.setdefault(digest, entry)
            self._entries.move_to_end(digest)
        self._evict()
        return entry

    def _evict(self) -> None:
        with self._guard:
            total = sum(entry.held for entry in self._entries.values())
            while total > self.memory and len(self._entries) > 1:
                total -= self._entries.popitem(last=False)[1].held

    def _find(self) -> list[tuple[str, Path]]:
        files = []
        for root in self._roots:
            prefix = f"{root.name}/" if len(self._roots) > 1 and root.is_dir() else ""
            if root.is_dir():
                try:
                    names = list_images(root).names
                except ImageError:  # the folder was emptied
                    names = ()
                paths = [(prefix + name, root / name) for name in names]
                files += [(name, path) for name, path in paths if self._is_inside(path)]
            else:
                files.append((root.name, root))
        return files

    def _is_inside(self, path: Path) -> bool:
        resolved = path.resolve()
        return any(resolved == root or resolved.is_relative_to(root) for root in self._roots)

    def _digest(self, name: str, path: Path) -> str | None:
        state, digest = self._digests.get(name, (None, None))
        return digest if state is not None and state == _state(path) else None


def _has_result(future: Future[EncodedImage]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size

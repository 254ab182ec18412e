"""The images of a session: uploaded ones, and files in its folders."""

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
from segzs.errors import ImageError, RequestError, UsageError
from segzs.image import Image, read_image
from segzs.sam.encode import EncodedImage

MAX_UPLOADS = 4096
"""Uploaded files that are recognised when they are uploaded again."""


@dataclass
class Entry:
    """An image, its name, and its encoding, which is None until it is requested."""

    image: Image
    name: str
    encoding: Future[EncodedImage] | None = field(default=None, repr=False)

    @property
    def is_encoded(self) -> bool:
        """Whether the encoding is finished."""
        return self.encoding is not None and _has_result(self.encoding)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels and, once they are computed, of the features."""
        features = self.encoding.result().features.nbytes if self.encoding and _has_result(self.encoding) else 0
        return self.image.pixels.nbytes + features


class ImageStore:
    """Images by digest. When they need more than ``memory`` bytes, the least recently used are dropped.

    The last image always stays. A file that was dropped is read again; an uploaded image must be uploaded again. Only
    the files that `listing` names can be read. It leaves out links that lead out of the folders.

    Raises:
        ImageError: a path does not exist, or a folder holds no image.
        UsageError: two paths have the same name.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], *, memory: int, max_pixels: int) -> None:
        self.memory = memory
        self.max_pixels = max_pixels
        self._roots = list(dict.fromkeys(Path(path).resolve() for path in paths))
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._digests: dict[str, tuple[tuple[int, int], str]] = {}  # by file name: its version, and its digest
        self._uploads: OrderedDict[bytes, str] = OrderedDict()  # SHA-256 of an uploaded file to digest of its pixels
        self._guard = threading.Lock()
        self._files: dict[str, Path] = {}
        roots: dict[str, Path] = {}
        for root in self._roots:
            if (other := roots.setdefault(root.name, root)) != root:
                raise UsageError(f"{other} and {root} have the same name; rename one, or give a folder that holds both")
            if not root.exists():
                raise ImageError(f"{root}: no such file or folder")
            if root.is_dir():
                list_images(root)

    def listing(self) -> list[dict[str, str | None]]:
        """``{"name", "digest"}`` of each file and uploaded image; the digest is None for a file not read yet."""
        self._files = self._find()
        with self._guard:
            uploads = [(entry.name, digest) for digest, entry in self._entries.items() if entry.name not in self._files]
        files = [(name, self._digest(name, path)) for name, path in self._files.items()]
        return [{"name": name, "digest": digest} for name, digest in [*files, *uploads]]

    def open(self, name: str) -> Entry:
        """The image of a name that `listing` gives.

        Raises:
            RequestError: there is no such name.
            ImageError: the file is not an image.
        """
        if name not in self._files:
            self._files = self._find()
        if (path := self._files.get(name)) is not None and self._is_inside(path):
            return self._read(name, path)
        with self._guard:
            for entry in self._entries.values():
                if entry.name == name:
                    return entry
        raise RequestError(f"there is no image {name[:200]!r}; GET /api/images lists the names", 404)

    def put(self, data: bytes, name: str) -> Entry:
        """Decode an uploaded file and keep the image.

        Raises:
            ImageError: the bytes are not an image, or it has too many pixels.
        """
        key = hashlib.sha256(data).digest()
        with self._guard:
            entry = self._entries.get(self._uploads.get(key, ""))
        if entry is not None:  # CVAT and other tools send the image with each click
            return self._keep(entry)
        entry = self._keep(Entry(read_image(data, max_pixels=self.max_pixels), name))
        with self._guard:
            self._uploads[key] = entry.image.digest
            while len(self._uploads) > MAX_UPLOADS:
                self._uploads.popitem(last=False)
        return entry

    def get(self, digest: str) -> Entry:
        """The image of a digest.

        Raises:
            RequestError: there is no such image, or it was dropped.
        """
        if (kept := self._kept(digest)) is not None:
            return kept
        for name, (_, file_digest) in list(self._digests.items()):
            if file_digest == digest and (entry := self.open(name)).image.digest == digest:
                return entry
        raise RequestError(
            f"no image has the digest {digest[:64]!r}; upload it with PUT /api/images, or open a file", 404
        )

    def encoding(self, digest: str, start: Callable[[Image], Future[EncodedImage]]) -> Future[EncodedImage]:
        """The encoding of an image. ``start`` is called for the first request, and again after a failure.

        Raises:
            RequestError: there is no such image, or ``start`` refuses.
        """
        entry = self.get(digest)
        with self._guard:
            current = entry.encoding
            if current is not None and (not current.done() or _has_result(current)):
                return current
            entry.encoding = current = start(entry.image)
        current.add_done_callback(lambda _: self._evict())  # without the lock: it may be called at once
        return current

    @property
    def nbytes(self) -> int:
        """Bytes of all images and features that are kept."""
        with self._guard:
            return sum(entry.nbytes for entry in self._entries.values())

    def _kept(self, digest: str | None) -> Entry | None:
        with self._guard:
            if digest is None or digest not in self._entries:
                return None
            self._entries.move_to_end(digest)
            return self._entries[digest]

    def _read(self, name: str, path: Path) -> Entry:
        if (kept := self._kept(self._digest(name, path))) is not None:
            return kept
        version = _file_version(path)
        try:
            data = path.read_bytes()  # `read_image` would name the whole path in its errors
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error.strerror or type(error).__name__}") from error
        entry = self._keep(Entry(read_image(data, max_pixels=self.max_pixels), name))
        if version is not None:
            self._digests[name] = (version, entry.image.digest)
        return entry

    def _keep(self, entry: Entry) -> Entry:
        digest = entry.image.digest
        with self._guard:
            entry = self._entries.setdefault(digest, entry)
            self._entries.move_to_end(digest)
        self._evict()
        return entry

    def _evict(self) -> None:
        with self._guard:
            total = sum(entry.nbytes for entry in self._entries.values())
            while total > self.memory and len(self._entries) > 1:
                total -= self._entries.popitem(last=False)[1].nbytes

    def _find(self) -> dict[str, Path]:
        """The files by name; with several paths, the name begins with that of its folder."""
        files: dict[str, Path] = {}
        for root in self._roots:
            prefix = f"{root.name}/" if len(self._roots) > 1 and root.is_dir() else ""
            if root.is_dir():
                try:
                    names = list_images(root).names
                except ImageError:  # the folder was emptied
                    names = ()
                files |= {prefix + name: root / name for name in names if self._is_inside(root / name)}
            else:
                files[root.name] = root
        return files

    def _is_inside(self, path: Path) -> bool:
        resolved = path.resolve()
        return any(resolved.is_relative_to(root) for root in self._roots)

    def _digest(self, name: str, path: Path) -> str | None:
        """The digest of a file, if it has been read and has not changed since."""
        version, digest = self._digests.get(name, (None, None))
        return digest if version is not None and version == _file_version(path) else None


def _has_result(future: Future[EncodedImage]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _file_version(path: Path) -> tuple[int, int] | None:
    """What changes when a file is edited: its modification time and size; None without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size

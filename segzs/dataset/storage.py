"""Folders on a disk or in an object store, by one address: ``photos``, ``s3://bucket/photos``, ``gs://...``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from segzs.checks import counted
from segzs.dataset.listing import SUFFIXES, list_images, matches
from segzs.dataset.pipeline import LARGEST_FILE
from segzs.dataset.run import output_errors
from segzs.errors import ImageError, SegzsError

INSTALL = "run: pip install 'segzs[ray]'"


@dataclass(frozen=True)
class StorageFolder:
    """A folder of a file system; make one with `StorageFolder.at`.

    Attributes:
        address: the path or URI.
        files: the file system, a ``pyarrow.fs.FileSystem``.
        root: the path of the folder in it.
        is_local: whether it is on a local disk.
    """

    address: str
    files: Any
    root: str
    is_local: bool

    @classmethod
    def at(cls, address: str | os.PathLike[str]) -> StorageFolder:
        """The folder at a path or URI. PyArrow opens it, or fsspec where PyArrow does not know the scheme.

        Raises:
            SegzsError: no installed package opens such addresses.

        >>> StorageFolder.at("/data/photos").root
        '/data/photos'
        """
        try:
            from pyarrow import fs
        except ImportError as error:
            raise SegzsError(f"storage folders need pyarrow; {INSTALL}") from error
        text = os.fspath(address)
        if "://" not in text:
            text = os.path.abspath(text)
            return cls(text, fs.LocalFileSystem(), text, True)
        # one request per file instead of three, since each file is written at once
        option = f"{'&' if '?' in text else '?'}allow_delayed_open=true" if text.startswith("s3://") else ""
        try:
            files, root = fs.FileSystem.from_uri(text + option)
        except (ValueError, OSError, NotImplementedError):
            files, root = _open_with_fsspec(text)
        return cls(text, files, root.rstrip("/"), isinstance(files, fs.LocalFileSystem))

    @property
    def name(self) -> str:
        """The address without its options, which may hold secrets."""
        return self.root if self.is_local else f"{self.address.partition('://')[0]}://{self.root.lstrip('/')}"

    def read(self, name: str) -> bytes:
        """The bytes of a file; ``name`` is relative, with slashes.

        Raises:
            OSError: the file cannot be read.
            ImageError: the file is larger than `LARGEST_FILE`.
        """
        with self.files.open_input_file(os.fsencode(f"{self.root}/{name}")) as file:
            if (size := file.size()) > LARGEST_FILE:
                raise ImageError(f"the file has {size:,} bytes, more than {LARGEST_FILE:,}")
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically; folders are made.

        Raises:
            OutputError: the file cannot be written.
        """
        path = PurePosixPath(self.root, name)
        with output_errors(path):
            if not self.is_local:  # an object appears when its stream is closed
                self._write(str(path), data)
                return
            self.files.create_dir(str(path.parent), recursive=True)
            part = str(path.with_name(f".{path.name}.{secrets.token_hex(4)}.part"))
            self._write(part, data)
            self.files.move(part, str(path))

    def stems(self, folder: str, suffix: str) -> list[str]:
        """The names of a folder's files with this suffix, without it, sorted; empty if the folder does not exist.

        Raises:
            OutputError: the folder cannot be read.
        """
        with output_errors(f"{self.root}/{folder}"):
            names = (PurePosixPath(info.path).name for info in self.infos(f"{self.root}/{folder}", recursive=False))
            return sorted(n.removesuffix(suffix) for n in names if n.endswith(suffix) and not n.startswith("."))

    def infos(self, folder: str, recursive: bool) -> Iterator[Any]:
        """The ``pyarrow.fs.FileInfo`` of each file in a folder; none if the folder does not exist."""
        from pyarrow import fs

        infos = self.files.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=recursive))
        return (info for info in infos if info.type == fs.FileType.File)

    def _write(self, path: str, data: bytes) -> None:
        with self.files.open_output_stream(path) as stream:
            stream.write(data)


@dataclass(frozen=True)
class StoredImages:
    """The images of a storage folder, sorted by name.

    Attributes:
        folder: where they are.
        files: relative name, bytes, and time of the last change in ns.
        glob: the patterns that the names match.
    """

    folder: StorageFolder
    files: tuple[tuple[str, int, int], ...]
    glob: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.files]

    def __len__(self) -> int:
        return len(self.files)


def list_stored_images(address: str | os.PathLike[str], *, glob: str | Sequence[str] = ()) -> StoredImages:
    """List the images of a storage folder and of all folders below it.

    On a local disk these are the images of `list_images`. In an object store, where reading costs money, they are the
    files with the suffix of an image; hidden files are skipped.

    Args:
        address: a path or URI.
        glob: list only files whose relative path, or its end, matches one of these patterns: ``*.jpg``, ``2024/*``.

    Raises:
        ImageError: the folder does not exist, cannot be read, or holds no image.
        SegzsError: no installed package opens such addresses.
    """
    folder, patterns = StorageFolder.at(address), (glob,) if isinstance(glob, str) else tuple(glob)
    if folder.is_local:
        names = list_images(folder.root, glob=patterns).names
        return StoredImages(folder, tuple(_local_file(folder.root, name) for name in names), patterns)
    try:
        infos = {info.path[len(folder.root) :].lstrip("/"): info for info in folder.infos(folder.root, recursive=True)}
    except OSError as error:
        raise ImageError(f"{folder.name} cannot be read: {error}") from error
    files = sorted(
        (name, info.size, info.mtime_ns or 0)
        for name, info in infos.items()
        if PurePosixPath(name).suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in name.split("/"))
        and matches(name, patterns)
    )
    if not files:
        glob = f" and matches {' or '.join(map(repr, patterns))}" if patterns else ""
        raise ImageError(f"none of {counted(len(infos), 'file')} in {folder.name} has the suffix of an image{glob}")
    return StoredImages(folder, tuple(files), patterns)


def _open_with_fsspec(address: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        files, root = url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        raise SegzsError(f"{address.partition('?')[0]} cannot be opened: {error}") from error
    return PyFileSystem(FSSpecHandler(files)), root


def _local_file(root: str, name: str) -> tuple[str, int, int]:
    try:
        status = Path(root, name).stat()
    except OSError:  # a broken link; the worker that opens it will report it
        return name, 0, 0
    return name, status.st_size, status.st_mtime_ns

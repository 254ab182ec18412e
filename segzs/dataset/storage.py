"""Folders on a disk or in an object store, by one address: ``photos``, ``s3://bucket/photos``, ``gs://...``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from segzs.errors import ImageError, OutputError, SegzsError

INSTALL = "run: pip install 'segzs[ray]'"
LARGEST_FILE = 2**31
"""Bytes of the largest file that is read."""


@contextmanager
def output_errors(path: object) -> Iterator[None]:
    """Turn an `OSError` into an `OutputError` that names a file or folder."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; once this is fixed, repeat the command to resume"
        ) from error


def check_size(size: int) -> None:
    """Raise `ImageError` for a file of more than `LARGEST_FILE` bytes."""
    if size > LARGEST_FILE:
        raise ImageError(f"the file has {size:,} bytes, more than {LARGEST_FILE:,}")


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
        """The bytes of a file; ``name`` is relative, with slashes."""
        with self.files.open_input_file(os.fsencode(f"{self.root}/{name}")) as file:
            check_size(file.size())
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically; folders are made."""
        path = PurePosixPath(self.root, name)
        # an object appears when its stream is closed
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part") if self.is_local else path
        with output_errors(path):
            if self.is_local:
                self.files.create_dir(str(path.parent), recursive=True)
            with self.files.open_output_stream(str(part)) as stream:
                stream.write(data)
            if self.is_local:
                self.files.move(str(part), str(path))

    def stems(self, folder: str, suffix: str) -> list[str]:
        """The names of a folder's files with this suffix, without it, sorted; empty if the folder does not exist."""
        with output_errors(f"{self.root}/{folder}"):
            names = (PurePosixPath(info.path).name for info in self.infos(f"{self.root}/{folder}", recursive=False))
            return sorted(n.removesuffix(suffix) for n in names if n.endswith(suffix) and not n.startswith("."))

    def infos(self, folder: str, recursive: bool) -> Iterator[Any]:
        """The ``pyarrow.fs.FileInfo`` of each file in a folder; none if the folder does not exist."""
        from pyarrow import fs

        infos = self.files.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=recursive))
        return (info for info in infos if info.type == fs.FileType.File)


def _open_with_fsspec(address: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        files, root = url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        raise SegzsError(f"{address.partition('?')[0]} cannot be opened: {error}") from error
    return PyFileSystem(FSSpecHandler(files)), root

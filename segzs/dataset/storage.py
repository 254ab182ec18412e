"""Folders here or in an object store, by one address: ``photos``, ``s3://bucket/photos``, ``gs://...``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from segzs.checks import counted
from segzs.dataset.listing import SUFFIXES, list_images, matches
from segzs.errors import ImageError, OutputError, SegzsError

INSTALL = "run: pip install 'segzs[ray]'"


@dataclass(frozen=True)
class StorageFolder:
    """A folder of some file system (``pyarrow.fs.FileSystem``); make one with `StorageFolder.at`."""

    address: str
    files: Any
    root: str
    is_local: bool

    @classmethod
    def at(cls, address: str | os.PathLike[str]) -> StorageFolder:
        """The folder at a path or URI; those that Arrow does not know are opened by fsspec.

        Raises:
            SegzsError: no package that is installed knows such addresses.

        >>> StorageFolder.at("/data/photos").root
        '/data/photos'
        """
        try:
            from pyarrow import fs
        except ImportError as error:
            raise SegzsError(f"folders of a cluster need pyarrow; {INSTALL}") from error
        text = os.fspath(address)
        if "://" not in text:
            text = os.path.abspath(text)
            return cls(text, fs.LocalFileSystem(), text, True)
        # one request a file instead of three, the file being written at once
        at_once = "&allow_delayed_open=true" if "?" in text else "?allow_delayed_open=true"
        try:
            files, root = fs.FileSystem.from_uri(text + at_once if text.startswith("s3://") else text)
        except (ValueError, OSError, NotImplementedError):
            files, root = _by_fsspec(text)
        return cls(text, files, root.rstrip("/"), isinstance(files, fs.LocalFileSystem))

    @property
    def name(self) -> str:
        """The address as one may show it: without options and whatever secret stands in it."""
        return self.root if self.is_local else f"{self.address.partition('://')[0]}://{self.root.lstrip('/')}"

    def read(self, name: str, most: int = 2**31) -> bytes:
        """The bytes of a file; names are relative, with slashes.

        Raises:
            OSError: it cannot be read.
            ImageError: there are more than ``most``.
        """
        with self.files.open_input_file(os.fsencode(f"{self.root}/{name}")) as file:
            if (size := file.size()) > most:
                raise ImageError(f"the file has {size:,} bytes, more than {most:,}")
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all; folders are made.

        Raises:
            OutputError: it cannot be written.
        """
        path = PurePosixPath(self.root, name)
        with self._saying(str(path)):
            if not self.is_local:  # an object is there when its stream is closed
                self._put(str(path), data)
                return
            self.files.create_dir(str(path.parent), recursive=True)
            part = str(path.with_name(f".{path.name}.{secrets.token_hex(4)}.part"))
            self._put(part, data)
            self.files.move(part, str(path))

    def names(self, folder: str, ending: str) -> list[str]:
        """Names of the files of a folder, without this ending, sorted; none where there is no folder.

        Raises:
            OutputError: it cannot be looked into.
        """
        with self._saying(f"{self.root}/{folder}"):
            found = (PurePosixPath(info.path).name for info in self.infos(f"{self.root}/{folder}", recursive=False))
            return sorted(
                name.removesuffix(ending) for name in found if name.endswith(ending) and not name.startswith(".")
            )

    def infos(self, folder: str, recursive: bool) -> Iterator[Any]:
        """What is known of the files of a folder (``pyarrow.fs.FileInfo``); none where there is no folder."""
        from pyarrow import fs

        found = self.files.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=recursive))
        return (info for info in found if info.type == fs.FileType.File)

    def _put(self, path: str, data: bytes) -> None:
        with self.files.open_output_stream(path) as stream:
            stream.write(data)

    @contextmanager
    def _saying(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error}; once that is mended, repeat the command") from error


@dataclass(frozen=True)
class Listing:
    """Pictures of a place: relative name, bytes, and time of the last change in ns, sorted by name."""

    place: StorageFolder
    pictures: tuple[tuple[str, int, int], ...]
    glob: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)


def list_stored_images(address: str | os.PathLike[str], *, glob: str | Sequence[str] = ()) -> Listing:
    """List the pictures of a place and all below it.

    Here they are those of `list_images`; in a store, where a look inside has its price, those that are named like
    pictures, hidden ones left out.

    Args:
        address: a folder or URI.
        glob: only files whose relative path, or its end, matches one of these: ``*.jpg``, ``2024/*``.

    Raises:
        ImageError: there is no folder or no picture, or it cannot be looked into.
        SegzsError: no package that is installed knows such addresses.
    """
    place, patterns = StorageFolder.at(address), (glob,) if isinstance(glob, str) else tuple(glob)
    if place.is_local:
        names = list_images(place.root, glob=patterns).names
        return Listing(place, tuple(_about(place.root, name) for name in names), patterns)
    try:
        infos = list(place.infos(place.root, recursive=True))
    except OSError as error:
        raise ImageError(f"{place.name} cannot be looked into: {error}") from error
    known = ((info.path[len(place.root) :].lstrip("/"), info) for info in infos)
    found = sorted(
        (name, info.size, info.mtime_ns or 0)
        for name, info in known
        if PurePosixPath(name).suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in name.split("/"))
        and matches(name, patterns)
    )
    if not found:
        matching = f" that matches {' or '.join(map(repr, patterns))}" if patterns else ""
        files = counted(len(infos), "file")
        raise ImageError(f"there is no picture{matching} below {place.name}: {files}, none named so")
    return Listing(place, tuple(found), patterns)


def _by_fsspec(address: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        files, root = url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        raise SegzsError(f"{address.partition('?')[0]} cannot be opened: {error}") from error
    return PyFileSystem(FSSpecHandler(files)), root


def _about(root: str, name: str) -> tuple[str, int, int]:
    try:
        status = Path(root, name).stat()
    except OSError:  # a broken link; the worker that opens it says so
        return name, 0, 0
    return name, status.st_size, status.st_mtime_ns

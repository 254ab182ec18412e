"""List the images of a directory, recognised by content, or of a bucket, by suffix; sorted by path."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePath

import PIL.Image

from segzs.checks import counted
from segzs.dataset.storage import StorageFolder
from segzs.errors import ImageError

RUN_FILE = "segzs-run.json"
OVERLAYS = "overlays"
"""A folder of this name next to a `RUN_FILE` holds overlays that segzs drew."""
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic"),
    *(".heif", ".jxl", ".jp2", ".j2k", ".tga", ".psd", ".qoi", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""A file with such a suffix is always listed; if it is not an image, labelling reports it as a failure."""
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PSD", "QOI", "TIFF", "WEBP")
"""Formats with a reliable signature. Pillow takes some text and binary data for images of its other formats."""

Change = tuple[int, int]
"""Bytes of a file, and the time of its last change in ns."""


@dataclass(frozen=True)
class ImageList:
    """The images of a directory or bucket.

    Attributes:
        root: the path or URI.
        names: paths relative to ``root``, with slashes, sorted.
        glob: the patterns that the names match.
        unreadable: the reason for each name that is a folder which cannot be read.
        changes: of the files of a bucket, by name.
    """

    root: str
    names: tuple[str, ...]
    glob: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict, repr=False)
    changes: Mapping[str, Change] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """SHA-256 of the names, sizes and times of the files."""
        files = [(name, *(self.changes.get(name) or _change(Path(self.root, name)))) for name in self.names]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def list_images(folder: str | os.PathLike[str], *, glob: str | Sequence[str] = ()) -> ImageList:
    """List the images of a directory or bucket and of all folders below it.

    Hidden files and folders are skipped. In a directory, links are followed, no folder is visited twice, and overlays
    that segzs drew are skipped. A file is recognised by its content; a file with the suffix of an image is always
    listed, so that a damaged one is reported. In a bucket, where reading costs money, only suffixes count.

    Args:
        folder: the directory, or a URI that PyArrow or fsspec opens: ``s3://bucket/photos``.
        glob: list only files whose relative path, or its end, matches one of these patterns: ``*.jpg``, ``2024/*``.

    Raises:
        ImageError: the directory does not exist, cannot be read, or holds no image.
        SegzsError: no installed package opens such addresses.
    """
    patterns = (glob,) if isinstance(glob, str) else tuple(glob)
    if "://" in os.fspath(folder):
        return _list_bucket(StorageFolder.at(folder), patterns)
    return _list_directory(Path(folder), patterns)


def _list_bucket(folder: StorageFolder, patterns: tuple[str, ...]) -> ImageList:
    try:
        infos = {info.path[len(folder.root) :].lstrip("/"): info for info in folder.infos(folder.root, recursive=True)}
    except OSError as error:
        raise ImageError(f"{folder.name} cannot be read: {error}") from error
    images = {
        name: (info.size, info.mtime_ns or 0)
        for name, info in sorted(infos.items())
        if _matches(name, patterns)
        and PurePath(name).suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in name.split("/"))
    }
    if not images:
        glob = f" and matches {' or '.join(map(repr, patterns))}" if patterns else ""
        raise ImageError(f"none of {counted(len(infos), 'file')} in {folder.name} has the suffix of an image{glob}")
    return ImageList(folder.address, tuple(images), patterns, changes=images)


def _list_directory(root: Path, patterns: tuple[str, ...]) -> ImageList:
    if not root.is_dir():
        raise ImageError(f"{root} is not a folder")
    names: list[str] = []
    unreadable: dict[str, str] = {}
    files = matching = 0
    visited: set[tuple[int, int]] = set()
    folders, links = deque([""]), deque[str]()  # links come last, so that a folder keeps its own path
    while folders or links:
        parent = (folders or links).popleft()
        try:
            status = os.stat(root / parent)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(root / parent) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            unreadable[parent] = f"the folder cannot be read: {error.strerror or error}"
            continue
        is_output = any(entry.name == RUN_FILE for entry in entries)
        for entry in entries:
            name = parent + entry.name
            if entry.name.startswith(".") or (is_output and entry.name == OVERLAYS):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(f"{name}/")
            elif entry.is_symlink() and os.path.isdir(entry.path):
                links.append(f"{name}/")
            else:
                files += 1
                if _matches(name, patterns):
                    matching += 1
                    if _is_image(entry.path):
                        names.append(name)
    if "" in unreadable:
        raise ImageError(f"{root}: {unreadable['']}")
    if not names and not unreadable:
        glob = f" ({matching} match {' or '.join(map(repr, patterns))})" if patterns else ""
        raise ImageError(f"none of {counted(files, 'file')} in {root}{glob} is an image; hidden files are skipped")
    return ImageList(os.fspath(root), tuple(sorted([*names, *unreadable])), patterns, unreadable)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a relative path, or its end, matches one of the patterns; True if there are no patterns."""
    paths = (name, f"/{name}")  # so that "**/*.jpg" matches at the top level, too
    return not patterns or any(fnmatchcase(path, pattern) for pattern in patterns for path in paths)


def _is_image(path: str) -> bool:
    if PurePath(path).suffix.lower() in SUFFIXES:
        return os.path.isfile(path) or not os.path.exists(path)  # a broken link is a missing image; a pipe is not one
    if not os.path.isfile(path):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(path, formats=_formats()):
                return True
    except PIL.UnidentifiedImageError:
        return False
    except Exception:  # it has an image's signature, or cannot be read: labelling will report the reason
        return True


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that the installed Pillow supports."""
    PIL.Image.init()
    return tuple(name for name in FORMATS if name in PIL.Image.OPEN)


def _change(path: Path) -> Change:
    try:
        status = path.stat()
    except OSError:  # a broken link; the worker that opens it will report it
        return 0, 0
    return status.st_size, status.st_mtime_ns

"""List the images of a directory: recognised by content, sorted by path."""

from __future__ import annotations

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


@dataclass(frozen=True)
class ImageList:
    """The images of a directory.

    Attributes:
        root: the directory.
        names: paths relative to ``root``, with slashes, sorted.
        glob: the patterns that the names match.
        unreadable: the reason for each name that is a folder which cannot be read.
    """

    root: Path
    names: tuple[str, ...]
    glob: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)


def list_images(folder: str | os.PathLike[str], *, glob: str | Sequence[str] = ()) -> ImageList:
    """List the images of a directory and of all folders below it.

    Hidden files and folders are skipped. Links are followed, and no folder is visited twice. Overlays that segzs drew
    are skipped. A file is recognised by its content; a file with the suffix of an image is always listed, so that a
    damaged one is reported.

    Args:
        folder: the directory.
        glob: list only files whose relative path, or its end, matches one of these patterns: ``*.jpg``, ``2024/*``.

    Raises:
        ImageError: the directory does not exist, cannot be read, or holds no image.
    """
    root = Path(folder)
    patterns = (glob,) if isinstance(glob, str) else tuple(glob)
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
                if matches(name, patterns):
                    matching += 1
                    if _is_image(entry.path):
                        names.append(name)
    if "" in unreadable:
        raise ImageError(f"{root}: {unreadable['']}")
    if not names and not unreadable:
        raise ImageError(_why_empty(root, patterns, files, matching))
    return ImageList(root, tuple(sorted([*names, *unreadable])), patterns, unreadable)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a relative path, or its end, matches one of the patterns; True if there are no patterns."""
    paths = (name, f"/{name}")  # so that "**/*.jpg" matches at the top level, too
    return not patterns or any(fnmatchcase(path, pattern) for pattern in patterns for path in paths)


def _why_empty(root: Path, patterns: Sequence[str], files: int, matching: int) -> str:
    if not files:
        return f"{root} holds no files; hidden files are skipped"
    glob = " or ".join(map(repr, patterns))
    if not matching:
        return f"none of {counted(files, 'file')} in {root} matches {glob}; hidden files are skipped"
    which = f"{counted(matching, 'file')} that match {glob}" if patterns else counted(matching, "file")
    return f"none of {which} in {root} is an image; hidden files are skipped"


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

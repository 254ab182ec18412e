"""A directory -> the pictures in it, told by their content, in the order of their paths."""

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
"""A folder of this name beside a file of that name holds pictures that segzs drew."""
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic"),
    *(".heif", ".jxl", ".jp2", ".j2k", ".tga", ".psd", ".qoi", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""A file of these names that is no picture is a bad picture; another one is none of ours."""
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PSD", "QOI", "TIFF", "WEBP")
"""Formats that a file's first bytes tell surely; Pillow takes some texts and data for its other ones."""


@dataclass(frozen=True)
class ImageList:
    """Pictures of a directory.

    ``names`` are paths relative to ``root``, with slashes, sorted; ``unreadable`` are those among them that are folders
    which cannot be looked into, and why.
    """

    root: Path
    names: tuple[str, ...]
    glob: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)


def list_images(folder: str | os.PathLike[str], *, glob: str | Sequence[str] = ()) -> ImageList:
    """Walk a directory and all below it.

    Hidden files and folders are left out, links are followed, no folder is walked twice, and what segzs drew in an
    earlier run is none of the pictures. A file counts by its content; one that is named like a picture and is none
    counts too, so that somebody hears of it.

    Args:
        folder: the directory.
        glob: only files whose relative path, or its end, matches one of these: ``*.jpg``, ``2024/*``.

    Raises:
        ImageError: it is no directory, cannot be read, or holds no picture.
    """
    root = Path(folder)
    patterns = (glob,) if isinstance(glob, str) else tuple(glob)
    if not root.is_dir():
        raise ImageError(f"{root} is no folder")
    names, unreadable, files, fitting = [], {}, 0, 0
    walked: set[tuple[int, int]] = set()
    folders, links = deque([""]), deque[str]()  # links come last, so that a folder is known by its own path
    while folders or links:
        folder_name = (folders or links).popleft()
        try:
            status = os.stat(root / folder_name)
            if (status.st_dev, status.st_ino) in walked:
                continue
            walked.add((status.st_dev, status.st_ino))
            with os.scandir(root / folder_name) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            unreadable[folder_name] = f"the folder cannot be read: {error.strerror or error}"
            continue
        is_output = any(entry.name == RUN_FILE for entry in entries)
        for entry in entries:
            name = folder_name + entry.name
            if entry.name.startswith(".") or (is_output and entry.name == OVERLAYS):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(f"{name}/")
                continue
            if entry.is_symlink() and os.path.isdir(entry.path):
                links.append(f"{name}/")
                continue
            files += 1
            if matches(name, patterns):
                fitting += 1
                if _is_picture(entry.path):
                    names.append(name)
    if "" in unreadable:
        raise ImageError(f"{root}: {unreadable['']}")
    if not names and not unreadable:
        raise ImageError(_nothing(root, patterns, files, fitting))
    return ImageList(root, tuple(sorted([*names, *unreadable])), patterns, unreadable)


def _nothing(root: Path, patterns: Sequence[str], files: int, fitting: int) -> str:
    """Why there is no picture among so many files, of which so many fit the patterns."""
    if not files:
        return f"{root} is empty: there is no file in it or below, hidden ones left out"
    patterned = " or ".join(map(repr, patterns))
    if fitting:
        which = f"{counted(fitting, 'file')} like {patterned}" if patterns else counted(fitting, "file")
        return f"none of {which} in {root} or below is a picture; hidden ones are left out"
    return f"none of {counted(files, 'file')} in {root} or below matches {patterned}; hidden ones are left out"


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a relative path, or its end, matches one of the patterns; all do where there are none."""
    paths = (name, f"/{name}")  # "**/*.jpg" means those at the top, too
    return not patterns or any(fnmatchcase(path, pattern) for pattern in patterns for path in paths)


def _is_picture(path: str) -> bool:
    """By content where the name does not claim it. What is no file, a pipe for instance, is never opened."""
    if PurePath(path).suffix.lower() in SUFFIXES:
        return os.path.isfile(path) or not os.path.exists(path)  # a broken link is a picture that is missing
    if not os.path.isfile(path):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(path, formats=_formats()):
                return True
    except PIL.UnidentifiedImageError:
        return False
    except Exception:  # its head is a picture's, or it cannot be read: it is opened again, and the reason told, later
        return True


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    PIL.Image.init()
    return tuple(name for name in FORMATS if name in PIL.Image.OPEN)

"""What formats share about files: written whole or not at all, named after pictures, read with clear words."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from segzs.errors import AnnotationError, OutputError, SegzsWarning, UsageError


def make_folder(folder: Path) -> None:
    """Make an output folder, before work is done for nothing.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder} is a file; a folder is expected, which is made where it is missing") from error
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made: {error.strerror or error}") from error


def check_apart(outs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Make sure that writing files loses nothing that was read.

    Raises:
        UsageError: one of them is one of the inputs, or a file that is inside of one.
    """
    read = {given.resolve() for given in inputs}
    for out in outs:
        target = out.resolve()
        if target in read or (target.is_file() and not read.isdisjoint(target.parents)):
            raise UsageError(f"{out} is, or may be, a part of what is read, and would be lost; write to another place")


class FormatWarning(SegzsWarning):
    """A format has no room for something, or something in a file is no mask; said once."""


@contextmanager
def atomic_write(path: Path, mode: str = "w", *, durable: bool = False) -> Iterator[IO[Any]]:
    """A file that takes its place when all is written, and leaves what was there when something fails.

    ``durable`` waits until all of it is on the disk. A process that is killed leaves a hidden file, see `leftovers`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    # file names that are no UTF-8 become JSON's escapes
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
    try:
        with open(part, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def leftovers(folder: Path, deep: bool = False) -> Iterator[Path]:
    """What killed processes left in a folder, and in those below if ``deep``, in the midst of `atomic_write` files."""
    pattern = f".*.{'[0-9a-f]' * 8}.part"
    return folder.rglob(pattern) if deep else folder.glob(pattern)


class Stems:
    """Names of files after pictures, with their folders and without their ending: ``Stems()("a/1.jpg")`` is ``a/1``."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, picture: str) -> str:
        """The stem; of two pictures that differ by the ending alone, the second one keeps it.

        Raises:
            OutputError: the picture was there already, or has no name.
        """
        kept = [part for part in PurePosixPath(picture.replace("\\", "/")).parts if part not in ("/", "..")]
        path = PurePosixPath(*kept)  # whatever a file says, nothing is written outside the folder
        if not path.name:
            raise OutputError(f"{picture!r} is no name of a picture, and files are named after pictures here")
        for stem in (str(path.with_suffix("")), str(path)):
            if stem.casefold() not in self._taken:  # some file systems do not tell A from a
                self._taken.add(stem.casefold())
                return stem
        raise OutputError(f"the picture {picture!r} is there twice, and files are named after pictures here")


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn what goes wrong while a file is taken apart into an `AnnotationError` that names it and what is expected."""
    try:
        yield
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read: {error.strerror or error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnnotationError(f"{path} is no JSON: {error}") from error
    except KeyError as error:
        raise AnnotationError(f"{path}: {error} is missing; {what} is expected") from error
    except (TypeError, ValueError, ArithmeticError, AttributeError, IndexError) as error:
        raise AnnotationError(f"{path}: {error}; {what} is expected") from error


def load_json(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text("utf-8"))

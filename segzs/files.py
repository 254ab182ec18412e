"""Output files: written whole or not at all, and never over an input."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from segzs.errors import OutputError, UsageError


@contextmanager
def atomic_write(path: Path, mode: str = "w", *, durable: bool = False) -> Iterator[IO[Any]]:
    """Open a file that replaces ``path`` when the block ends; if the block raises, ``path`` stays as it was.

    Text is UTF-8 with line feeds. Missing folders are created. A killed process leaves a hidden file: see `leftovers`.
    ``durable`` waits until the content is on the disk.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "a.txt"
    >>> with atomic_write(path) as file:
    ...     _ = file.write("whole")
    >>> path.read_text()
    'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    # surrogates of file names that are not UTF-8 become JSON escapes
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


def leftovers(folder: Path, *, recursive: bool = False) -> Iterator[Path]:
    """The unfinished files that killed processes left in a folder, and in its subfolders if ``recursive``."""
    pattern = f".*.{'[0-9a-f]' * 8}.part"
    return folder.rglob(pattern) if recursive else folder.glob(pattern)


def make_folder(folder: Path) -> None:
    """Create an output folder and its parents where they are missing; raises `OutputError` if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder} is a file; give a folder for the output") from error
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be created: {error.strerror or error}") from error


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise `UsageError` if an output is an input, or an existing file inside an input folder."""
    resolved = {path.resolve() for path in inputs}
    for output in outputs:
        target = output.resolve()
        if target in resolved or (target.is_file() and not resolved.isdisjoint(target.parents)):
            raise UsageError(f"{output} would overwrite an input; give another output")

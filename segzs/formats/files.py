"""What the formats share about files: names after images, and reading that survives bad rows and bad files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from segzs.errors import AnnotationError, FormatWarning, OutputError, warn

INVALID = (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, IndexError)
"""What parsing raises on values of a wrong kind."""
MAX_LISTED = 3
MAX_TEXT = 120

T = TypeVar("T")


class Stems:
    """File names after image names: the folders stay, the suffix goes.

    Of two images that differ only by the suffix, the second one keeps it.

    >>> Stems()("a/1.jpg")
    'a/1'
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, image: str) -> str:
        parts = [part for part in PurePosixPath(image.replace("\\", "/")).parts if part not in ("/", "..")]
        path = PurePosixPath(*parts)  # nothing is written outside the folder
        if not path.name:
            raise OutputError(f"{image!r} is not the name of an image; output files are named after images")
        for stem in (str(path.with_suffix("")), str(path)):
            if stem.casefold() not in self._taken:  # some file systems ignore case
                self._taken.add(stem.casefold())
                return stem
        raise OutputError(f"the image {image!r} occurs twice; output files are named after images")


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Turn errors of reading and parsing a file into an `AnnotationError` that names the file and what is expected."""
    try:
        yield
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read: {error.strerror or error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnnotationError(f"{path} is not JSON: {error}") from error
    except INVALID as error:
        raise AnnotationError(f"{path}: {explain(error)}; {expected} is expected") from error


def load_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark."""
    return json.loads(path.read_bytes())


def explain(error: Exception) -> str:
    """An error in words, at most 120 characters."""
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


class LeftOut:
    """The rows of a file that cannot be used, and one warning about all of them.

    >>> left_out, values = LeftOut(Path("a.json")), []
    >>> for row in ({"id": 7}, {"id": 8, "score": 0.5}):
    ...     with left_out.unless_valid(f"annotation {row['id']}"):
    ...         values.append(row["score"])
    >>> values, str(left_out)
    ([0.5], "a.json: left out annotation 7 ('score' is missing)")
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._first: list[str] = []

    def __str__(self) -> str:
        more = f" and {self.count - MAX_LISTED} more" if self.count > MAX_LISTED else ""
        return f"{self.path}: left out {', '.join(self._first)}{more}"

    @contextmanager
    def unless_valid(self, row: str) -> Iterator[None]:
        """Leave out the row if parsing it in this block raises; ``row`` is what the warning calls it."""
        try:
            yield
        except INVALID as error:
            self.count += 1
            if self.count <= MAX_LISTED:
                self._first.append(f"{row} ({explain(error)})")

    def warn(self) -> None:
        """Warn if rows were left out."""
        if self.count:
            warn(str(self), FormatWarning)


def warn_if_interrupted(folder: Path, labelled: int) -> None:
    """Warn if a folder that `segzs label` wrote holds fewer images than its run had."""
    with suppress(OSError, *INVALID):
        images = json.loads((folder / "segzs-run.json").read_bytes())["images"]
        failures = [folder / "failures.jsonl", *(folder / "failures").glob("*.jsonl")]
        failed = sum(len(path.read_bytes().splitlines()) for path in failures if path.is_file())
        if (missing := images - labelled - failed) > 0:
            warn(f"{folder}: {missing} of {images} images are missing; repeat segzs label to resume", FormatWarning)


def read_files(paths: Iterable[Path], read: Callable[[Path], Iterator[T]]) -> Iterator[T]:
    """The values of several files; a file that cannot be read is left out with a warning, unless none can."""
    errors, count = [], 0
    for path in paths:
        try:
            yield from read(path)
        except AnnotationError as error:
            errors.append(error)
            warn(f"{error}; the file is left out", FormatWarning)
        count += 1
    if errors and len(errors) == count:
        raise errors[0]

"""A file of records that grows by one line an image and survives a crash at any instant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from segzs.errors import OutputError, SegzsError
from segzs.files import atomic_write
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.native import from_line, to_line

Key = tuple[str, str]
"""The path and the SHA-256 of an image file."""


@dataclass(frozen=True)
class Failure:
    """An image file that cannot be labelled, and why: a line of ``failures.jsonl``."""

    file: str
    reason: str

    def to_line(self) -> bytes:
        """The line, with the line feed."""
        return f"{json.dumps(asdict(self), ensure_ascii=False)}\n".encode(errors="backslashreplace")


class Journal:
    """Records on disk, found by path and content; open it in a ``with``.

    What a crash cut short at the end of the file is cut off when it is opened. Only places in the file are held in
    memory.

    Raises:
        OutputError: the file cannot be read or written, or is none of segzs's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[Key, int] = {}
        self._contents: dict[str, int] = {}
        with saying(path):
            self._file = path.open("a+b", buffering=0)
        try:
            self._end = self._read()
            with saying(path):
                self._file.truncate(self._end)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    def has_content(self, sha256: str) -> bool:
        """Whether a file of that digest was done, under whatever path."""
        return sha256 in self._contents

    def record(self, sha256: str) -> ImageAnnotations:
        """What was found in a file of that digest, under whatever path."""
        with saying(self.path), self.path.open("rb") as lines:
            lines.seek(self._contents[sha256])
            return from_line(lines.readline(), verify=False)

    def append(self, record: ImageAnnotations) -> None:
        """Write a record's line, handed to the operating system before this returns.

        Raises:
            OutputError: the disk is full, for instance; the file ends with the record before.
        """
        line = to_line(record)
        with saying(self.path):
            try:
                write_all(self._file, line)
            except OSError:
                self._file.truncate(self._end)
                raise
        self._remember(record, self._end)
        self._end += len(line)

    def without(self, keys: Iterable[Key]) -> list[Key]:
        """The other ones: records of pictures that are gone or have changed."""
        return list(self._places.keys() - set(keys))

    def finish(self, keys: Sequence[Key]) -> None:
        """Leave only the records of these keys, in this order, by replacing the file where it holds something else."""
        places = [self._places[key] for key in keys]
        if places == list(self._places.values()):
            return
        with saying(self.path), self.path.open("rb") as lines, atomic_write(self.path, "wb", durable=True) as ordered:
            for place in places:
                lines.seek(place)
                ordered.write(lines.readline())

    def _read(self) -> int:
        """Learn what the file holds; gives the end of what is whole."""
        end = 0
        with saying(self.path), self.path.open("rb") as lines:
            for line in lines:
                try:
                    if not line.endswith(b"\n"):
                        break
                    record = from_line(line, verify=False)
                except SegzsError as error:
                    if end == 0:
                        raise OutputError(f"{self.path} is none of segzs's: {error}; choose another folder") from error
                    break  # a power cut leaves blocks that were never written
                self._remember(record, end)
                end += len(line)
        return end

    def _remember(self, record: ImageAnnotations, place: int) -> None:
        self._places[record.file, record.digests.file] = place
        self._contents.setdefault(record.digests.file, place)


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write to an unbuffered file, which may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


@contextmanager
def saying(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into an `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; once that is mended, the same command goes on"
        ) from error

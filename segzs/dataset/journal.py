"""A file of records that grows by one line per image and survives a crash at any instant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from segzs.dataset.storage import output_errors
from segzs.errors import OutputError, SegzsError
from segzs.files import atomic_write
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.native import from_line, to_line

Key = tuple[str, str]
"""The path and the SHA-256 of an image file."""


class Journal:
    """Records on disk, by the SHA-256 of their image files: ``sha256 in journal``, ``journal[sha256]``.

    Use it in a ``with`` statement. Opening the file removes an incomplete line at its end. Only the offsets of lines
    are kept in memory. All methods raise `OutputError` where the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[Key, int] = {}
        self._contents: dict[str, int] = {}
        with output_errors(path):
            self._file = path.open("a+b", buffering=0)
        try:
            self._end = self._read()
            with output_errors(path):
                self._file.truncate(self._end)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __contains__(self, sha256: object) -> bool:
        return sha256 in self._contents

    def __getitem__(self, sha256: str) -> ImageAnnotations:
        """The record of a file of this content; its path may be that of a copy."""
        with output_errors(self.path), self.path.open("rb") as lines:
            lines.seek(self._contents[sha256])
            return from_line(lines.readline(), verify=False)

    def append(self, record: ImageAnnotations) -> None:
        """Append a record, unless it is there; the operating system has the whole line when this returns.

        If the line cannot be written, the file ends with the previous record.
        """
        if (record.file, record.digests.file) in self._offsets:
            return
        line = to_line(record)
        with output_errors(self.path):
            try:
                write_all(self._file, line)
            except OSError:
                self._file.truncate(self._end)
                raise
        self._add(record, self._end)
        self._end += len(line)

    def stale(self, keys: Iterable[Key]) -> list[Key]:
        """The keys of all other records: of images that were removed or changed."""
        return list(self._offsets.keys() - set(keys))

    def finish(self, keys: Sequence[Key]) -> None:
        """Replace the file by one with only the records of these keys, in this order, unless it is the same."""
        offsets = [self._offsets[key] for key in keys]
        if offsets == list(self._offsets.values()):
            return
        with (
            output_errors(self.path),
            self.path.open("rb") as lines,
            atomic_write(self.path, "wb", durable=True) as out,
        ):
            for offset in offsets:
                lines.seek(offset)
                out.write(lines.readline())

    def _read(self) -> int:
        """Index the lines of the file; returns the end of the last valid one."""
        end = 0
        with output_errors(self.path), self.path.open("rb") as lines:
            for line in lines:
                try:
                    if not line.endswith(b"\n"):
                        break
                    record = from_line(line, verify=False)
                except SegzsError as error:
                    if end == 0:
                        raise OutputError(
                            f"{self.path} was not written by segzs: {error}; choose another folder"
                        ) from error
                    break  # after a power failure, blocks may hold zeros
                self._add(record, end)
                end += len(line)
        return end

    def _add(self, record: ImageAnnotations, offset: int) -> None:
        self._offsets[record.file, record.digests.file] = offset
        self._contents.setdefault(record.digests.file, offset)


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write to an unbuffered file, whose ``write`` may take only a part of the data."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]

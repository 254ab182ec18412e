"""A file with one line for each labelled image, which stays readable if the process crashes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from segzs.dataset.storage import output_errors
from segzs.errors import OutputError, SegzsError
from segzs.files import atomic_write
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.native import from_line, to_line

Key = tuple[str, str]
"""The path and the SHA-256 of an image file."""


class Journal:
    """Annotations on disk, looked up by the SHA-256 of the image file: ``sha256 in journal``, ``journal[sha256]``.

    Use it in a ``with`` statement. Opening the file removes its first damaged line and all lines after it. Only the
    offsets of the lines are kept in memory. Methods raise `OutputError` if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[Key, int] = {}
        self._offsets_by_sha256: dict[str, int] = {}
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

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, sha256: object) -> bool:
        return sha256 in self._offsets_by_sha256

    def __getitem__(self, sha256: str) -> ImageAnnotations:
        """The annotations of an image file with this SHA-256. If there are copies, it is the first of them."""
        with output_errors(self.path), self.path.open("rb") as lines:
            lines.seek(self._offsets_by_sha256[sha256])
            return from_line(lines.readline(), verify=False)

    def append(self, record: ImageAnnotations) -> None:
        """Append a record unless the file has it. The line is then safe if the process crashes.

        A line that cannot be written completely is removed.
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

    def stale(self, keys: Iterable[Key]) -> set[Key]:
        """The keys of all records that are not among ``keys``: their images were removed or changed."""
        return self._offsets.keys() - set(keys)

    def finish(self, keys: Sequence[Key]) -> None:
        """Drop all records but those of ``keys``, and put them in this order. Call it last: the file is replaced."""
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
        """Index the lines up to the first damaged one; returns the offset of that line, or of the end."""
        end = 0
        with output_errors(self.path), self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                try:
                    record = from_line(line, verify=False)
                except SegzsError as error:
                    if end == 0:
                        raise OutputError(
                            f"{self.path} was not written by segzs: {error}; choose another folder"
                        ) from error
                    break  # a power failure may leave zeros in the file
                self._add(record, end)
                end += len(line)
        return end

    def _add(self, record: ImageAnnotations, offset: int) -> None:
        self._offsets[record.file, record.digests.file] = offset
        self._offsets_by_sha256.setdefault(record.digests.file, offset)


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of the data to an unbuffered file, whose ``write`` may write only a part."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]

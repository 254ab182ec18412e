"""Label files in order, while threads read and decode the next ones."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeVar

from segzs.dataset.journal import Journal
from segzs.errors import ImageError
from segzs.formats.annotations import ImageAnnotations

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Failure:
    """An image file that cannot be labelled, and the reason: a line of ``failures.jsonl``."""

    file: str
    reason: str

    def to_line(self) -> bytes:
        """The line, with the line feed."""
        return f"{json.dumps(asdict(self), ensure_ascii=False)}\n".encode(errors="backslashreplace")


class ImageLabeller(Protocol):
    """The part of `Labeller` that this room uses."""

    @property
    def settings(self) -> dict[str, Any]: ...
    def prepare(self, data: bytes) -> Any: ...
    def label(self, path: str, sha256: str, image: Any) -> ImageAnnotations: ...


def label_files(
    labeller: ImageLabeller,
    names: Iterable[str],
    read: Callable[[str], bytes],
    *,
    threads: int,
    completed: Journal | None = None,
) -> Generator[tuple[ImageAnnotations | Failure, Any], None, None]:
    """Label files in order; yields each result with its prepared image, which is None where it was not needed.

    A file that cannot be read, decoded or labelled yields a `Failure`, whatever the error was. ``threads`` files are
    read and prepared ahead. The annotations in ``completed`` are reused for files of the same content.
    """

    def load(name: str) -> tuple[str, Any] | Failure:
        try:
            data = read(name)
            sha256 = hashlib.sha256(data).hexdigest()
            return sha256, None if completed and sha256 in completed else labeller.prepare(data)
        except Exception as error:  # a damaged file must not stop the others, whatever a decoder raises
            return Failure(name, _reason(error))

    def label(name: str, sha256: str, image: Any) -> ImageAnnotations | Failure:
        if completed and sha256 in completed:
            return replace(completed[sha256], file=name)
        try:
            return labeller.label(name, sha256, image)
        except Exception as error:  # for instance, an image that does not fit into the memory of the GPU
            return Failure(name, _reason(error))

    pool = ThreadPoolExecutor(threads, thread_name_prefix="segzs")
    try:
        for name, loaded in _prefetch(pool, load, names, threads + 1):
            if isinstance(loaded, Failure):
                yield loaded, None
            else:
                yield label(name, *loaded), loaded[1]
    finally:
        pool.shutdown(cancel_futures=True)


def _prefetch(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], limit: int
) -> Iterator[tuple[T, R]]:
    """Items with the results of a function, in order; at most ``limit`` results wait."""
    pending: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        pending.append((item, pool.submit(function, item)))
        if len(pending) == limit:
            first, future = pending.popleft()
            yield first, future.result()
    while pending:
        first, future = pending.popleft()
        yield first, future.result()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return str(error) if isinstance(error, ImageError) else f"{type(error).__name__}: {error}"

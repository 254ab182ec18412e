"""A directory of pictures -> records, failures, one COCO file and overlays; stopped anywhere, it goes on from there.

In the folder ``out``:

- ``segzs-run.json``: the settings, written first;
- ``segments.jsonl``: a record a line, appended as images are done; see `segzs.formats.native`;
- ``failures.jsonl``: the bad pictures of the latest run, with path and reason;
- ``annotations.json``: COCO, written at the end;
- ``overlays/``: pictures of what was found, where asked for.

The same pictures and settings give the same bytes, however often the work was interrupted.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from filelock import FileLock, Timeout

from segzs.checks import check_number
from segzs.dataset.journal import Failure, Journal, saying, write_all
from segzs.dataset.listing import OVERLAYS, RUN_FILE, ImageList, list_images
from segzs.errors import ImageError, OutputError, UsageError
from segzs.files import atomic_write, leftovers, make_folder
from segzs.formats import coco
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.native import read_lines
from segzs.image import Image, read_image

THREADS = 4
LARGEST_FILE = 2**31
WRITTEN = ("segments.jsonl", "failures.jsonl", "annotations.json")
LONGEST_NAME = 50
LONGEST_SHOWN = 60

T = TypeVar("T")
R = TypeVar("R")


class Labels(Protocol):
    """What `label_directory` asks of a `Labeller`."""

    @property
    def settings(self) -> dict[str, Any]: ...
    def prepare(self, data: bytes) -> Any: ...
    def label(self, path: str, sha256: str, image: Any) -> ImageAnnotations: ...


@dataclass(frozen=True)
class Ready:
    """A file that was read: its digest, and its pixels unless it is known already."""

    sha256: str
    image: Any = None


def label_directory(
    labeller: Labels,
    pictures: ImageList | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overlays: bool = False,
    threads: int = THREADS,
    on_known: Callable[[str], object] = lambda path: None,
) -> Generator[ImageAnnotations | Failure, None, None]:
    """Label all pictures of a directory, in the order of their paths; gives what was found in each.

    What ``out`` holds already, of the same content and settings, is given from there. Stop when you like: the same
    call goes on. ``annotations.json`` is written after the last picture.

    Args:
        labeller: models and settings: `Labeller.of(segmenter)`.
        pictures: a directory, or what `list_images` found in it.
        out: a folder for the results; made where it is missing.
        overlays: draw what was found, too.
        threads: so many pictures are read, decoded and resized ahead of the models.
        on_known: called with the path of a picture whose content was done before, before it is given.

    Raises:
        ImageError: there is no picture.
        SegzsError: ``threads`` is less than 1.
        UsageError: ``out`` holds the pictures, the results of other settings or another directory, or files of these
            names that no run wrote.
        OutputError: ``out`` is in use by another run, or cannot be written.

    >>> from segzs.dataset.labeller import Labeller
    >>> for result in label_directory(Labeller.of(segzs.load()), "photos", "out"):  # doctest: +SKIP
    ...     print(result)
    """
    if not isinstance(pictures, ImageList):
        pictures = list_images(pictures)
    folder = Path(out)
    check_number("threads", threads, "a whole number from 1 on", 1, whole=True)
    _check_apart(pictures.root, folder)
    with ExitStack() as held:
        held.enter_context(alone(folder))
        with saying(folder):
            for part in (*leftovers(folder), *leftovers(folder / OVERLAYS, recursive=True)):
                part.unlink(missing_ok=True)
        _check_settings(folder / RUN_FILE, labeller.settings, pictures)
        journal = held.enter_context(Journal(folder / "segments.jsonl"))
        with saying(folder / "failures.jsonl"):
            failures = held.enter_context((folder / "failures.jsonl").open("wb", buffering=0))
        pool = ThreadPoolExecutor(threads, thread_name_prefix="segzs")
        held.callback(pool.shutdown, cancel_futures=True)

        done = []
        for name, ready in ahead(pool, partial(_read, labeller, journal, pictures), pictures.names, threads + 1):
            result = ready if isinstance(ready, Failure) else _record(labeller, journal, name, ready, on_known)
            if isinstance(result, Failure):
                with saying(folder / "failures.jsonl"):
                    write_all(failures, result.to_line())
            else:
                key = (result.file, result.digests.file)
                if key not in journal:
                    journal.append(result)
                done.append(key)
                if overlays:
                    pixels = ready.image if isinstance(ready, Ready) else None
                    _draw(result, pixels, pictures.root / name, _overlay(folder, *key))
            yield result

        for stale in journal.without(done):
            _overlay(folder, *stale).unlink(missing_ok=True)
        journal.finish(done)
        _write_coco(folder)


def _read(labeller: Labels, journal: Journal, pictures: ImageList, name: str) -> Ready | Failure:
    """Read, and decode what is not known: this runs in a thread, ahead."""
    if name in pictures.unreadable:
        return Failure(name, pictures.unreadable[name])
    path = pictures.root / name
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            return Failure(name, f"the file has {size:,} bytes, more than {LARGEST_FILE:,}")
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        return Ready(sha256, None if journal.has_content(sha256) else labeller.prepare(data))
    except Exception as error:  # whatever a damaged picture does to a decoder, the others are not lost
        return Failure(name, reason_of(error))


def _record(
    labeller: Labels, journal: Journal, name: str, ready: Ready, on_known: Callable[[str], object]
) -> ImageAnnotations | Failure:
    if journal.has_content(ready.sha256):
        on_known(name)
        return replace(journal.record(ready.sha256), file=name)
    try:
        return labeller.label(name, ready.sha256, ready.image)
    except Exception as error:  # one too large for the device's memory, for instance
        return Failure(name, reason_of(error))


def reason_of(error: Exception) -> str:
    """What a failure says of what went wrong with its picture."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return str(error) if isinstance(error, ImageError) else f"{type(error).__name__}: {error}"


def ahead(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], most: int) -> Iterator[tuple[T, R]]:
    """Items and the function's answers, in order; at most so many answers are made before they are asked for."""
    pending: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        pending.append((item, pool.submit(function, item)))
        if len(pending) == most:
            first, future = pending.popleft()
            yield first, future.result()
    while pending:
        first, future = pending.popleft()
        yield first, future.result()


def _check_apart(root: Path, folder: Path) -> None:
    source, target = root.resolve(), folder.resolve()
    if source == target:
        raise UsageError(f"{folder} is the directory of the pictures itself; choose another for the results")
    if source.is_relative_to(target / OVERLAYS):
        raise UsageError(f"{root} holds what segzs drew for {folder}; choose another folder for the results")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other runs out of it."""
    make_folder(folder)
    lock = FileLock(folder / ".segzs.lock", thread_local=False)  # an iterator may be closed in another thread
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(f"another run is writing to {folder}; wait for it, or choose another folder") from None
    except NotImplementedError:  # a file system without locks
        pass
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def _check_settings(path: Path, settings: dict[str, Any], pictures: ImageList) -> None:
    """Write down what this run is of, or make sure that it is what the folder holds."""
    text = json.dumps(settings, ensure_ascii=False, sort_keys=True)
    ours = {
        "format": "segzs-run/1",
        "folder": str(pictures.root.resolve()),
        "glob": list(pictures.glob),
        "digest": hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest(),
        "settings": json.loads(text),
    }
    try:
        theirs = json.loads(path.read_bytes())
    except FileNotFoundError:
        if strange := [name for name in WRITTEN if (path.parent / name).exists()]:
            raise UsageError(
                f"{path.parent} holds a file {strange[0]}, which would be lost, but no {RUN_FILE} that says of what it "
                "is; choose another folder"
            ) from None
        with saying(path), atomic_write(path, "wb", durable=True) as file:
            file.write(f"{json.dumps(ours, indent=1, ensure_ascii=False)}\n".encode(errors="backslashreplace"))
        return
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read: {error}; choose another folder") from error
    if not isinstance(theirs, dict) or theirs.get("format") != ours["format"]:
        raise OutputError(f"{path} is none of segzs's; choose another folder")
    if theirs.get("folder") != ours["folder"]:
        raise UsageError(
            f"{path.parent} holds the results of the directory {theirs.get('folder')}; choose another folder for "
            f'those of {ours["folder"]}. If it has only moved, write its new place as "folder" into {path}'
        )
    changed = differences(theirs.get("glob"), ours["glob"], "glob")
    changed += differences(theirs.get("settings"), ours["settings"])
    if changed:
        raise UsageError(
            f"{path.parent} holds results of other settings ({'; '.join(changed)}); choose another folder, or "
            "repeat the command as it was to go on"
        )


def differences(theirs: Any, ours: Any, name: str = "") -> list[str]:
    """Which settings are not the same, and what they were and are."""
    if theirs == ours:
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = dict.fromkeys([*theirs, *ours])
        return [line for key in keys for line in differences(theirs.get(key), ours.get(key), f"{name} {key}".strip())]
    was, now = (json.dumps(value, ensure_ascii=False) for value in (theirs, ours))
    return [f"{name} was {_shortened(was)}, now {_shortened(now)}"]


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _overlay(folder: Path, name: str, sha256: str) -> Path:
    """Where a file's overlay lies: beside those of its folder, under its own name and some of its digest.

    Files that differ by their ending, or by the case of their letters, get different ones.
    """
    path = PurePosixPath(name)
    mark = hashlib.sha256(f"{name}\n{sha256}".encode(errors="surrogateescape")).hexdigest()[:8]
    return folder / OVERLAYS / path.parent / f"{path.name[:LONGEST_NAME]}.{mark}.png"


def _draw(record: ImageAnnotations, image: Image | None, source: Path, target: Path) -> None:
    if target.exists():
        return
    if image is None:
        image = read_image(source)
    buffer = io.BytesIO()
    record.on(image).overlay().save(buffer, "PNG")
    with saying(target), atomic_write(target, "wb", durable=True) as file:
        file.write(buffer.getbuffer())


def _write_coco(folder: Path) -> None:
    lines, file = folder / "segments.jsonl", folder / "annotations.json"
    with saying(file):
        coco.write(read_lines(lines, verify=False), file)

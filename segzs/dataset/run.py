"""What all runs on an output folder share: a lock, the file of settings, and errors of the disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from segzs.errors import OutputError, UsageError
from segzs.files import make_folder

LONGEST_VALUE = 60


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Make an output folder, and lock it against other runs."""
    make_folder(folder)
    lock = FileLock(folder / ".segzs.lock", thread_local=False)  # a generator may be closed by another thread
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


def check_run(
    file: str,
    run: dict[str, Any],
    read: Callable[[], bytes],
    write: Callable[[bytes], None],
    *,
    may_grow: bool = False,
) -> None:
    """Write what a run depends on to a file, or check that the run in the folder depends on the same.

    ``run`` has values for JSON, with ``format`` and ``images``, their number, among them; that one may change if
    ``may_grow``. ``read`` and ``write`` are for the file.

    Raises:
        UsageError: the folder holds results of other images or settings.
        OutputError: the file cannot be read, or segzs did not write it.
    """
    text = f"{json.dumps(run, indent=1, ensure_ascii=False)}\n"
    data = text.encode(errors="backslashreplace")  # names that are not UTF-8 become JSON's escapes
    run = json.loads(text)
    try:
        earlier = json.loads(read())
    except FileNotFoundError:
        write(data)
        return
    except (OSError, ValueError) as error:
        raise OutputError(f"{file} cannot be read: {error}; choose another folder") from error
    if not isinstance(earlier, dict) or earlier.get("format") != run["format"]:
        raise OutputError(f"{file} was not written by segzs; choose another folder")
    if earlier.get("folder") != run.get("folder"):
        raise UsageError(
            f"{file} belongs to the directory {earlier.get('folder')}, not {run.get('folder')}; choose another folder, "
            'or, if the directory was moved, change "folder" in this file'
        )
    same = earlier | {"images": run["images"]} if may_grow else earlier
    if changes := _changes(same, run):
        raise UsageError(
            f"{file} belongs to other images or settings ({'; '.join(changes)}); choose another folder, or repeat the "
            "earlier command to resume"
        )
    if same != earlier:
        write(data)


def _changes(earlier: Any, now: Any, name: str = "") -> list[str]:
    """The values that differ, each as a sentence."""
    if earlier == now:
        return []
    if isinstance(earlier, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*earlier, *now])
        return [line for key in keys for line in _changes(earlier.get(key), now.get(key), f"{name}.{key}".strip("."))]
    was, became = (json.dumps(value, ensure_ascii=False) for value in (earlier, now))
    was, became = (text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..." for text in (was, became))
    return [f"{name} was {was}, now {became}"]

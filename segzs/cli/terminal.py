"""Output of the commands: lines and tables on stdout, messages and progress on stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO
from unicodedata import east_asian_width

LONGEST_MESSAGE = 2000
SECONDS_BETWEEN_LINES = 30


def message(text: str, *, quiet: bool = False) -> None:
    """Print one line to stderr, unless ``quiet``; a closed stderr is ignored."""
    if quiet:
        return
    line = " ".join(text.split("\n"))
    try:
        print(f"segzs: {line[:LONGEST_MESSAGE]}", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def print_line(text: str, *, keep_going: bool = False) -> None:
    """Print a line to stdout.

    Args:
        text: the line, or several.
        keep_going: ignore that the reader of stdout has ended (``| head``), because files are written, too.

    Raises:
        BrokenPipeError: the reader has ended, and ``keep_going`` is False.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        if not keep_going:
            raise
        discard(sys.stdout)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows, the first of which is the header, in aligned columns."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        print_line("  ".join(cells).rstrip())


def discard(stream: TextIO) -> None:
    """Send everything else that is written to a broken stream, also when Python exits, to the null device."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def progress(
    total: int, *, title: str = "", unit: str = " images", quiet: bool = False
) -> Iterator[Callable[..., Any]]:
    """A progress bar on a terminal; a line every 30 seconds where stderr is a file or a pipe.

    Yields:
        a function to be called with the number of items that were completed.
    """
    from tqdm import tqdm

    class Lines(tqdm):
        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            if msg is None:
                message(str(self))

    options: dict[str, Any] = {
        "total": total,
        "desc": f"{title}: " if title else None,
        "unit": unit,
        "leave": False,
        "disable": quiet,
    }
    if not sys.stderr.isatty():
        form = "{desc}{percentage:.0f} %" if unit == "%" else "{desc}{n_fmt} of {total_fmt}{unit}, {rate_fmt}"
        options |= {"bar_format": f"{form}, {{remaining}} left", "file": io.StringIO(), "miniters": 1}
        options |= {"mininterval": SECONDS_BETWEEN_LINES, "delay": SECONDS_BETWEEN_LINES}
    with (tqdm if sys.stderr.isatty() else Lines)(**options) as bar:
        yield bar.update


@contextmanager
def share_progress(title: str = "", *, quiet: bool = False) -> Iterator[Callable[[float], None]]:
    """`progress` for work that reports the share done, from 0 to 1."""
    percent = 0
    with progress(100, title=title, unit="%", quiet=quiet) as advance:

        def report(share: float) -> None:
            nonlocal percent
            advance(round(100 * share) - percent)
            percent = round(100 * share)

        yield report


def _width(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)

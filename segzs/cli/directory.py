"""``segzs label DIR``: a directory into a folder, with progress."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from segzs.cli.options import generator_options
from segzs.errors import PromptError

if TYPE_CHECKING:
    from segzs.dataset.listing import ImageList
    from segzs.segmenter import Segmenter

SECONDS_BETWEEN_LINES = 30


def pictures_of(parsed: argparse.Namespace) -> ImageList | None:
    """The pictures of the directory that ``segzs label`` is asked for, or None where it is asked for files.

    Raises:
        PromptError: an option does not go with that.
        ImageError: there is no picture.
    """
    (first, *others) = parsed.images
    if others or not Path(first).is_dir():
        if parsed.glob or parsed.overlays:
            raise PromptError("--glob and --overlays go with a directory; give one, and nothing beside it")
        return None
    if not parsed.out:
        raise PromptError(f"{first} is a directory; say with --out DIR where its results go")
    if parsed.objects:
        raise PromptError(f"{first} is a directory, where every object is asked for; leave out --point and --box")
    if parsed.map:
        raise PromptError(
            f"--map goes with picture files, and {first} is a directory; give its files, as {first}/*.jpg"
        )
    from segzs.dataset.listing import list_images

    return list_images(first, glob=parsed.glob)


def label(segmenter: Segmenter, pictures: ImageList, parsed: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Label a directory and return the exit status: 1 where pictures failed."""
    from segzs.dataset.directory import label_directory
    from segzs.dataset.journal import Failure
    from segzs.dataset.labeller import Labeller
    from segzs.formats.native import to_line

    out, failed = Path(parsed.out), 0
    known: set[str] = set()
    labeller = Labeller.of(segmenter, **generator_options(parsed))
    report: Callable[[str], None] = (lambda text: None) if parsed.quiet else say
    with (
        closing(label_directory(labeller, pictures, out, overlays=parsed.overlays, on_known=known.add)) as results,
        progress(len(pictures), report, sys.stderr.isatty() and not parsed.quiet) as advance,
    ):
        for result in results:
            if isinstance(result, Failure):
                failed += 1
                say(f"error: {result.file}: {result.reason}")
            elif parsed.json:
                print(to_line(result).decode(), end="", flush=True)
            advance(known=result.file in known)
            known.clear()
    done = f"{len(pictures) - failed} of {len(pictures)} pictures labelled: {out / 'segments.jsonl'}"
    report(f"{done}; {failed} failed: {out / 'failures.jsonl'}" if failed else done)
    return 1 if failed else 0


@contextmanager
def progress(total: int, say: Callable[[str], None], on_terminal: bool) -> Iterator[Callable[..., None]]:
    """A bar on a terminal; elsewhere a line now and then.

    What it gives is called when so many more are done. Those that are ``known`` from an earlier run, and the time that
    they take, say nothing of the pace.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    bar = Progress(*columns, console=Console(file=sys.stderr), transient=True, disable=not on_terminal)
    task = bar.add_task("", total=total, pace="")
    done, new, spent = 0, 0, 0.0
    said = last = time.monotonic()

    def advance(by: int = 1, *, known: bool = False) -> None:
        nonlocal done, new, spent, said, last
        now = time.monotonic()
        done += by
        if not known:
            new, spent = new + by, spent + now - last
        last = now
        pace = _pace(new, spent, total - done)
        bar.update(task, advance=by, pace=pace)
        if not on_terminal and now - said >= SECONDS_BETWEEN_LINES:
            said = now
            say(f"{done} of {total}, {pace}" if pace else f"{done} of {total}")

    try:
        with bar:
            yield advance
    except KeyboardInterrupt:
        say(f"{done} of {total} pictures done; the same command goes on from there")
        raise


def _pace(pictures: int, seconds: float, left: int) -> str:
    """How fast so many pictures went, and how long so many others will take; nothing where none went.

    >>> _pace(90, 60, 9), _pace(2, 90, 1), _pace(0, 0, 9)
    ('1.50 pictures/s, 0:00:06 left', '45 s a picture, 0:00:45 left', '')
    """
    if not pictures:
        return ""
    each = max(seconds, 1e-9) / pictures
    rate = f"{1 / each:.2f} pictures/s" if each < 10 else f"{each:.0f} s a picture"
    return f"{rate}, {timedelta(seconds=ceil(left * each))} left"

"""What a long search shows meanwhile: a bar on the terminal's stderr, and nothing where that is a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(quiet: bool, what: str | None = None) -> Iterator[Callable[[float], object]]:
    """Something to call with the share that is done, from 0 to 1."""
    from tqdm import tqdm

    with tqdm(total=100, unit="%", desc=what, leave=False, disable=quiet or not sys.stderr.isatty()) as bar:
        yield lambda share: bar.update(round(share * 100) - bar.n)

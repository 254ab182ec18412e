"""Timing in turn: A B A B ..., so that what the machine does meanwhile falls on both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median


class NotHereError(Exception):
    """What a row needs is not on this machine; the message says what."""


@dataclass(frozen=True)
class Row:
    """Something that segzs and a peer both do.

    ``prepare`` loads what both need and returns the two to be timed, or raises `NotHereError`; ``check`` then says how
    alike their answers are.
    """

    name: str
    what: str
    peer: str
    target: str
    prepare: Callable[[], tuple[Callable[[], object], Callable[[], object]]]
    check: Callable[[object, object], str] = lambda ours, theirs: ""
    repeats: int = 5


@dataclass
class Timing:
    """Seconds of one side."""

    seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return " / ".join(_shown(value) for value in (min(self.seconds), median(self.seconds), max(self.seconds)))


@dataclass(frozen=True)
class Result:
    row: Row
    ours: Timing
    peer: Timing
    alike: str

    @property
    def ratio(self) -> float:
        return median(self.peer.seconds) / median(self.ours.seconds)


def measure(row: Row, repeats: int | None = None) -> Result:
    """Run both sides once to warm up, then in turn."""
    ours, peer = row.prepare()
    answers = ours(), peer()
    timings = Timing(), Timing()
    for _ in range(repeats or row.repeats):
        for run, timing in zip((ours, peer), timings, strict=True):
            start = time.perf_counter()
            run()
            timing.seconds.append(time.perf_counter() - start)
    return Result(row, *timings, row.check(*answers))


def _shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"

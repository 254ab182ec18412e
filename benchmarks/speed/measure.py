"""Time two sides in turn, A B A B ..., so that other load affects both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any


class MissingError(Exception):
    """Something that a row needs is not on this machine."""


@dataclass(frozen=True)
class Row:
    """A task of segzs and of a peer.

    ``prepare`` returns the functions of segzs and of the peer, or raises `MissingError`; ``check`` describes how well
    their results agree.
    """

    name: str
    what: str
    peer: str
    target: str
    prepare: Callable[[], tuple[Callable[[], object], Callable[[], object]]]
    check: Callable[[Any, Any], str] = lambda ours, theirs: ""
    repeats: int = 5


@dataclass
class Timing:
    """Seconds of each run of one side."""

    seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return " / ".join(_format(value) for value in (min(self.seconds), median(self.seconds), max(self.seconds)))


@dataclass(frozen=True)
class Result:
    row: Row
    ours: Timing
    peer: Timing
    agreement: str

    @property
    def ratio(self) -> float:
        return median(self.peer.seconds) / median(self.ours.seconds)


def measure(row: Row, repeats: int | None = None) -> Result:
    """Run both sides once to warm up, then time them in turn."""
    ours, peer = row.prepare()
    results = ours(), peer()
    timings = Timing(), Timing()
    for _ in range(repeats or row.repeats):
        for run, timing in zip((ours, peer), timings, strict=True):
            start = time.perf_counter()
            run()
            timing.seconds.append(time.perf_counter() - start)
    return Result(row, *timings, row.check(*results))


def _format(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"

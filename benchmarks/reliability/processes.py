"""Results in other processes, compared with those of the process that loaded the models.

``python -m benchmarks.reliability.processes`` forks, spawns, and starts workers of a DataLoader, of joblib and of
gunicorn (``pip install joblib gunicorn``). Before, the models were used here, as that is what makes forks hang.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

import segzs
from benchmarks.reliability.load import LABELS, calls

SECONDS = 300
NUMBERS = (0, 1, 2, 5)
"""Calls that are compared: clicks, a box with three masks, other labels, a given region."""
PORT = 8791

_calls: list[Callable[[], object]] = []


def prepare(segmenter: segzs.Segmenter) -> None:
    """Keep the calls of a segmenter for `work`."""
    warnings.simplefilter("ignore", segzs.SegzsWarning)
    _calls[:] = calls(segmenter)


def work(number: int) -> str:
    """The result of a call, as text."""
    return json.dumps(_calls[number](), default=repr)


def pool(kind: str, segmenter: segzs.Segmenter) -> list[str]:
    """Results of a pool of two processes; a spawned one gets the segmenter pickled."""
    given = {} if kind == "fork" else {"initializer": prepare, "initargs": (segmenter,)}
    with multiprocessing.get_context(kind).Pool(2, **given) as processes:
        return processes.map_async(work, NUMBERS).get(SECONDS)


class Results(Dataset[str]):
    """Results of calls as items of a data set."""

    def __len__(self) -> int:
        return len(NUMBERS)

    def __getitem__(self, index: int) -> str:
        return work(NUMBERS[index])


def with_joblib(segmenter: segzs.Segmenter) -> list[str]:
    """Results of joblib's processes, to which it pickles the segmenter."""
    from joblib import Parallel, delayed

    return Parallel(2, timeout=SECONDS)(delayed(_prepare_and_work)(segmenter, number) for number in NUMBERS)


def _prepare_and_work(segmenter: segzs.Segmenter, number: int) -> str:
    prepare(segmenter)
    return work(number)


def application() -> Callable[[dict[str, Any], Callable[..., object]], Iterable[bytes]]:
    """A WSGI application that gunicorn loads and uses before it forks."""
    prepare(segzs.load(labels=LABELS, cache=False))
    work(NUMBERS[0])

    def answer(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps([os.getpid(), work(int(environ["PATH_INFO"].strip("/")))]).encode()]

    return answer


def with_gunicorn() -> list[str]:
    """Results of two workers of gunicorn that were forked after the models had been used."""
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--timeout", f"{SECONDS}"]
    command += ["--bind", f"127.0.0.1:{PORT}", "--log-level", "error", f"{__spec__.name}:application()"]
    server = subprocess.Popen(command)
    try:
        answers = _ask(time.monotonic() + SECONDS)
        processes: set[int] = set()
        results: dict[int, str] = {}
        while len(processes) < 2 or len(results) < len(NUMBERS):
            number, process, result = next(answers)
            processes.add(process)
            assert results.setdefault(number, result) == result, "two workers differ"
        return [results[number] for number in NUMBERS]
    finally:
        server.terminate()
        server.wait()


def _ask(end: float) -> Iterator[tuple[int, int, str]]:
    """Number, process and result of one request after the other."""
    while time.monotonic() < end:
        for number in NUMBERS:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/{number}", timeout=SECONDS) as reply:
                    yield (number, *json.load(reply))
            except OSError:  # it still loads
                time.sleep(1)
    raise TimeoutError("gunicorn did not answer")


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)  # as in forked processes
    torch.multiprocessing.set_sharing_strategy("file_system")  # forkserver takes at most 256 file descriptors
    segmenter = segzs.load(labels=LABELS, cache=False)
    prepare(segmenter)
    expected = [work(number) for number in NUMBERS]
    ways: dict[str, Callable[[], list[str]]] = {
        **{kind: lambda kind=kind: pool(kind, segmenter) for kind in ("fork", "spawn", "forkserver")},
        "DataLoader": lambda: list(DataLoader(Results(), None, num_workers=2, timeout=SECONDS)),
        "joblib": lambda: with_joblib(segmenter),
        "gunicorn": with_gunicorn,
    }
    failed = 0
    for name, results in ways.items():
        start = time.monotonic()
        differ = sum(result != right for result, right in zip(results(), expected, strict=True))
        failed += bool(differ)
        print(
            f"{name}: 2 processes, {len(expected)} calls, {differ} differ ({time.monotonic() - start:.0f} s)",
            flush=True,
        )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())

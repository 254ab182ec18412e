"""segzs and the predictors of SAM's and SAM 2's authors on a GPU: ``python -m benchmarks.speed.accelerator``.

Random weights: only the times and their ratios mean something. segzs computes in bfloat16 where the GPU can, and so
does SAM 2's predictor under autocast, as its authors advise; SAM's predictor computes in float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.speed.__main__ import table
from benchmarks.speed.contest import Contest, of_sam, of_sam2
from benchmarks.speed.measure import MissingError, Row, measure

CONTESTS: dict[str, Callable[..., Contest]] = {
    "ViT-B": of_sam,
    "SAM 2.1 base-plus": partial(of_sam2, "hiera_base_plus"),
    "SAM 2.1 tiny": partial(of_sam2, "hiera_tiny"),
}
TASKS = {
    "encode": Contest.encoding,
    "one click, three masks": Contest.one_click,
    "64 clicks at once": Contest.many_clicks,
    "everything, 32x32 grid": Contest.everything,
}


def rows(device: str, contests: dict[str, Callable[..., Contest]] = CONTESTS) -> Iterator[Row]:
    """A row for each model and task; a model is built when its first row is measured."""
    for model, build in contests.items():
        contest = build(device=device)
        for task, prepare in TASKS.items():
            peer = type(contest.predictor).__name__
            yield Row(task, f"{task}, {model}", f"`{peer}`", "", partial(synchronised, contest, prepare, device))


def synchronised(contest: Contest, prepare: Callable[..., Any], device: str) -> tuple[Callable[[], Any], ...]:
    """Both sides of a task, each waiting for the device."""
    ours, peer = prepare(contest)

    def timed(run: Callable[[], Any]) -> None:
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    def theirs() -> None:
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=contest.autocast):
            timed(peer)

    return partial(timed, ours), theirs


def main(arguments: Sequence[str] | None = None, contests: dict[str, Callable[..., Contest]] = CONTESTS) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda"):
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    print("\n".join(table([]).splitlines()), flush=True)
    for model, build in contests.items():
        try:
            for row in rows(options.device, {model: build}):
                print(table([measure(row, options.repeats)]).splitlines()[-1], flush=True)
        except MissingError as error:
            print(f"Not measured: {model}: {error}.", flush=True)


if __name__ == "__main__":
    main()

"""Rates of one and of two Ray workers, on an idle machine: ``python -m benchmarks.speed.cluster``."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

os.environ |= {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}  # inherited by the workers

from benchmarks.speed.directory import draw
from segzs.dataset.cluster import label_cluster
from segzs.dataset.labeller import load_labeller


def rates(load: partial, photos: Path, actors: int, part: int) -> tuple[float, float]:
    """Images per second: after the first part of every worker, and including the start of the workers."""
    done: list[tuple[float, int]] = []
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        for each in label_cluster(load, photos, out, actors=actors, part=part):
            done.append((time.perf_counter() - begun, each.labelled + len(each.failures)))
    (warm, _), (end, _) = done[actors - 1], done[-1]
    return sum(count for _, count in done[actors:]) / (end - warm), sum(count for _, count in done) / end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--part", type=int, default=20)
    parser.add_argument("--points-per-side", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.images < 4 * arguments.part:
        parser.error("--images must be at least 4 parts")
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    load = partial(load_labeller, arguments.model, everything={"points_per_side": arguments.points_per_side})
    measured: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as photos:
        draw(Path(photos), arguments.images, bad=0)
        for _ in range(arguments.repeats):
            for actors, runs in measured.items():  # in turn, so that other load affects both
                runs.append(rates(load, Path(photos), actors, arguments.part))
                print(f"{actors} worker(s): {runs[-1][0]:.2f} images/s, {runs[-1][1]:.2f} with the start", flush=True)
    one, two = (median(rate for rate, _ in runs) for runs in measured.values())
    print(f"two workers / one: {two / one:.2f} x ({one:.2f} and {two:.2f} images/s, medians of {arguments.repeats})")


if __name__ == "__main__":
    main()

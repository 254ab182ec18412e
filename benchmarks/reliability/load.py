"""Mixed calls from many threads, compared with the same calls one after the other.

``python -m benchmarks.reliability.load --threads 8 --calls 200`` makes so many calls in each thread.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import numpy as np
import torch

import segzs
from segzs import Prompt
from segzs.cache import EmbeddingCache

POINT, BOX = Prompt.point(64, 48), Prompt.box(10, 10, 60, 50)
LABELS = ("red square", "blue disc", "key", "apple")


def images(count: int = 4) -> list[np.ndarray]:
    """Small drawings: rectangles of random colours."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(count):
        pixels = np.full((96, 128, 3), 230, np.uint8)
        for x, y in rng.integers(0, 60, (4, 2)):
            pixels[y : y + 30, x : x + 40] = rng.integers(0, 200, 3)
        drawn.append(pixels)
    return drawn


def calls(segmenter: segzs.Segmenter) -> list[Callable[[], object]]:
    """Calls of all kinds; each returns plain values that can be compared."""
    other = segmenter.with_labels(LABELS[:2])

    def segment(model: segzs.Segmenter, pixels: np.ndarray, *prompts: Prompt, **options: bool) -> object:
        return model.segment(model.encode(pixels), prompts, **options).to_dict()

    def everything(pixels: np.ndarray) -> object:
        return segmenter.everything(segmenter.encode(pixels), points_per_side=4).to_dict()

    made: list[Callable[[], object]] = []
    for pixels in images():
        made += [
            lambda pixels=pixels: segment(segmenter, pixels, POINT),
            lambda pixels=pixels: segment(segmenter, pixels, POINT, BOX, multimask=True),
            lambda pixels=pixels: segment(other, pixels, BOX, Prompt([(20, 20), (90, 70)], [True, False])),
            lambda pixels=pixels: everything(pixels),
            lambda pixels=pixels: segmenter.find(segmenter.encode(pixels), "apple", points_per_side=3).to_dict(),
            lambda pixels=pixels: segmenter.classify(pixels),
            lambda pixels=pixels: segmenter.regions(segmenter.encode(pixels), [[5, 5, 70, 60]]).to_dict(),
        ]
    return made


def run(threads: int, count: int) -> tuple[int, int]:
    """The number of calls, and of those whose result differs from the one without threads."""
    serial = segzs.load(labels=LABELS, cache=False)
    expected = [call() for call in calls(serial)]
    shared = calls(serial.with_cache(EmbeddingCache()))  # no embedding is kept from before

    def work(seed: int) -> int:
        chance = Random(seed)
        return sum(shared[number]() != expected[number] for number in chance.choices(range(len(shared)), k=count))

    with ThreadPoolExecutor(threads) as pool:
        return threads * count, sum(pool.map(work, range(threads)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=200, help="of each thread")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", segzs.SegzsWarning)
    torch.set_num_threads(1)
    start = time.monotonic()
    made, different = run(arguments.threads, arguments.calls)
    print(f"{made} calls in {arguments.threads} threads, {different} differ ({time.monotonic() - start:.0f} s)")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())

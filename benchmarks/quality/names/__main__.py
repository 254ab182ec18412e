"""Ideas for better names against plain naming: ``python -m benchmarks.quality.names --packs PACKS --scratch DIR``.

All figures are of exact masks and of the labels that the objects have, besides "unknown". Intervals are 95 % of a
bootstrap over images; gains are differences from plain naming on the same objects. Seconds are CPU time.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch

import segzs
from benchmarks.quality.names.ideas import IDEAS, corrected, levels
from benchmarks.quality.names.objects import Objects, drawings_of, photographs_of, recurring_of
from benchmarks.quality.names.queries import recalls
from segzs.evaluate.report import markdown
from segzs.evaluate.statistics import Estimate, estimate, estimate_mean
from training.packs import Packs, add_packs_argument

SCENES = 150
CORRECTIONS, SEEDS = 10, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_packs_argument(parser)
    parser.add_argument("--scratch", type=Path, required=True, help="a folder for features, which are encoded once")
    parser.add_argument("--inputs", type=Path, metavar="DIR", help="see training.pretrained: WordNet, for parents")
    parser.add_argument("--scenes", type=int, default=SCENES, help=f"of drawings (default {SCENES})")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore", segzs.UnfamiliarWarning)
    segmenter = segzs.load("tiny", cache=False)
    packs, scratch = arguments.packs, arguments.scratch
    kinds = {
        "photographs": photographs_of(segmenter, packs, scratch),
        "drawings": drawings_of(segmenter, packs, scratch, arguments.scenes),
        "drawings that recur": recurring_of(segmenter, packs, scratch, arguments.scenes),
    }
    table(segmenter, kinds)
    corrections(segmenter, kinds)
    if arguments.inputs:
        hierarchy(segmenter, kinds, arguments.inputs)
    search(segmenter, packs)


def table(segmenter: segzs.Segmenter, kinds: dict[str, Objects]) -> None:
    rows = [("idea", "objects of", "top-1", "gain", "mean over names", "gain", "seconds an image")]
    for kind, objects in kinds.items():
        truth = np.array(objects.names)
        before = None
        for idea, name in IDEAS.items():
            if idea.startswith("views") and not len(objects.views):
                continue
            started = time.process_time()
            right = (np.array(name(segmenter.clip, objects)) == truth).astype(float)
            seconds = time.process_time() - started + objects.seconds
            seconds += objects.view_seconds if idea.startswith("views") else 0
            before = right if before is None else before
            first, mean = (
                estimate_mean(right, objects.images),
                estimate(partial(over_names, right, truth), objects.images),
            )
            gains = [
                estimate_mean(right - before, objects.images),
                estimate(partial(over_names, right - before, truth), objects.images),
            ]
            cost = f"{seconds / (objects.images.max() + 1):.2f}"
            rows.append((idea, kind, figure(first), figure(gains[0]), figure(mean), figure(gains[1]), cost))
    print(markdown(rows), end="\n\n")


def corrections(segmenter: segzs.Segmenter, kinds: dict[str, Objects]) -> None:
    rows = [("top-1 of the others", "objects", "plain", f"{CORRECTIONS} examples", f"refine with {CORRECTIONS} names")]
    for kind, objects in kinds.items():
        truth = np.array(objects.names)
        before = np.array(IDEAS["plain"](segmenter.clip, objects)) == truth
        shares = []
        for seed in range(SEEDS):
            examples, spread, others = corrected(segmenter.clip, objects, CORRECTIONS, seed)
            shares.append(
                [
                    (right & others).sum() / others.sum()
                    for right in (before, np.array(examples) == truth, np.array(spread) == truth)
                ]
            )
        rows.append((kind, str(len(truth)), *(f"{share:.3f}" for share in np.mean(shares, 0))))
    print(markdown(rows), end="\n\n")


def hierarchy(segmenter: segzs.Segmenter, kinds: dict[str, Objects], inputs: Path) -> None:
    rows = [("names without a list", "objects of", "right at its level", "bits of a name")]
    for kind in ("photographs", "drawings"):
        objects = kinds[kind]
        for idea, values in levels(segmenter.clip, objects, inputs).items():
            right, bits = (estimate_mean(values[key], objects.images) for key in ("right", "bits"))
            rows.append((idea, kind, figure(right), f"{bits.value:.2f} ({bits.interval(2)})"))
    print(markdown(rows), end="\n\n")


def search(segmenter: segzs.Segmenter, packs: Packs) -> None:
    rows = [("search", "recall@1", "95 % interval")]
    for way, hits in recalls(segmenter, packs).items():
        one = estimate_mean(hits, np.arange(len(hits)))
        rows.append((way, f"{one.value:.3f}", one.interval()))
    print(markdown(rows))


def over_names(right: np.ndarray, names: np.ndarray, weights: np.ndarray) -> float:
    """The mean over names of the mean of their objects."""
    _, rows = np.unique(names, return_inverse=True)
    counts = np.bincount(rows, weights)
    means = np.bincount(rows, weights * right)[counts > 0] / counts[counts > 0]
    return float(means.mean())


def figure(one: Estimate) -> str:
    return f"{one.value:.3f} ({one.interval()})"


if __name__ == "__main__":
    main()

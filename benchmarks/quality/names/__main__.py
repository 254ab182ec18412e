"""Ideas for better names against plain naming: ``python -m benchmarks.quality.names --packs PACKS --scratch DIR``.

All figures are of exact masks and of the labels that the objects have, besides "unknown". Intervals are 95 % of a
bootstrap over images; gains are differences from plain naming on the same objects. Seconds are CPU time. An idea is
part of segzs if it gains `LEAST_GAIN` on one kind of objects.
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
from benchmarks.quality.names.ideas import IDEAS, corrected, levels, plain
from benchmarks.quality.names.objects import VIEWED, Objects, drawings_of, photographs_of, recurring_of
from benchmarks.quality.names.queries import Queries, other_colours, other_places
from segzs.evaluate.report import markdown
from segzs.evaluate.statistics import Estimate, estimate, estimate_mean
from training.packs import add_packs_argument

SCENES = 150
CORRECTIONS, SEEDS = 10, 5
LEAST_GAIN = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_packs_argument(parser)
    parser.add_argument("--scratch", type=Path, required=True, help="a folder for features, which are encoded once")
    parser.add_argument("--inputs", type=Path, metavar="DIR", help="see training.pretrained: WordNet, for parents")
    parser.add_argument("--scenes", type=int, default=SCENES, help=f"of drawings (default {SCENES})")
    arguments = parser.parse_args()
    started, processed = time.perf_counter(), time.process_time()
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore", segzs.UnfamiliarWarning)
    segmenter = segzs.load("tiny", cache=False)
    packs, scratch = arguments.packs, arguments.scratch
    kinds = {
        "photographs": photographs_of(segmenter, packs, scratch),
        "drawings": drawings_of(segmenter, packs, scratch, arguments.scenes),
        "drawings that recur": recurring_of(segmenter, packs, scratch, arguments.scenes),
    }
    for kind, objects in kinds.items():
        print(f"{kind}: {objects.images.max() + 1} images, {len(objects.names)} objects, {len(objects.labels)} labels")
    print()
    table(segmenter, kinds)
    corrections(segmenter, kinds)
    if arguments.inputs:
        hierarchy(segmenter, kinds, arguments.inputs)
    search("another colour", other_colours(segmenter, packs))
    search("another place", other_places(segmenter, kinds["photographs"]))
    print(f"{time.process_time() - processed:.0f} s of CPU time, {time.perf_counter() - started:.0f} s in all")


def table(segmenter: segzs.Segmenter, kinds: dict[str, Objects]) -> None:
    rows = [("idea", "objects of", "top-1", "gain", "mean over names", "gain", "seconds an image", "two points gained")]
    for idea, name in IDEAS.items():
        for kind, objects in kinds.items():
            seconds = objects.seconds
            if idea.startswith("views"):
                kind, objects = f"{VIEWED} {kind}", objects.viewed()
                seconds += objects.view_seconds
            if not objects.names:
                continue
            truth, images = np.array(objects.names), objects.images
            before = (np.array(plain(segmenter.clip, objects)) == truth).astype(float)
            started = time.process_time()
            right = (np.array(name(segmenter.clip, objects)) == truth).astype(float)
            cost = (time.process_time() - started) / (images.max() + 1)
            gain = estimate_mean(right - before, images)
            means = [estimate(partial(over_names, values, truth), images) for values in (before, right, right - before)]
            first, blank = f"{objects.seconds:.2f}", ""
            rows.append(
                ("plain", kind, figure(estimate_mean(before, images)), blank, figure(means[0]), blank, first, blank)
            )
            after = figure(estimate_mean(right, images)), figure(gain), figure(means[1]), figure(means[2])
            rows.append((idea, kind, *after, f"{seconds + cost:.2f}", decision(gain.value)))
    print(markdown(rows), end="\n\n")


def corrections(segmenter: segzs.Segmenter, kinds: dict[str, Objects]) -> None:
    rows = [("top-1 of the others", "objects", "plain", f"{CORRECTIONS} examples", f"refine with {CORRECTIONS} names")]
    for kind, objects in kinds.items():
        truth = np.array(objects.names)
        before = np.array(plain(segmenter.clip, objects)) == truth
        shares = []
        for seed in range(SEEDS):
            examples, spread, others = corrected(segmenter.clip, objects, CORRECTIONS, seed)
            shares.append(
                [right[others].mean() for right in (before, np.array(examples) == truth, np.array(spread) == truth)]
            )
        rows.append((kind, str(len(truth)), *(f"{share:.3f}" for share in np.mean(shares, 0))))
    print(markdown(rows), end="\n\n")


def hierarchy(segmenter: segzs.Segmenter, kinds: dict[str, Objects], inputs: Path) -> None:
    rows = [("names without a list", "objects of", "right at its level", "gain", "bits of a name", "two points gained")]
    for kind in ("photographs", "drawings"):
        images, measured = kinds[kind].images, levels(segmenter.clip, kinds[kind], inputs)
        for idea, values in measured.items():
            right, bits = (estimate_mean(values[key], images) for key in ("right", "bits"))
            gain = estimate_mean(values["right"] - measured["flat"]["right"], images)
            compared = ("", "") if idea == "flat" else (figure(gain), decision(gain.value))
            rows.append((idea, kind, figure(right), compared[0], f"{bits.value:.2f} ({bits.interval(2)})", compared[1]))
    print(markdown(rows), end="\n\n")


def search(wanted: str, queries: Queries) -> None:
    rows = [(f"query for {wanted}", "recall@1", "95 % interval")]
    for way, hits in queries.hits().items():
        one = estimate_mean(hits, queries.groups)
        rows.append((way, f"{one.value:.3f}", one.interval()))
    print(markdown(rows), end="\n\n")


def over_names(right: np.ndarray, names: np.ndarray, weights: np.ndarray) -> float:
    """The mean over names of the mean of their objects."""
    _, rows = np.unique(names, return_inverse=True)
    counts = np.bincount(rows, weights)
    means = np.bincount(rows, weights * right)[counts > 0] / counts[counts > 0]
    return float(means.mean())


def decision(gain: float) -> str:
    return "yes" if gain >= LEAST_GAIN else "no"


def figure(one: Estimate) -> str:
    return f"{one.value:.3f} ({one.interval()})"


if __name__ == "__main__":
    main()

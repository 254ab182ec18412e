"""Measure maps and merging: ``python -m training.maps`` prints the mean IoU of maps, and what merging changes."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

import segzs
from segzs.clip.crops import encode_masks
from segzs.masks import RLE, iou
from segzs.postprocess.maps import SemanticMap, semantic_map
from segzs.postprocess.merging import merge_segments, suppress_nested
from segzs.segments import UNKNOWN, Segments
from training.evaluate import HEIGHT, SMALLEST_VISIBLE, WIDTH, Scores, markdown
from training.packs import TRAINING_STYLES, UNSEEN_STYLE, Packs, add_packs_argument
from training.prompts import visible_labels
from training.scenes import MEASURED, Compositor, Scene

DISTRACTORS = 12
RESAMPLES = 1000


def mean_iou(of_pixels: SemanticMap, truth: dict[str, np.ndarray]) -> float:
    """The mean over the true labels, "unknown" among them, of the IoU with where the map has them."""
    result = {label: of_pixels.mask(label) for label in truth}
    return float(np.mean([(result[x] & truth[x]).sum() / max((result[x] | truth[x]).sum(), 1) for x in truth]))


def truth_of(scene: Scene, names: dict[str, str]) -> dict[str, np.ndarray]:
    """Where each label is in a scene: bool (H, W), the background "unknown"."""
    truth = {UNKNOWN: scene.instances == 0}
    for index, code in enumerate(scene.codes):
        if scene.mask(index).any():
            name = names[code or ""]
            truth[name] = truth.get(name, False) | scene.mask(index)
    return truth


def measure_map(
    segmenter: segzs.Segmenter,
    photo: segzs.EncodedImage,
    result: Segments,
    truth: dict[str, np.ndarray],
    scores: Scores,
) -> None:
    """Add the mean IoU of a scene's map, and of those of masks alone and of dense features alone."""
    result, labels = segmenter.name(result), segmenter.vocabulary.labels
    seen = segmenter.semantic(photo, Segments(photo.image, ()), min_confidence=0)
    scores.add("mean IoU: masks, then dense features", [mean_iou(segmenter.semantic(photo, result), truth)])
    scores.add("mean IoU: masks alone", [mean_iou(semantic_map(result, labels), truth)])
    scores.add("mean IoU: dense features alone", [mean_iou(seen, truth)])
    scores.add('mean IoU: "unknown" everywhere', [mean_iou(semantic_map(Segments(photo.image, ()), labels), truth)])


def measure_merging(segmenter: segzs.Segmenter, result: Segments, truths: Sequence[RLE], scores: Scores) -> None:
    """Add recall and precision at IoU 0.75 of segments as generated, without repeats, and merged."""

    def name(masks: Sequence[RLE]) -> list[tuple[segzs.Name, ...]]:
        features = encode_masks(segmenter.clip, result.image.pixels, masks, segmenter.region_encoder.cropping)
        return segmenter.classifier.names(features)

    for how, items in {
        "generated": result,
        "no repeats": suppress_nested(result),
        "merged": merge_segments(result, name),
    }.items():
        overlap = iou(truths, [segment.rle for segment in items])
        scores.add(f"everything, {how}: recall at IoU 0.75", overlap.max(1, initial=0) >= 0.75)
        scores.add(f"everything, {how}: precision at IoU 0.75", overlap.max(0, initial=0) >= 0.75)
        scores.add(f"everything, {how}: segments a scene", [len(items)])


def measure(segmenter: segzs.Segmenter, packs: Packs, styles: tuple[str, ...], count: int) -> Scores:
    """Scores over fresh scenes of some styles; a scene's vocabulary is its own names and 12 others."""
    compositor = Compositor(packs, replace(MEASURED, styles=styles), np.random.default_rng([2026, *map(len, styles)]))
    names = {concept.code: concept.name for concept in packs.concepts()}
    rng, scores = np.random.default_rng(1), Scores()
    for _ in range(count):
        scene = compositor.scene(HEIGHT, WIDTH)
        truth = truth_of(scene, names)
        others = [name for name in rng.permutation(list(names.values())) if name not in truth][:DISTRACTORS]
        photo = segmenter.encode(scene.pixels)
        result = segmenter.everything(photo)
        among_few = segmenter.with_labels([*(name for name in truth if name != UNKNOWN), *others])
        measure_map(among_few, photo, result, truth, scores)
        truths = [RLE.encode(scene.instances == n) for n in visible_labels(scene.instances, SMALLEST_VISIBLE)]
        measure_merging(segmenter, result, truths, scores)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_packs_argument(parser)
    parser.add_argument("--scenes", type=int, default=60, help="scenes of each kind")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: all)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", segzs.UnfamiliarWarning)
    segmenter = segzs.load("tiny", cache=False)
    kinds = {"training styles": TRAINING_STYLES, f"unseen style ({UNSEEN_STYLE})": (UNSEEN_STYLE,)}
    print(f"{arguments.scenes} scenes of each kind; maps: mean over scenes, 95 % intervals\n", flush=True)
    columns = {}
    for kind, styles in kinds.items():
        scores = measure(segmenter, arguments.packs, styles, arguments.scenes)
        columns[kind] = scores.means()
        for name, values in scores.values.items():
            if name.startswith("mean IoU"):
                low, high = interval(values)
                print(f"{kind}, {name}: {np.mean(values):.3f} ({low:.3f} to {high:.3f})", flush=True)
    print("\n" + markdown(columns))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the mean lies in 95 % of resamples."""
    rng, values = np.random.default_rng(0), np.asarray(values)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()

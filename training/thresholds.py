"""Settings of everything mode for the tiny SAM, compared on fresh scenes: ``python -m training.thresholds``."""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from itertools import product

import numpy as np
import torch

import segzs
from segzs.sam.everything import EverythingOptions, Search, overlaps
from training.evaluate import HEIGHT, SMALLEST_VISIBLE, WIDTH
from training.losses import MASK_STRIDE
from training.packs import TRAINING_STYLES, add_packs_argument
from training.prompts import visible_labels
from training.scenes import MEASURED, Compositor

PREDICTED_IOU = (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)
STABILITY = (0.3, 0.4, 0.5, 0.6, 0.7)
DUPLICATE_IOU = (0.6, 0.7, 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_packs_argument(parser)
    parser.add_argument("--sam", default="tiny", metavar="NAME", help="or tiny:FILE, weights that a run exported")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1, help="of the scenes; those of training.evaluate are others")
    parser.add_argument("--least-recall", type=float, default=0.5, help="leave out settings that find less")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    segmenter = segzs.load("tiny", sam=arguments.sam, cache=False)
    recipe = replace(MEASURED, styles=TRAINING_STYLES)
    compositor = Compositor(arguments.packs, recipe, np.random.default_rng([7, arguments.seed]))
    found, right = defaultdict[tuple, list[bool]](list), defaultdict[tuple, list[bool]](list)
    for _ in range(arguments.scenes):
        scene = compositor.scene(HEIGHT, WIDTH)
        cells = scene.instances[MASK_STRIDE // 2 :: MASK_STRIDE, MASK_STRIDE // 2 :: MASK_STRIDE]
        truths = torch.from_numpy(np.stack([cells == n for n in visible_labels(scene.instances, SMALLEST_VISIBLE)]))
        photo = segmenter.encode(scene.pixels)
        options = EverythingOptions(arguments.points_per_side)
        search = Search(segmenter.sam, photo, options, min(PREDICTED_IOU), min(STABILITY))
        candidates = search.grid(None)
        for setting in product(PREDICTED_IOU, STABILITY, DUPLICATE_IOU):
            predicted_iou, stability, duplicate_iou = setting
            search = replace(search, options=replace(options, duplicate_iou=duplicate_iou))
            masks = search.unique(
                [c for c in candidates if c.predicted_iou >= predicted_iou and c.stability >= stability]
            )
            iou = overlaps(truths, search.visible(masks)) if masks else torch.zeros(len(truths), 1)
            found[setting] += (iou.amax(1) >= 0.75).tolist()
            right[setting] += (iou.amax(0) >= 0.75).tolist() if masks else []
    print("| predicted IoU | stability | duplicates above | recall | precision | F1 | masks |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for setting, hits in found.items():
        recall, precision = np.mean(hits), np.mean(right[setting] or [0])
        f1 = 2 * recall * precision / max(recall + precision, 1e-9)
        rows.append((f1, recall, precision, len(right[setting]) / arguments.scenes, setting))
    for f1, recall, precision, masks, setting in sorted(rows, key=lambda row: -row[0]):
        if recall >= arguments.least_recall:
            print(f"| {' | '.join(map(str, setting))} | {recall:.3f} | {precision:.3f} | {f1:.3f} | {masks:.1f} |")


if __name__ == "__main__":
    main()

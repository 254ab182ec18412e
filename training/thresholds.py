"""Settings of everything mode for the tiny SAM, compared on fresh scenes: ``python -m training.thresholds``.

Each threshold of SAM's scores is measured twice: as it is, and with a CLIP that chooses among masks that reach less.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import torch

import segzs
from segzs.clip.ood import max_similarity
from segzs.masks import RLE, iou
from segzs.postprocess.selection import select_masks
from segzs.sam.mask_generator import Candidate, GeneratorOptions, MaskGenerator, Scores
from segzs.sam.model import SamModel
from training.evaluate import HEIGHT, SMALLEST_VISIBLE, WIDTH
from training.packs import TRAINING_STYLES, UNSEEN_STYLE, add_packs_argument
from training.prompts import visible_labels
from training.scenes import MEASURED, Compositor

PREDICTED_IOU = (0.5, 0.55, 0.6, 0.65)
STABILITY = (0.4, 0.5, 0.6)
STYLES = {"training": TRAINING_STYLES, "unseen": (UNSEEN_STYLE,)}


@dataclass
class Hits:
    """Whether each object was found, and whether each mask is one's."""

    found: list[bool] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def add(self, truths: Sequence[RLE], masks: Sequence[RLE]) -> None:
        overlap = iou(truths, masks) if masks else np.zeros((len(truths), 1))
        self.found += (overlap.max(1) >= 0.75).tolist()
        self.right += (overlap.max(0) >= 0.75).tolist() if masks else []

    def cells(self, scenes: int) -> str:
        """Recall, precision, masks a scene."""
        return f"{np.mean(self.found):.3f} | {np.mean(self.right or [0]):.3f} | {len(self.right) / scenes:.1f}"


def alone(search: MaskGenerator, found: list[Candidate]) -> list[RLE]:
    """What SAM itself is sure of."""
    sure = search.unique([each for each in found if search.is_sure(each)])
    return [masks.rle for masks in replace(search, lenient=False).tidied(sure)]


def chosen(search: MaskGenerator, found: list[Candidate], segmenter: segzs.Segmenter) -> list[RLE]:
    """What CLIP chooses where SAM may be less sure."""
    least = search.least
    some = [e for e in found if e.predicted_iou >= least.predicted_iou and e.stability_score >= least.stability_score]
    masks, clip = search.tidied(search.unique(some)), segmenter.clip
    if not masks:
        return []
    rles = [each.rle for each in masks]
    known = max_similarity(clip, segmenter.region_encoder.encode(search.encoded.image, rles))
    return [rles[index] for index in select_masks(masks, known, search.sam.spec, clip.spec.ood_threshold or 0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_packs_argument(parser)
    parser.add_argument("--sam", default="tiny", metavar="NAME", help="or tiny:FILE, weights that a run exported")
    parser.add_argument("--styles", choices=STYLES, default="training")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1, help="of the scenes; those of training.evaluate are others")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    segmenter = segzs.load("tiny", sam=arguments.sam, cache=False)
    recipe = replace(MEASURED, styles=STYLES[arguments.styles])
    compositor = Compositor(arguments.packs, recipe, np.random.default_rng([7, arguments.seed]))
    of_sam, of_clip = defaultdict[Scores, Hits](Hits), defaultdict[Scores, Hits](Hits)
    settings = [Scores(*setting) for setting in product(PREDICTED_IOU, STABILITY)]
    for _ in range(arguments.scenes):
        scene = compositor.scene(HEIGHT, WIDTH)
        labels = visible_labels(scene.instances, SMALLEST_VISIBLE)
        truths = [RLE.encode(scene.instances == label) for label in labels]
        photo, options = segmenter.encode(scene.pixels), GeneratorOptions(arguments.points_per_side)
        searches = [MaskGenerator(_asking(segmenter.sam, each), photo, options, lenient=True) for each in settings]
        found = searches[0].grid(None)  # the first asks for least
        for setting, search in zip(settings, searches, strict=True):
            of_sam[setting].add(truths, alone(search, found))
            of_clip[setting].add(truths, chosen(search, found, segmenter))
    figures = "recall | precision | masks"
    print(f"| predicted IoU | stability | SAM alone: {figures} | CLIP chooses: {figures} |\n|{' --- |' * 8}")
    for setting in settings:
        cells = (hits[setting].cells(arguments.scenes) for hits in (of_sam, of_clip))
        print(f"| {' | '.join(map(str, setting))} | {' | '.join(cells)} |")


def _asking(sam: SamModel, scores: Scores) -> SamModel:
    return replace(sam, spec=replace(sam.spec, **scores._asdict()))


if __name__ == "__main__":
    main()

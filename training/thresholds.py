"""Settings of everything mode for the tiny SAM, compared on fresh scenes: ``python -m training.thresholds``.

Each pair of thresholds is measured twice: with SAM alone, and with a CLIP that selects among masks of lower scores.
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
from segzs.sam.mask_generator import Candidate, GeneratorOptions, MaskGenerator, Thresholds
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
    """Whether each object has a mask, and whether each mask is one's."""

    recalled: list[bool] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def add(self, truths: Sequence[RLE], masks: Sequence[RLE]) -> None:
        overlap = iou(truths, masks) if masks else np.zeros((len(truths), 1))
        self.recalled += (overlap.max(1) >= 0.75).tolist()
        self.right += (overlap.max(0) >= 0.75).tolist() if masks else []

    def cells(self, scenes: int) -> str:
        """Recall, precision, masks a scene."""
        return f"{np.mean(self.recalled):.3f} | {np.mean(self.right or [0]):.3f} | {len(self.right) / scenes:.1f}"


def selected_by_sam(generator: MaskGenerator, candidates: list[Candidate]) -> list[RLE]:
    """The masks that reach the thresholds."""
    passing = generator.unique([each for each in candidates if generator.passes(each)])
    return [mask.rle for mask in replace(generator, lenient=False).finish(passing)]


def selected_by_clip(generator: MaskGenerator, candidates: list[Candidate], segmenter: segzs.Segmenter) -> list[RLE]:
    """The masks that CLIP selects among those of a lenient search."""
    low = generator.keep_thresholds
    kept = [e for e in candidates if e.predicted_iou >= low.predicted_iou and e.stability_score >= low.stability_score]
    masks, clip = generator.finish(generator.unique(kept)), segmenter.clip
    if not masks:
        return []
    rles = [each.rle for each in masks]
    similarity = max_similarity(clip, segmenter.region_encoder.encode(generator.encoded.image, rles))
    indices = select_masks(
        masks,
        similarity.cpu().numpy(),
        predicted_iou_threshold=generator.thresholds.predicted_iou,
        stability_score_threshold=generator.thresholds.stability_score,
        object_threshold=clip.spec.object_threshold or 0,
    )
    return [rles[index] for index in indices]


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
    of_sam, of_clip = defaultdict[Thresholds, Hits](Hits), defaultdict[Thresholds, Hits](Hits)
    settings = [Thresholds(*setting) for setting in product(PREDICTED_IOU, STABILITY)]
    for _ in range(arguments.scenes):
        scene = compositor.scene(HEIGHT, WIDTH)
        labels = visible_labels(scene.instances, SMALLEST_VISIBLE)
        truths = [RLE.encode(scene.instances == label) for label in labels]
        photo, options = segmenter.encode(scene.pixels), GeneratorOptions(arguments.points_per_side)
        generators = [MaskGenerator(_with(segmenter.sam, each), photo, options, lenient=True) for each in settings]
        candidates = generators[0].search(None)  # the first setting has the lowest thresholds
        for setting, generator in zip(settings, generators, strict=True):
            of_sam[setting].add(truths, selected_by_sam(generator, candidates))
            of_clip[setting].add(truths, selected_by_clip(generator, candidates, segmenter))
    figures = "recall | precision | masks"
    print(f"| predicted IoU | stability | SAM alone: {figures} | CLIP chooses: {figures} |\n|{' --- |' * 8}")
    for setting in settings:
        cells = (hits[setting].cells(arguments.scenes) for hits in (of_sam, of_clip))
        print(f"| {' | '.join(map(str, setting))} | {' | '.join(cells)} |")


def _with(sam: SamModel, thresholds: Thresholds) -> SamModel:
    return replace(sam, spec=replace(sam.spec, **thresholds._asdict()))


if __name__ == "__main__":
    main()

"""Accuracy against examples a label, on labels whose words do badly: ``python -m training.shots``.

Every object is drawn anew: turned, mirrored, of another size, on another background, half hidden by another one. Labels
are chosen by some drawings, examples and measured objects are others; all of a style that the embedded CLIP never saw.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

import segzs
from segzs.checkpoints.registry import PRESETS
from segzs.clip.crops import crops
from segzs.clip.image_features import encode_images
from segzs.clip.support_set import SupportSet
from segzs.masks import RLE
from training.evaluate import SMALLEST_VISIBLE, markdown
from training.packs import UNSEEN_STYLE, Packs, add_packs_argument
from training.prompts import visible_labels
from training.scenes import MEASURED, Compositor

SIDE = 224
SHOTS = (0, 1, 2, 4, 8, 16)
DRAWINGS = replace(MEASURED, styles=(UNSEEN_STYLE,), objects=(2, 2), size=(0.4, 0.9))


@dataclass(frozen=True)
class Drawn:
    """Objects as CLIP sees them: normalised features (N, width), and the row of each one's name."""

    features: Tensor
    rows: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> Drawn:
        return Drawn(self.features[chosen], self.rows[chosen])


def drawn(segmenter: segzs.Segmenter, packs: Packs, rows: set[int], scenes: int, seed: int) -> Drawn:
    """Objects of some concepts, two a scene, by their true visible masks."""
    concepts = packs.concepts()
    row_of = {concept.code: row for row, concept in enumerate(concepts)}
    recipe = replace(DRAWINGS, codes=frozenset(concepts[row].code for row in rows))
    compositor = Compositor(packs, recipe, np.random.default_rng([2026, seed]))
    features, result = [], []
    for _ in range(scenes):
        scene = compositor.scene(SIDE, SIDE)
        visible = visible_labels(scene.instances, SMALLEST_VISIBLE)
        masks = [RLE.encode(scene.instances == label) for label in visible]
        features.append(encode_images(segmenter.clip, crops(scene.pixels, masks, segmenter.region_encoder.cropping)))
        result += [row_of[scene.codes[label - 1] or ""] for label in visible]
    return Drawn(torch.cat(features), np.array(result))


def worst_labels(segmenter: segzs.Segmenter, objects: Drawn, count: int) -> np.ndarray:
    """Rows of the labels whose own name is farthest behind the best other one, in the mean over two objects or more."""
    cosines = segmenter.classifier.similarity(objects.features).cpu().numpy()
    every = np.arange(len(cosines))
    right = cosines[every, objects.rows].copy()
    cosines[every, objects.rows] = -np.inf
    behind = right - cosines.max(1)
    counts = np.bincount(objects.rows, minlength=cosines.shape[1])
    mean = np.bincount(objects.rows, behind, cosines.shape[1]) / np.maximum(counts, 1)
    mean[counts < 2] = np.inf
    return np.sort(mean.argsort()[:count])


def accuracies(
    segmenter: segzs.Segmenter, objects: Drawn, others: Drawn, chosen: np.ndarray, shots: int, rng: np.random.Generator
) -> dict[str, float]:
    """With so many random examples of each chosen label, the other objects' top-1."""
    examples = np.concatenate([rng.permutation(np.flatnonzero(objects.rows == row))[:shots] for row in chosen])
    classifier = segmenter.classifier
    if shots:
        names = tuple(classifier.vocabulary.labels[row] for row in objects.rows[examples])
        classifier = replace(classifier, support_set=SupportSet(objects.features[examples].cpu(), names, ""))
    test = objects[np.setdiff1d(np.arange(len(objects.rows)), examples)]
    similarity = classifier.similarity(test.features).cpu().numpy()
    of_others = classifier.similarity(others.features).cpu().numpy()
    return {
        f"top-1 among the {len(chosen)}": float((chosen[similarity[:, chosen].argmax(1)] == test.rows).mean()),
        f"top-1 among all {similarity.shape[1]}": float((similarity.argmax(1) == test.rows).mean()),
        "objects of other labels": float((of_others.argmax(1) == others.rows).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_packs_argument(parser)
    parser.add_argument("--model", choices=PRESETS, help="a preset (default: SEGZS_MODEL, or tiny)")
    parser.add_argument("--clip", help="another CLIP, as for segzs label")
    parser.add_argument("--labels", type=int, default=40, help="so many of the worst (default 40)")
    parser.add_argument("--draws", type=int, default=5, help="random choices of examples (default 5)")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", segzs.UnfamiliarWarning)
    names = [concept.name for concept in arguments.packs.concepts()]
    segmenter = segzs.load(arguments.model, clip=arguments.clip, labels=names, device=arguments.device)
    every = set(range(len(names)))
    chosen = worst_labels(segmenter, drawn(segmenter, arguments.packs, every, 3 * len(names) // 2, 0), arguments.labels)
    objects = drawn(segmenter, arguments.packs, set(chosen.tolist()), 20 * arguments.labels, 1)
    others = drawn(segmenter, arguments.packs, every - set(chosen.tolist()), len(names) // 2, 2)
    print(
        f"{segmenter.model}, {UNSEEN_STYLE}: the {len(chosen)} of {len(names)} labels whose words do worst on other "
        f"drawings; {len(objects.rows)} objects, {np.bincount(objects.rows)[chosen].min()} of a label at least; "
        f"mean of {arguments.draws} draws\n"
    )
    print("The worst: " + ", ".join(names[row] for row in chosen[:10]) + ", ...\n")
    columns = {}
    for shots in SHOTS:
        drawn_scores = [
            accuracies(segmenter, objects, others, chosen, shots, np.random.default_rng([shots, draw]))
            for draw in range(arguments.draws if shots else 1)
        ]
        columns[f"{shots} shots"] = {
            name: float(np.mean([one[name] for one in drawn_scores])) for name in drawn_scores[0]
        }
    print(markdown(columns))


if __name__ == "__main__":
    main()

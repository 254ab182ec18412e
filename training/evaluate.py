"""Measure the embedded pair: ``python -m training.evaluate`` prints the figures of its model card as tables."""

from __future__ import annotations

import argparse
import json
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch

import segzs
from segzs.clip.crops import encode_masks
from segzs.clip.dense import dense_features, pool
from segzs.clip.ood import is_out_of_distribution, max_similarity
from segzs.clip.text_features import encode_vocabulary, general_features
from segzs.masks import RLE, iou
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.mask_generator import GeneratorOptions, generate_masks
from training.packs import TRAINING_STYLES, UNSEEN_STYLE, Packs, add_packs_argument
from training.prompts import box_around, centre, visible_labels
from training.scenes import MEASURED, Compositor

HEIGHT, WIDTH = 576, 768
SMALLEST_VISIBLE = 400
FEW_LABELS = 20
UNFILTERED = GeneratorOptions(predicted_iou_threshold=0, stability_score_threshold=0, nms_threshold=1)
"""All that the grid's points are answered."""


@dataclass
class Scores:
    """Values collected under names; a name's score is their mean."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    guessed_iou: list[float] = field(default_factory=list)
    true_iou: list[float] = field(default_factory=list)

    def add(self, name: str, values: Sequence[float] | np.ndarray) -> None:
        self.values[name].extend(float(value) for value in values)

    def means(self) -> dict[str, float]:
        rows = {name: float(np.mean(values)) for name, values in self.values.items() if values}
        if self.true_iou:
            rows["correlation of predicted with true IoU"] = float(np.corrcoef(self.guessed_iou, self.true_iou)[0, 1])
        return rows


def measure_prompts(segmenter: segzs.Segmenter, photo: segzs.EncodedImage, truths: list[RLE], scores: Scores) -> None:
    """Add the IoU of box and centre-click answers with the true masks, the most that SAM's ranking could have had, and
    what it thought of its answers.
    """
    boxes = [Prompt.box(*box_around(truth.decode()).tolist()) for truth in truths]
    clicks = [Prompt.point(*centre(truth.decode())) for truth in truths]
    for name, prompts in (("box IoU", boxes), ("centre click IoU", clicks)):
        answers = decode(segmenter.sam, photo, prompts)
        others = decode(segmenter.sam, photo, prompts, multimask=True)
        for (best,), ranked, truth in zip(answers, others, truths, strict=True):
            own, of_others = iou([best.rle], [truth])[0, 0], iou([mask.rle for mask in ranked], [truth])[:, 0]
            scores.add(name, [own])
            scores.add(f"{name}, the best of its masks by truth", [max(own, *of_others)])
            scores.guessed_iou.extend(mask.predicted_iou for mask in ranked)
            scores.true_iou.extend(of_others.tolist())


def measure_overlaps(instances: np.ndarray, labels: np.ndarray, ious: Sequence[float], scores: Scores) -> None:
    """Add the IoU of box answers apart by how much of the box other objects cover."""
    for label, value in zip(labels, ious, strict=True):
        x1, y1, x2, y2 = box_around(instances == label).astype(int)
        inside = instances[y1:y2, x1:x2]
        covered = ((inside != label) & (inside > 0)).mean()
        kind = "under 1 %" if covered < 0.01 else "1-30 %" if covered < 0.3 else "30 % and more"
        scores.add(f"box IoU, others cover {kind} of the box", [value])


def measure_everything(
    segmenter: segzs.Segmenter, photo: segzs.EncodedImage, truths: list[RLE], scores: Scores
) -> None:
    """Add everything mode's recall and precision at IoU 0.75, those of SAM alone, and the recall without thresholds."""
    ours = [segment.rle for segment in segmenter.everything(photo)]
    alone = [masks.rle for masks in generate_masks(segmenter.sam, photo)]
    for name, result in (("everything", ours), ("everything, SAM alone", alone)):
        overlap = iou(truths, result) if result else np.zeros((len(truths), 1))
        scores.add(f"{name}: recall at IoU 0.75", overlap.max(1) >= 0.75)
        scores.add(f"{name}: masks a scene", [len(result)])
        scores.add(f"{name}: precision at IoU 0.75", overlap.max(0) >= 0.75 if result else [])
    unfiltered = [masks.rle for masks in generate_masks(segmenter.sam, photo, UNFILTERED)]
    scores.add("everything: recall at IoU 0.75 of all masks", iou(truths, unfiltered).max(1) >= 0.75)


def measure_names(
    segmenter: segzs.Segmenter,
    pixels: np.ndarray,
    masks: list[RLE],
    right: list[int],
    rng: np.random.Generator,
    scores: Scores,
) -> None:
    """Add top-1 among 20 random names and among all, for masks whose right names are rows of the general vocabulary."""
    features = encode_masks(segmenter.clip, pixels, masks, segmenter.region_encoder.cropping)
    pooled = pool(segmenter.clip, dense_features(segmenter.clip, pixels), masks)
    names, unknown = general_features(segmenter.clip).T, segmenter.clip.unknown_threshold
    similarity, of_pooled = (features @ names).numpy(), (pooled @ names).numpy()
    _add_unfamiliar(segmenter, max_similarity(segmenter.clip, features), scores)
    scores.add("pooled: cosine with the crop's feature", (features * pooled).sum(1).numpy())
    for row, pooled_row, index in zip(similarity, of_pooled, right, strict=True):
        others = rng.permutation(np.delete(np.arange(len(row)), index))[: FEW_LABELS - 1]
        scores.add("top-1 of 20 names", [row[index] > row[others].max()])
        scores.add("top-1 of 1,148 names", [row.argmax() == index])
        scores.add("pooled: top-1 of 20 names", [pooled_row[index] > pooled_row[others].max()])
        scores.add("pooled: top-1 of 1,148 names", [pooled_row.argmax() == index])
        scores.add("pooled: similarity of the right name", [pooled_row[index]])
        scores.add("top-5 of 1,148 names", [(row > row[index]).sum() < 5])
        scores.add('called "unknown" among 20 names', [max(row[index], row[others].max()) < unknown])
        scores.add("similarity of the right name", [row[index]])
        scores.add("similarity of the best name", [row.max()])


def _add_unfamiliar(segmenter: segzs.Segmenter, best: torch.Tensor, scores: Scores) -> None:
    """Add whether an image is called unfamiliar, by what its objects are most like, and each object alone."""
    scores.add("images called unfamiliar", [is_out_of_distribution(segmenter.clip, best)])
    scores.add("objects alone called unfamiliar", [is_out_of_distribution(segmenter.clip, one[None]) for one in best])


def measure_scenes(segmenter: segzs.Segmenter, packs: Packs, styles: tuple[str, ...], count: int) -> dict[str, float]:
    """Means over fresh scenes of some styles: 768x576, 4-9 objects of 14-42 % of the short side, turned up to 25°."""
    compositor = Compositor(packs, replace(MEASURED, styles=styles), np.random.default_rng([2026, *map(len, styles)]))
    row_of = {concept.code: index for index, concept in enumerate(packs.concepts())}
    rng, scores = np.random.default_rng(1), Scores()
    for _ in range(count):
        scene = compositor.scene(HEIGHT, WIDTH)
        labels = visible_labels(scene.instances, SMALLEST_VISIBLE)
        truths = [RLE.encode(scene.instances == label) for label in labels]
        photo = segmenter.encode(scene.pixels)
        measure_prompts(segmenter, photo, truths, scores)
        measure_overlaps(scene.instances, labels, scores.values["box IoU"][-len(labels) :], scores)
        measure_everything(segmenter, photo, truths, scores)
        measure_names(segmenter, scene.pixels, truths, [row_of[scene.codes[n - 1] or ""] for n in labels], rng, scores)
    return {"objects": len(scores.values["box IoU"]), **scores.means()}


@dataclass(frozen=True)
class Photo:
    """A photograph of the development pack, with some of its objects."""

    file: str
    source: str
    masks: list[RLE]
    names: list[str]


def photos(packs: Packs, objects: int, most: int = 1000) -> Iterator[Photo]:
    """About ``most`` photographs, with at most so many of their objects, at random, crowds and specks left out."""
    folder = packs.root / "photos" / "dev"
    data = json.loads((folder / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in data["categories"]}
    rng = np.random.default_rng(0)
    for image in data["images"][:: max(1, len(data["images"]) // most)]:
        wanted = [
            row
            for row in data["annotations"]
            if row["image_id"] == image["id"] and not row["iscrowd"] and row["isthing"] and row["area"] >= 200
        ]
        rows = [wanted[i] for i in rng.permutation(len(wanted))[:objects]]
        masks = [RLE(*row["segmentation"]["size"], row["segmentation"]["counts"]) for row in rows]
        file = str(folder / "images" / image["file_name"])
        yield Photo(file, image["source"], masks, [names[row["category_id"]] for row in rows])


def grabcut(pixels: np.ndarray, box: np.ndarray) -> RLE:
    """OpenCV's GrabCut from a box, five iterations."""
    x1, y1, x2, y2 = np.round(box).astype(int)
    labels = np.zeros(pixels.shape[:2], np.uint8)
    rectangle = (int(x1), int(y1), int(x2 - x1), int(y2 - y1))
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        bgr = np.ascontiguousarray(pixels[..., ::-1])
        cv2.grabCut(bgr, labels, rectangle, background, foreground, 5, cv2.GC_INIT_WITH_RECT)
    except cv2.error:  # a box that fills the image leaves it no background to learn from
        labels[y1:y2, x1:x2] = cv2.GC_FGD
    return RLE.encode((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def measure_photos(segmenter: segzs.Segmenter, packs: Packs, objects: int) -> dict[str, dict[str, float]]:
    """Means over the development photographs by source, next to GrabCut and to chance."""
    data = json.loads((packs.root / "photos" / "dev" / "annotations.json").read_text())
    labels = sorted({category["name"] for category in data["categories"]})
    named = segmenter.with_labels(labels)
    features = encode_vocabulary(named.clip, named.vocabulary)
    scores: dict[str, Scores] = defaultdict(Scores)
    seen: dict[str, list[str]] = defaultdict(list)
    for photo in photos(packs, objects):
        if not photo.masks:
            continue
        encoded = segmenter.encode(photo.file)
        score = scores[photo.source]
        measure_prompts(segmenter, encoded, photo.masks, score)
        pixels = encoded.image.pixels
        cut = [grabcut(pixels, box_around(mask.decode())) for mask in photo.masks]
        score.add("GrabCut IoU, same box", [iou([a], [b])[0, 0] for a, b in zip(cut, photo.masks, strict=True)])
        filled = [RLE.encode(_filled(mask)) for mask in photo.masks]
        score.add("IoU of the box itself", [iou([a], [b])[0, 0] for a, b in zip(filled, photo.masks, strict=True)])
        images = encode_masks(segmenter.clip, pixels, photo.masks, segmenter.region_encoder.cropping)
        best = (images @ features.T).argmax(1).tolist()
        score.add(f"top-1 of {len(labels)} names", [labels[i] == n for i, n in zip(best, photo.names, strict=True)])
        _add_unfamiliar(segmenter, max_similarity(segmenter.clip, images), score)
        seen[photo.source] += photo.names
    result = {}
    for source, score in scores.items():
        most = max(seen[source].count(name) for name in set(seen[source])) / len(seen[source])
        chance = {"top-1 by chance": 1 / len(labels), "top-1 of always saying the most frequent name": most}
        result[source] = {"objects": len(seen[source]), **score.means(), **chance}
    return result


def _filled(mask: RLE) -> np.ndarray:
    full = np.zeros((mask.height, mask.width), bool)
    x1, y1, x2, y2 = mask.box
    full[y1:y2, x1:x2] = True
    return full


def markdown(columns: dict[str, dict[str, float]]) -> str:
    """Columns of figures as a Markdown table with a row a figure."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for name in names:
        cells = [column.get(name) for column in columns.values()]
        visible = ["" if cell is None else f"{cell:g}" if isinstance(cell, int) else f"{cell:.3f}" for cell in cells]
        lines.append(f"| {name} | {' | '.join(visible)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_packs_argument(parser)
    parser.add_argument("--scenes", type=int, default=60, help="scenes of each kind; 0 leaves them out")
    parser.add_argument("--photo-objects", type=int, default=4, help="objects a photograph; 0 leaves photographs out")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: all)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", segzs.UnfamiliarWarning)
    segmenter = segzs.load("tiny")
    if arguments.scenes:
        kinds = {"training styles": TRAINING_STYLES, f"unseen style ({UNSEEN_STYLE})": (UNSEEN_STYLE,)}
        print(f"Scenes, {arguments.scenes} of each kind; mean over objects\n", flush=True)
        result = {
            name: measure_scenes(segmenter, arguments.packs, styles, arguments.scenes) for name, styles in kinds.items()
        }
        print(markdown(result), flush=True)
    if arguments.photo_objects:
        print(
            f"\nPhotographs (photos/dev), up to {arguments.photo_objects} objects each; mean over objects\n", flush=True
        )
        print(markdown(measure_photos(segmenter, arguments.packs, arguments.photo_objects)))


if __name__ == "__main__":
    main()

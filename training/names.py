"""Measure the names of the tiny CLIP on exact masks: ``python -m training.names`` prints the figures of its model card.

Photographs are those of ``photos/dev``: objects of COCO over 32 x 32 pixels, people, things, sky and grass alike.
Drawings are scenes of a style that it never saw.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

import segzs
from segzs.clip.classifier import build_classifier
from segzs.clip.model import ClipModel
from segzs.clip.ood import is_out_of_distribution, max_similarity
from segzs.clip.regions import REGIONS
from segzs.clip.text_features import encode_vocabulary
from segzs.clip.vocabulary import Vocabulary
from segzs.image import Image, read_image
from segzs.masks import RLE
from training.evaluate import FEW_LABELS, HEIGHT, SMALLEST_VISIBLE, WIDTH, markdown
from training.packs import UNSEEN_STYLE, Packs, add_packs_argument
from training.prompts import visible_labels
from training.scenes import MEASURED, Compositor
from training.unknown import auroc

SMALLEST = 32 * 32
FEW = 5
HALVES = 5


@dataclass(frozen=True, eq=False)
class Picture:
    """An image, the exact masks of its objects, and their names."""

    image: Image
    masks: list[RLE]
    names: list[str]


def photographs(packs: Packs) -> Iterator[Picture]:
    """The photographs of COCO in ``photos/dev`` with all objects of a size, crowds left out."""
    folder = packs.root / "photos" / "dev"
    data = json.loads((folder / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in data["categories"]}
    for image in data["images"]:
        wanted = [
            row
            for row in data["annotations"]
            if row["image_id"] == image["id"] and not row["iscrowd"] and row["area"] > SMALLEST
        ]
        if image["source"] == "coco" and wanted:
            masks = [RLE(*row["segmentation"]["size"], row["segmentation"]["counts"]) for row in wanted]
            drawing = read_image(str(folder / "images" / image["file_name"]))
            yield Picture(drawing, masks, [names[row["category_id"]] for row in wanted])


def drawings(packs: Packs, count: int) -> Iterator[Picture]:
    """The scenes of `training.evaluate` in the unseen style."""
    compositor = Compositor(
        packs, replace(MEASURED, styles=(UNSEEN_STYLE,)), np.random.default_rng([2026, len(UNSEEN_STYLE)])
    )
    return composed(compositor, packs, count)


def composed(compositor: Compositor, packs: Packs, count: int) -> Iterator[Picture]:
    """Scenes of a compositor with the exact masks and the names of their objects."""
    names = {concept.code: concept.name for concept in packs.concepts()}
    for _ in range(count):
        scene = compositor.scene(HEIGHT, WIDTH)
        labels = visible_labels(scene.instances, SMALLEST_VISIBLE)
        masks = [RLE.encode(scene.instances == label) for label in labels]
        yield Picture(read_image(scene.pixels), masks, [names[scene.codes[n - 1] or ""] for n in labels])


def ranks(features: Tensor, labels: Tensor, right: Tensor) -> Tensor:
    """How many labels are thought more likely than the right one, of each object."""
    similarity = features @ labels.T
    return (similarity > similarity.gather(1, right[:, None])).sum(1)


def accuracy(rank: Tensor, right: Tensor, names: list[str]) -> dict[str, float]:
    """Top-1, top-5 and the mean over names, people and others apart."""
    first = (rank == 0).float()
    person = right == names.index("person") if "person" in names else torch.zeros(len(right), dtype=torch.bool)
    figures = {
        "top-1": first.mean().item(),
        "top-5": (rank < FEW).float().mean().item(),
        "top-1, mean over names": float(np.mean([first[right == row].mean().item() for row in right.unique()])),
    }
    if person.any():
        figures |= {"top-1 of people": first[person].mean().item(), "top-1 of others": first[~person].mean().item()}
    return figures


def unknown_auroc(clip: ClipModel, features: Tensor, right: Tensor, labels: list[str]) -> float:
    """AUROC of "unknown" for objects whose label is removed, the mean over random halves of the labels."""
    areas = []
    for seed in range(HALVES):
        kept = np.sort(np.random.default_rng(seed).permutation(len(labels))[: len(labels) // 2])
        classifier = build_classifier(clip, [labels[row] for row in kept])
        scores = classifier.probabilities(features)[:, -1].numpy()
        is_kept = np.isin(right, kept)
        areas.append(auroc(scores[~is_kept].tolist(), scores[is_kept].tolist()))
    return float(np.mean(areas))


def with_regions(segmenter: segzs.Segmenter, regions: str) -> segzs.Segmenter:
    return replace(segmenter, region_encoder=replace(segmenter.region_encoder, regions=regions))


def unfamiliar(segmenter: segzs.Segmenter, features: list[Tensor]) -> float:
    """The share of images that are called unfamiliar."""
    clip = segmenter.clip
    return float(np.mean([is_out_of_distribution(clip, max_similarity(clip, each)) for each in features]))


def measure(segmenter: segzs.Segmenter, images: list[Picture], labels: list[str]) -> dict[str, float]:
    """All figures of images, with these labels, as a segmenter names."""
    started = time.perf_counter()
    seen = [segmenter.region_encoder.encode(image.image, image.masks) for image in images]
    seconds = time.perf_counter() - started
    clip, features = segmenter.clip, torch.cat(seen)
    right = torch.tensor([labels.index(name) for image in images for name in image.names])
    text_features = encode_vocabulary(clip, Vocabulary(labels))
    rank = ranks(features, text_features, right)
    return {
        "objects": len(right),
        "labels": len(labels),
        **accuracy(rank, right, labels),
        f"top-1 of {FEW_LABELS} random labels": ((1 - rank / (len(labels) - 1)) ** (FEW_LABELS - 1)).mean().item(),
        "AUROC of unknown, half of the labels removed": unknown_auroc(clip, features, right, labels),
        "images called unfamiliar": unfamiliar(segmenter, seen),
        "similarity of the right label": (features * text_features[right]).sum(1).mean().item(),
        "similarity of the best general word": max_similarity(clip, features).mean().item(),
        "milliseconds an object": 1000 * seconds / len(right),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_packs_argument(parser)
    parser.add_argument("--scenes", type=int, default=30, help="scenes of drawings; 0 leaves them out")
    parser.add_argument("--naming", nargs="+", choices=REGIONS, default=list(REGIONS), help="ways to name")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore", segzs.UnfamiliarWarning)
    segmenter = segzs.load("tiny", cache=False)
    kinds = {"photographs": list(photographs(arguments.packs))}
    labels = {"photographs": sorted({name for image in kinds["photographs"] for name in image.names})}
    if arguments.scenes:
        kinds["drawings"] = list(drawings(arguments.packs, arguments.scenes))
        labels["drawings"] = [concept.name for concept in arguments.packs.concepts()]
    columns = {
        f"{kind}, {naming}": measure(with_regions(segmenter, naming), images, labels[kind])
        for kind, images in kinds.items()
        for naming in arguments.naming
    }
    print(markdown(columns))


if __name__ == "__main__":
    main()

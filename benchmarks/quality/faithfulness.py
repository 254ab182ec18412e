"""Differences of masks and names on fast paths, over 500 prompts: ``python -m benchmarks.quality.faithfulness``.

The embedded models are used, because masks of random weights mean nothing. The reference for float32 is the predictor
of segment-anything. Prompts lie on objects of the example scenes, and at random positions, where the best mask is
ambiguous.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from segment_anything import SamPredictor
from torch import Tensor

from benchmarks.speed.rows import tiny
from segzs.checkpoints.locate import locate_clip, locate_sam
from segzs.clip.crops import Cropping, encode_masks
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.text_features import general_features
from segzs.image import Image, read_image
from segzs.masks import RLE, iou
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.encode import EncodedImage, encode
from segzs.sam.model import SamModel, load_sam

EXAMPLES = Path(__file__).parents[2] / "examples"
SCENES = ("desk", "picnic", "toolbox")
PROMPTS = 500


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    sam, stock = tiny()
    half = load_sam(locate_sam("tiny"), dtype=torch.bfloat16)
    predictor = SamPredictor(stock)
    clips = [load_clip(locate_clip("tiny"), dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    overlaps = defaultdict[tuple[str, str], list[float]](list)
    same = defaultdict[str, list[bool]](list)
    for scene in SCENES:
        image = read_image(EXAMPLES / f"{scene}.png")
        exact, coarse = encode(sam, image), encode(half, image)
        stored = replace(exact, features=exact.features.half().float())
        for where, prompts in (("on objects", on_objects(scene)), ("anywhere", anywhere(image))):
            masks = masks_of(sam, exact, prompts)
            for kind, others in (
                ("float32 against SamPredictor", reference(predictor, image, prompts)),
                ("features kept as float16", masks_of(sam, stored, prompts)),
                ("bfloat16 against float32", masks_of(half, coarse, prompts)),
            ):
                overlaps[kind, where] += iou_of_pairs(masks, others)
            full, coarser = (best_names(clip, image, masks) for clip in clips)
            same[where] += (full == coarser).tolist()
    print(f"| masks of {PROMPTS} random prompts | where | mean IoU | share above 0.9 |")
    print("| --- | --- | --- | --- |")
    for (kind, where), values in overlaps.items():
        print(f"| {kind} | {where} | {np.mean(values):.4f} | {np.mean(np.array(values) > 0.9):.3f} |")
    print("\n| best general label of these masks, bfloat16 against float32 | share of equal labels |\n| --- | --- |")
    for where, equal in same.items():
        print(f"| {where} | {np.mean(equal):.3f} |")


def on_objects(scene: str) -> list[Prompt]:
    """Points on random pixels of objects, and inexact boxes around objects, alternating."""
    rng = np.random.default_rng(0)
    rows = [row["segmentation"] for row in json.loads((EXAMPLES / f"{scene}.json").read_text("utf-8"))["objects"]]
    masks = [RLE(*row["size"], row["counts"]) for row in rows]
    pixels = [np.argwhere(mask.decode())[:, ::-1] for mask in masks]
    prompts = []
    for number in range(PROMPTS // len(SCENES)):
        index = int(rng.integers(len(masks)))
        box = np.array(masks[index].box, float)
        box += rng.uniform(-0.1, 0.1, 4) * np.tile(box[2:] - box[:2], 2)
        prompts.append(Prompt.box(*box) if number % 2 else Prompt.point(*rng.choice(pixels[index])))
    return prompts


def anywhere(image: Image) -> list[Prompt]:
    """Random points and boxes, alternating."""
    rng = np.random.default_rng(0)
    prompts = []
    for number in range(PROMPTS // len(SCENES)):
        x, y = rng.uniform((0, 0), (image.width - 40, image.height - 40))
        width, height = rng.uniform(20, 250, 2)
        prompts.append(Prompt.box(x, y, x + width, y + height) if number % 2 else Prompt.point(x, y))
    return prompts


def best_names(clip: ClipModel, image: Image, masks: Sequence[RLE]) -> Tensor:
    """The index of the most similar general label for each mask."""
    features = encode_masks(clip, image.pixels, masks, Cropping(clip.spec.background, clip.spec.margin))
    return (features @ general_features(clip).T).argmax(1)


def masks_of(sam: SamModel, encoded: EncodedImage, prompts: Sequence[Prompt]) -> list[RLE]:
    return [mask.rle for (mask,) in decode(sam, encoded, prompts)]


def reference(predictor: SamPredictor, image: Image, prompts: Sequence[Prompt]) -> list[RLE]:
    predictor.set_image(np.array(image.pixels))
    codes = []
    for prompt in (prompt.inside(image.width, image.height) for prompt in prompts):
        points = np.array(prompt.points) if prompt.points else None
        signs = None if points is None else np.ones(1)
        box = None if prompt.box is None else np.array(prompt.box)
        masks, scores, _ = predictor.predict(points, signs, box, multimask_output=box is None)
        codes.append(RLE.encode(masks[scores.argmax()]))
    return codes


def iou_of_pairs(ours: Sequence[RLE], theirs: Sequence[RLE]) -> list[float]:
    """IoU of each pair; 1 for two empty masks."""
    pairs = zip(ours, theirs, strict=True)
    return [float(iou([a], [b])[0, 0]) if a.area or b.area else 1.0 for a, b in pairs]


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()

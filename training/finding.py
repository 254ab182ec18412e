"""Finding by words, measured on scenes of eight objects: ``python -m training.finding``.

Every object is searched by its exact name, and as many names that are not in the scene; then by a drawing of it in
another hand ("like"). Found is the first answer with an IoU of 0.5 or more with the true visible mask of an object of
that name. The cut-offs were chosen on other scenes.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from dataclasses import replace
from itertools import product

import numpy as np
import PIL.Image
import torch

import segzs
from segzs.checkpoints.registry import PRESETS
from segzs.clip.crops import crops, encode_object
from segzs.clip.image_features import encode_images
from segzs.clip.retrieval import encode_query, example_scores, select, text_scores
from segzs.clip.text_features import general_features
from segzs.image import Image, read_image
from segzs.masks import RLE, iou
from segzs.sam.mask_generator import generate_masks
from training.evaluate import HEIGHT, SMALLEST_VISIBLE, WIDTH, Scores, markdown
from training.packs import TRAINING_STYLES, UNSEEN_STYLE, Packs, add_packs_argument
from training.prompts import visible_labels
from training.scenes import MEASURED, Compositor

OBJECTS = 8
FOUND_IOU = 0.5
EXAMPLES = "noto"
LEAST = (0.3, 0.4, 0.5, 0.6, 0.7)
FITS = {
    "words": lambda clip, *question: text_scores(clip, *question, general_features(clip)),
    "like": lambda clip, *question: example_scores(*question),
}


def on_white(drawing: np.ndarray) -> Image:
    """A cut-out, uint8 RGBA (height, width, 4), as an image."""
    return read_image(PIL.Image.fromarray(drawing))


def measure(
    segmenter: segzs.Segmenter, packs: Packs, styles: tuple[str, ...], scenes: int, seed: int
) -> dict[str, dict[str, float]]:
    """Shares of queries by where the masks come from, everything mode or the truth, and by cut-off."""
    recipe = replace(MEASURED, styles=styles, objects=(OBJECTS, OBJECTS))
    compositor = Compositor(packs, recipe, np.random.default_rng([508, seed, *map(len, styles)]))
    names = {concept.code: concept.name for concept in packs.concepts()}
    codes, drawings = {name: code for code, name in names.items()}, packs.cutouts(EXAMPLES)
    scores: dict[str, Scores] = defaultdict(Scores)
    rng = np.random.default_rng(seed)
    for _ in range(scenes):
        scene = compositor.scene(HEIGHT, WIDTH)
        photo = segmenter.encode(scene.pixels)
        visible = visible_labels(scene.instances, SMALLEST_VISIBLE)
        truths = [RLE.encode(scene.instances == label) for label in visible]
        called = [names[scene.codes[label - 1] or ""] for label in visible]
        absent = rng.permutation(sorted({*names.values()} - {names[code or ""] for code in scene.codes}))[: len(called)]
        answers = generate_masks(segmenter.sam, photo, lenient=True)
        ours = [mask.rle for mask in answers]
        stability = torch.tensor([mask.stability_score for mask in answers])
        scores["everything mode"].add("objects with a mask", iou(truths, ours).max(1, initial=0) >= FOUND_IOU)
        displayed = {name: drawings[codes[name]] for name in [*called, *absent] if codes[name] in drawings}
        queries = {
            "words": {name: encode_query(segmenter.clip, name) for name in [*called, *absent]},
            "like": {name: encode_object(segmenter.clip, on_white(drawing))[0] for name, drawing in displayed.items()},
        }
        for source, masks, stable in (
            ("everything mode", ours, stability),
            ("true masks", truths, torch.ones(len(truths))),
        ):
            features = encode_images(segmenter.clip, crops(scene.pixels, masks, segmenter.region_encoder.cropping))
            for (kind, fit_of), name in product(FITS.items(), [*called, *absent]):
                if name not in queries[kind]:
                    continue
                query = queries[kind][name]
                fits = fit_of(segmenter.clip, features, query, stable) if masks else torch.zeros(0)
                order = select(masks, fits, -1)
                fit = float(fits[order[0]]) if order else -1.0
                if name in absent:
                    for least in LEAST:
                        scores[source].add(f"{kind}, {least:g}: absent, nothing", [fit < least])
                    continue
                same = [truth for truth, other in zip(truths, called, strict=True) if other == name]
                right = bool(order) and iou([masks[order[0]]], same).max() >= FOUND_IOU
                scores[source].add(f"{kind}: first, without cut-off", [right])
                for least in LEAST:
                    scores[source].add(f"{kind}, {least:g}: named object first", [right and fit >= least])
    given = {source: len(score.values["words: first, without cut-off"]) for source, score in scores.items()}
    return {source: {"names searched": given[source], **score.means()} for source, score in scores.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_packs_argument(parser)
    parser.add_argument("--model", choices=PRESETS, help="a preset (default: SEGZS_MODEL, or tiny)")
    parser.add_argument("--clip", help="another CLIP, as for segzs label")
    parser.add_argument("--scenes", type=int, default=15, help="of each style (default 15)")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", segzs.UnfamiliarWarning)
    segmenter = segzs.load(arguments.model, clip=arguments.clip, device=arguments.device, cache=False)
    columns = {}
    for kind, styles in (("training styles", TRAINING_STYLES), (UNSEEN_STYLE, (UNSEEN_STYLE,))):
        for source, column in measure(segmenter, arguments.packs, styles, arguments.scenes, arguments.seed).items():
            columns[f"{kind}, {source}"] = column
    print(f"{segmenter.model}, {arguments.scenes} scenes of {OBJECTS} objects of each style, seed {arguments.seed}\n")
    print(markdown(columns))


if __name__ == "__main__":
    main()

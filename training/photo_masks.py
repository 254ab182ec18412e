"""Measure a SAM on the development photographs: ``python -m training.photo_masks``.

Objects are those of `training.evaluate.photos`. Everything mode is measured on the COCO photographs: its recall of all
outlined things larger than 1 % of the image, whatever may not be outlined, and its precision where nearly every pixel
is outlined: the share of its masks that have an IoU of 0.5 or 0.75 with an outlined thing or region of stuff.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

import segzs
from segzs.evaluate.clicks import iou_of_clicks
from segzs.image import read_image
from segzs.masks import RLE, Mask, iou
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.encode import encode
from segzs.sam.mask_generator import generate_masks
from segzs.sam.model import SamModel
from segzs.sam.zoom import decode_zoomed
from training.evaluate import Scores, markdown, photos
from training.packs import Packs, add_packs_argument
from training.prompts import box_around, centre

OBJECTS = 6
NUCLEI = "dsb2018"
LARGE_SHARE = 0.01
SIDES = {"under a tenth": (0.0, 0.1), "a tenth to three": (0.1, 0.3), "over three": (0.3, 2.0)}
"""Objects by the longer side of their box, as shares of the image's."""
CLICKS = (1, 3, 5)
THRESHOLDS = (0.5, 0.75)


def measure_objects(sam: SamModel, packs: Packs, most: int) -> dict[str, dict[str, float]]:
    """Mean IoU of boxes, with and without zoom, centre clicks and further clicks, by kind of object."""
    scores: dict[str, Scores] = {}
    for photo in photos(packs, OBJECTS, most):
        if not photo.masks:
            continue
        image = read_image(photo.file)
        encoded = encode(sam, image)
        truths = [mask.decode() for mask in photo.masks]
        prompts = [Prompt.box(*box_around(truth).tolist()) for truth in truths]
        rows = {
            "box": _scored(decode(sam, encoded, prompts), photo.masks),
            "box, zoomed where it is small": _scored(
                decode_zoomed(sam, partial(encode, sam), encoded, prompts), photo.masks
            ),
            "centre click": _scored(
                decode(sam, encoded, [Prompt.point(*centre(truth)) for truth in truths]), photo.masks
            ),
        }
        clicks = iou_of_clicks(sam, encoded, photo.masks, clicks=max(CLICKS))
        rows |= {f"{count} clicks at the error": clicks[:, count - 1] for count in CLICKS}
        longest = max(image.width, image.height)
        for index, mask in enumerate(photo.masks):
            for kind in _kinds(photo.source, max(mask.box[2] - mask.box[0], mask.box[3] - mask.box[1]) / longest):
                score = scores.setdefault(kind, Scores())
                for name, values in rows.items():
                    score.add(name, [values[index]])
    return {kind: {"objects": len(score.values["box"]), **score.means()} for kind, score in sorted(scores.items())}


def _scored(answers: list[tuple[Mask, ...]], truths: list[RLE]) -> np.ndarray:
    return np.array([iou([answer[0].rle], [truth])[0, 0] for answer, truth in zip(answers, truths, strict=True)])


def _kinds(source: str, side: float) -> Iterator[str]:
    if source == NUCLEI:
        yield "nuclei"
        return
    yield "COCO"
    if side >= 0.1:
        yield "COCO, a tenth and more"
    for name, (low, high) in SIDES.items():
        if low <= side < high:
            yield f"COCO, {name}"


def measure_everything(sam: SamModel, packs: Packs, most: int) -> dict[str, float]:
    """Recall and precision of everything mode on COCO photographs, and how many masks it gives."""
    folder = packs.root / "photos" / "dev"
    data = json.loads((folder / "annotations.json").read_text())
    scores = Scores()
    images = [image for image in data["images"] if image["source"] != NUCLEI]
    for image in images[:: max(1, len(images) // most)]:
        rows = [row for row in data["annotations"] if row["image_id"] == image["id"] and not row["iscrowd"]]
        outlined = [RLE(*row["segmentation"]["size"], row["segmentation"]["counts"]) for row in rows]
        smallest = LARGE_SHARE * image["width"] * image["height"]
        things = [mask for mask, row in zip(outlined, rows, strict=True) if row["isthing"] and row["area"] >= smallest]
        drawing = read_image(str(folder / "images" / image["file_name"]))
        result = [mask.rle for mask in generate_masks(sam, encode(sam, drawing))]
        scores.add("masks a photograph", [len(result)])
        overlap = iou(things, result) if result and things else np.zeros((len(things), 1))
        for threshold in THRESHOLDS:
            scores.add(f"recall at IoU {threshold:g}", overlap.max(1) >= threshold)
        if image["annotated"] == "things+stuff" and result:
            right = iou(outlined, result).max(0)
            for threshold in THRESHOLDS:
                scores.add(f"precision at IoU {threshold:g}, of outlined things and stuff", right >= threshold)
    return {"things": len(scores.values["recall at IoU 0.5"]), **scores.means()}


def tables(sam: SamModel, packs: Packs, most: int) -> str:
    """Both measures as Markdown."""
    objects = markdown(measure_objects(sam, packs, most))
    whole = markdown({"COCO": measure_everything(sam, packs, most)})
    return f"IoU of objects, up to {OBJECTS} a photograph\n\n{objects}\n\nEverything mode, SAM alone\n\n{whole}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_packs_argument(parser)
    parser.add_argument("--sam", default="tiny", metavar="NAME", help="or tiny:FILE, weights that a run exported")
    parser.add_argument("--photos", type=int, default=1000, help="about so many photographs; all by default")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: all)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(tables(segzs.load("tiny", sam=arguments.sam, cache=False).sam, arguments.packs, arguments.photos))


if __name__ == "__main__":
    main()

"""Fresh scenes as a data set: ``python -m training.scenes_as_coco --style openmoji --scenes 40 --out DIR``.

``DIR/images/*.png`` and ``DIR/annotations.json``: a COCO file with the exact visible pixels of every object as
compressed run lengths, the concepts that occur as categories, and the style as each image's ``source``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image

from segzs.masks import RLE
from training.packs import TRAINING_STYLES, UNSEEN_STYLE, Packs, add_packs_argument
from training.prompts import visible_labels
from training.scenes import MEASURED, Compositor, Recipe

HEIGHT, WIDTH = 576, 768
SMALLEST_VISIBLE = 400


def write_scenes(packs: Packs, recipe: Recipe, count: int, seed: int, out: Path, ending: str = "png") -> dict:
    """Draw ``count`` scenes of 768x576 into ``out`` and return what its annotations.json says.

    Objects of which fewer than 400 pixels are visible are in the images, and not in the file.
    """
    compositor = Compositor(packs, recipe, np.random.default_rng(seed))
    names = {concept.code: concept.name for concept in packs.concepts()}
    images: list[dict] = []
    annotations: list[dict] = []
    categories: dict[str, int] = {}
    (out / "images").mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        scene = compositor.scene(HEIGHT, WIDTH)
        file = f"{number:05}.{ending}"
        PIL.Image.fromarray(scene.pixels).save(out / "images" / file, quality=95)
        source = "+".join(recipe.styles)
        images.append({"id": number, "file_name": file, "width": WIDTH, "height": HEIGHT, "source": source})
        for label in visible_labels(scene.instances, SMALLEST_VISIBLE):
            mask = RLE.encode(scene.instances == label)
            name = names[scene.codes[label - 1] or ""]
            x1, y1, x2, y2 = mask.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories.setdefault(name, len(categories) + 1),
                    "segmentation": mask.coco(),
                    "area": mask.area,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "iscrowd": 0,
                }
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    (out / "annotations.json").write_text(json.dumps(content))
    return content


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_packs_argument(parser)
    parser.add_argument(
        "--style", action="append", choices=[*TRAINING_STYLES, UNSEEN_STYLE], help=f"may be repeated ({UNSEEN_STYLE})"
    )
    parser.add_argument("--scenes", type=int, default=40, metavar="N")
    parser.add_argument("--objects", type=int, metavar="N", help="exactly so many a scene (default: 4 to 9)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ending", choices=["png", "jpg"], default="png", help="format of the images")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args()
    recipe = replace(MEASURED, styles=tuple(arguments.style or [UNSEEN_STYLE]))
    if arguments.objects:
        recipe = replace(recipe, objects=(arguments.objects, arguments.objects))
    content = write_scenes(arguments.packs, recipe, arguments.scenes, arguments.seed, arguments.out, arguments.ending)
    counted = ", ".join(f"{len(content[what])} {what}" for what in ("images", "annotations", "categories"))
    print(f"{arguments.out / 'annotations.json'}: {counted}")


if __name__ == "__main__":
    main()

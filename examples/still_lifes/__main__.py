"""Renders still lifes with the exact visible mask and the name of each thing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from .compose import compose
from .develop import develop
from .render import indices, render

SMALLEST = 40
"""Things with fewer visible pixels are not listed."""


def describe(name: str, mask: np.ndarray) -> dict:
    """The thing's name and where it shows; the box's x2 and y2 are just outside."""
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    x, y, width, height = map(int, coco_mask.toBbox(code))
    return {
        "name": name,
        "box": [x, y, x + width, y + height],
        "area": int(mask.sum()),
        "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.still_lifes", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="number of the first scene")
    parser.add_argument("--count", type=int, default=1, help="how many scenes, with the numbers that follow")
    parser.add_argument("--out", type=Path, default=Path("still_lifes"), help="folder to write to")
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 768), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--samples", type=int, default=32, help="light paths a pixel, in fours")
    options = parser.parse_args()
    width, height = options.size
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seed, options.seed + options.count):
        scene = compose(seed, width / height)
        pixels = develop(render(scene, width, height, options.samples), np.random.default_rng(seed))
        visible = indices(scene, width, height)
        masks = [visible == number for number in range(1, len(scene.things) + 1)]
        objects = [
            describe(thing.name, mask)
            for thing, mask in zip(scene.things, masks, strict=True)
            if mask.sum() >= SMALLEST
        ]
        image = f"still_life_{seed}.jpg"
        Image.fromarray(pixels).save(options.out / image, quality=92)
        truth = {"image": image, "width": width, "height": height, "objects": objects}
        (options.out / f"still_life_{seed}.json").write_text(json.dumps(truth, indent=1) + "\n")
        print(f"{image}: {', '.join(item['name'] for item in objects)}")


if __name__ == "__main__":
    main()

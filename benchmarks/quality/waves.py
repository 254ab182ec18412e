"""Masks of everything mode's waves of prompts against the full grid's: ``python -m benchmarks.quality.waves``.

The embedded SAM, without its head for cheap masks, is prompted on the example scenes or on other images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np

from segzs.checkpoints.locate import locate_sam
from segzs.image import read_image
from segzs.masks import RLE, iou
from segzs.sam.encode import EncodedImage, encode
from segzs.sam.mask_generator import GeneratorOptions, generate_masks
from segzs.sam.model import SamModel, load_sam
from segzs.sam.networks.network import LowResMasks, PromptTensors

EXAMPLES = Path(__file__).parents[2] / "examples"
SCENES = [EXAMPLES / f"{name}.png" for name in ("desk", "picnic", "toolbox")]
SAME = 0.9
SIDE = 32


class Counter:
    """Counts the prompts that a network decodes."""

    def __init__(self, sam: SamModel) -> None:
        self.decode, self.prompts = sam.module.decode, 0
        sam.module.decode = self  # type: ignore[method-assign, assignment]

    def __call__(self, features: object, prompts: PromptTensors) -> LowResMasks:
        self.prompts += len(prompts.points[0]) if prompts.points else 0
        return self.decode(features, prompts)  # type: ignore[arg-type]


def headless() -> SamModel:
    """The embedded SAM, each point of whose grid is a prompt of the decoder."""
    sam = load_sam(locate_sam("tiny"))
    module = deepcopy(sam.module)
    module.point_head = None  # type: ignore[assignment]
    return replace(sam, module=module)


def masks(sam: SamModel, encoded: EncodedImage, *, adaptive: bool) -> list[RLE]:
    return [mask.rle for mask in generate_masks(sam, encoded, GeneratorOptions(SIDE, adaptive=adaptive))]


def matched(ours: Sequence[RLE], theirs: Sequence[RLE]) -> int:
    """How many of ours are among theirs."""
    return int((iou(ours, theirs).max(1) >= SAME).sum()) if ours and theirs else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="*", type=Path, help="default: the example scenes")
    paths = parser.parse_args().images
    sam = headless()
    counter = Counter(sam)
    totals = np.zeros(5, int)
    print("| image | prompts | masks | found of the full grid's | also of the full grid |")
    print("| --- | --- | --- | --- | --- |")
    for path in paths or SCENES:
        encoded = encode(sam, read_image(path))
        full = masks(sam, encoded, adaptive=False)
        counter.prompts = 0
        waves = masks(sam, encoded, adaptive=True)
        row = np.array([counter.prompts, len(waves), len(full), matched(full, waves), matched(waves, full)])
        totals += row
        print(line(Path(path).name, row), flush=True)
    print(line("all", totals))


def line(name: str, row: np.ndarray) -> str:
    prompts, waves, full, found, precise = row.tolist()
    return f"| {name} | {prompts} | {waves} of {full} | {found / max(full, 1):.1%} | {precise / max(waves, 1):.1%} |"


if __name__ == "__main__":
    main()

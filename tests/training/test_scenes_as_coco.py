import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
from pycocotools.coco import COCO

from training.packs import UNSEEN_STYLE, Packs
from training.prompts import visible_labels
from training.scenes import MEASURED, Compositor
from training.scenes_as_coco import HEIGHT, SMALLEST_VISIBLE, WIDTH, write_scenes


def test_scenes_become_a_coco_file_of_their_exact_pixels(drawn_packs: Packs, tmp_path: Path) -> None:
    recipe = replace(MEASURED, styles=(UNSEEN_STYLE,), objects=(8, 8))
    content = write_scenes(drawn_packs, recipe, 2, 7, tmp_path)
    assert content == json.loads((tmp_path / "annotations.json").read_text())
    coco = COCO(tmp_path / "annotations.json")
    compositor = Compositor(drawn_packs, recipe, np.random.default_rng(7))
    names = {concept.code: concept.name for concept in drawn_packs.concepts()}
    for image in coco.dataset["images"]:
        scene = compositor.scene(HEIGHT, WIDTH)
        assert np.array_equal(PIL.Image.open(tmp_path / "images" / image["file_name"]), scene.pixels)
        assert image["source"] == UNSEEN_STYLE
        labels = visible_labels(scene.instances, SMALLEST_VISIBLE)
        rows = coco.imgToAnns[image["id"]]
        assert len(scene.codes) == 8
        assert len(rows) == len(labels) > 0
        for row, label in zip(rows, labels, strict=True):
            assert np.array_equal(coco.annToMask(row).astype(bool), scene.instances == label)
            assert coco.cats[row["category_id"]]["name"] == names[scene.codes[label - 1]]
            assert row["area"] == (scene.instances == label).sum()

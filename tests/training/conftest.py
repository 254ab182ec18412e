"""Packs of drawn shapes, laid out like the real ones, so that training is tested without them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from segzs.masks import RLE
from training.packs import TRAINING_STYLES, UNSEEN_STYLE, Packs

SHAPES = ("disc", "square", "triangle", "ring")


def _draw(shape: str, colour: tuple[int, int, int]) -> np.ndarray:
    image = np.zeros((96, 96, 4), np.uint8)
    ink = (*colour, 255)
    if shape == "disc":
        cv2.circle(image, (48, 48), 40, ink, -1)
    elif shape == "square":
        cv2.rectangle(image, (10, 10), (86, 86), ink, -1)
    elif shape == "triangle":
        cv2.fillPoly(image, [np.array([[48, 8], [88, 88], [8, 88]])], ink)
    else:
        cv2.circle(image, (48, 48), 36, ink, 12)
    return image


def _photographs(folder: Path, source: str) -> None:
    """Two grey images with a bright disc each, which is outlined, and a square, which is not."""
    (folder / "images").mkdir(parents=True)
    data: dict[str, list[dict]] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "disc"}]}
    for number in range(2):
        image, mask = np.full((120, 160, 3), 60 + 60 * number, np.uint8), np.zeros((120, 160), np.uint8)
        cv2.circle(mask, (60 + 20 * number, 60), 35, 1, -1)
        cv2.rectangle(image, (130, 10), (150, 40), (200, 40, 40), -1)
        image[mask > 0] = (40, 220, 240)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        row = {"id": number, "file_name": f"{number}.png", "source": source, "width": 160, "height": 120}
        data["images"].append({**row, "annotated": "partial"})
        outline = {"segmentation": RLE.encode(mask > 0).coco(), "area": int(mask.sum()), "iscrowd": 0, "isthing": 1}
        data["annotations"].append({"id": number, "image_id": number, "category_id": 1, **outline})
    (folder / "annotations.json").write_text(json.dumps(data, default=bytes.decode))


@pytest.fixture(scope="session")
def drawn_packs(tmp_path_factory: pytest.TempPathFactory) -> Packs:
    """Four concepts in four styles, two backgrounds, and two photographs a folder."""
    root: Path = tmp_path_factory.mktemp("packs")
    names = {
        f"1f00{i}": {"name": shape, "keywords": [shape, "shape"], "group": "Shapes", "subgroup": "flat"}
        for i, shape in enumerate(SHAPES)
    }
    (root / "cutouts").mkdir()
    (root / "cutouts" / "names.json").write_text(json.dumps(names))
    for number, style in enumerate((*TRAINING_STYLES, UNSEEN_STYLE)):
        (root / "cutouts" / style).mkdir()
        for code, row in names.items():
            image = _draw(row["name"], (60 * number, 200, 255 - 60 * number))
            cv2.imwrite(str(root / "cutouts" / style / f"{code}.png"), image)
    (root / "backgrounds").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 255, (128, 128, 3), np.uint8)
        cv2.imwrite(str(root / "backgrounds" / f"{number}.png"), cv2.GaussianBlur(noise, (0, 0), 4))
    (root / "backgrounds" / "index.json").write_text(json.dumps([{"file": f"{number}.png"} for number in range(2)]))
    for folder, source in (("train", "coco"), ("train_more", "mushrooms"), ("dev", "coco")):
        _photographs(root / "photos" / folder, source)
    return Packs(root)

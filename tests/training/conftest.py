"""Packs of drawn shapes, laid out like the real ones, so that training is tested without them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.packs import TRAINING_STYLES, UNSEEN_STYLE, Packs

SHAPES = ("disc", "square", "triangle", "ring")


def _draw(shape: str, colour: tuple[int, int, int]) -> np.ndarray:
    picture = np.zeros((96, 96, 4), np.uint8)
    ink = (*colour, 255)
    if shape == "disc":
        cv2.circle(picture, (48, 48), 40, ink, -1)
    elif shape == "square":
        cv2.rectangle(picture, (10, 10), (86, 86), ink, -1)
    elif shape == "triangle":
        cv2.fillPoly(picture, [np.array([[48, 8], [88, 88], [8, 88]])], ink)
    else:
        cv2.circle(picture, (48, 48), 36, ink, 12)
    return picture


@pytest.fixture(scope="session")
def drawn_packs(tmp_path_factory: pytest.TempPathFactory) -> Packs:
    """Four concepts in four styles, and two backgrounds."""
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
            picture = _draw(row["name"], (60 * number, 200, 255 - 60 * number))
            cv2.imwrite(str(root / "cutouts" / style / f"{code}.png"), picture)
    (root / "backgrounds").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 255, (128, 128, 3), np.uint8)
        cv2.imwrite(str(root / "backgrounds" / f"{number}.png"), cv2.GaussianBlur(noise, (0, 0), 4))
    (root / "backgrounds" / "index.json").write_text(json.dumps([{"file": f"{number}.png"} for number in range(2)]))
    return Packs(root)

"""Photographs and drawings with names, as the mean of EfficientNet-Lite's last map sees them.

A photograph's object has up to three views: its crop ("keep"), the crop with its surroundings grey ("grey"), and the
mean over its mask of one pass over the whole photograph ("dense"). Images under the GPL or a share-alike licence are
left out.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from open_clip.transform import PreprocessCfg
from torch import Tensor, nn

from segzs.clip.crops import Cropping, crop
from segzs.clip.dense import mask_means
from segzs.masks import RLE
from training.crops import MILD, STRONG, Studio
from training.packs import CLOSED, TRAINING_STYLES, Packs
from training.run import autocast

SIDE, DENSE_SIDE, CELL = 192, 480, 32
BATCH = 16
SQUARE = PreprocessCfg(size=(SIDE, SIDE), resize_mode="longest", fill_color=128)
SMALLEST, NARROWEST = 200, 16
OBJECTS = 12
"""A photograph lends no more objects than these: of hundreds of mushrooms a few are enough."""
MATERIALS = {"metal", "plastic", "glass"}
"""Names of `names_photos` that tell what a thing is made of, and not what it is."""
SURFACES = {
    "Asphalt": "asphalt",
    "Bark": "bark",
    "Bricks": "brick wall",
    "Cardboard": "cardboard",
    "Carpet": "carpet",
    "Concrete": "concrete wall",
    "CorrugatedSteel": "metal",
    "Fabric": "cloth",
    "Grass": "grass",
    "Gravel": "gravel",
    "Ground": "dirt",
    "Logs": "firewood",
    "Marble": "marble",
    "Moss": "moss",
    "OfficeCeiling": "ceiling",
    "Paper": "paper",
    "PavingStones": "pavement",
    "Planks": "wooden floor",
    "Plaster": "wall",
    "Road": "road",
    "Rock": "rock",
    "Rocks": "rocks",
    "RoofingTiles": "roof",
    "ScatteredLeaves": "leaves",
    "Snow": "snow",
    "SolarPanel": "solar panel",
    "ThatchedRoof": "roof",
    "Tiles": "tiled wall",
    "Wallpaper": "wallpaper",
    "Wood": "wood",
}
STUFF = Path(__file__).parent / "stuff.csv"
"""Points on sky, grass, walls and the like in ``photos/train``, named by eye: file, name, x and y as shares."""


@dataclass(frozen=True, eq=False)
class Views:
    """Of N things with names, features (N, channels) of some views; rows without a view are absent from it."""

    names: list[str]
    features: list[dict[str, Tensor]]


class Eye:
    """EfficientNet-Lite without its classifier, on images as the tiny CLIP gets them."""

    def __init__(self, trunk: nn.Module, device: torch.device) -> None:
        self.trunk, self.device = trunk.to(device, memory_format=torch.channels_last), device

    def maps(self, pixels: np.ndarray) -> Tensor:
        """uint8 (N, H, W, 3) -> float32 (N, channels, rows, columns)."""
        images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode(), autocast(self.device):
            return self.trunk.forward_features((images.float() - 127) / 128).float().cpu()

    def means(self, images: Iterable[np.ndarray]) -> Tensor:
        """Of images of any size, squashed to a square: float16 (N, channels)."""
        result, waiting = [], []
        for image in images:
            waiting.append(resized(image, SIDE, SIDE))
            if len(waiting) == BATCH:
                result.append(self.maps(np.stack(waiting)).mean((2, 3)))
                waiting.clear()
        if waiting:
            result.append(self.maps(np.stack(waiting)).mean((2, 3)))
        return torch.cat(result).half()

    def dense(self, pixels: np.ndarray) -> Tensor:
        """The cells of a whole image: (rows, columns, channels)."""
        share = DENSE_SIDE / min(pixels.shape[:2])
        rows, columns = (max(1, round(side * share / CELL)) for side in pixels.shape[:2])
        return self.maps(resized(pixels, columns * CELL, rows * CELL)[None])[0].permute(1, 2, 0)


def labelled(eye: Eye, packs: Packs) -> Views:
    """Every photograph with a name that training may see."""
    names: list[str] = []
    features: list[dict[str, Tensor]] = []
    for result, views in (*_objects(eye, packs), _small(eye, packs), _surfaces(eye, packs), _stuff(eye, packs)):
        names += result
        features += [{kind: values[row] for kind, values in views.items()} for row in range(len(result))]
    return Views(names, features)


def _objects(eye: Eye, packs: Packs) -> Iterator[tuple[list[str], dict[str, Tensor]]]:
    """Outlined objects of ``photos/train`` and ``photos/train_more``."""
    rng = np.random.default_rng(0)
    for folder in (packs.root / "photos" / "train", packs.root / "photos" / "train_more"):
        data = json.loads((folder / "annotations.json").read_text())
        names = {category["id"]: category["name"] for category in data["categories"]}
        for image in data["images"]:
            if CLOSED.search(f"{image.get('license_name')} {image.get('license')}"):
                continue
            rows = [row for row in data["annotations"] if row["image_id"] == image["id"] and _worth(row)]
            rows = [rows[i] for i in sorted(rng.permutation(len(rows))[:OBJECTS])]
            if not rows:
                continue
            pixels = _read(folder / "images" / image["file_name"])
            masks = [RLE(*row["segmentation"]["size"], row["segmentation"]["counts"]) for row in rows]
            views = {
                kind: eye.means(crop(pixels, mask, Cropping(kind, 0.1), 1, SQUARE) for mask in masks)
                for kind in ("keep", "grey")
            }
            views["dense"] = mask_means(eye.dense(pixels), masks).half()
            yield [names[row["category_id"]] for row in rows], views


def _worth(row: dict) -> bool:
    return not row["iscrowd"] and row["area"] >= SMALLEST and min(row["bbox"][2:]) >= NARROWEST


def _small(eye: Eye, packs: Packs) -> tuple[list[str], dict[str, Tensor]]:
    """The small photographs of ``names_photos``."""
    folder = packs.root / "names_photos"
    rows = [
        row
        for row in json.loads((folder / "index.json").read_text())
        if not CLOSED.search(row["licence"]) and row["name"] not in MATERIALS
    ]
    return [row["name"] for row in rows], {"keep": eye.means(_read(folder / row["file"]) for row in rows)}


def _surfaces(eye: Eye, packs: Packs) -> tuple[list[str], dict[str, Tensor]]:
    """The textures among the backgrounds."""
    folder = packs.root / "backgrounds"
    rows = [row for row in json.loads((folder / "index.json").read_text()) if row["kind"] in SURFACES]
    return [SURFACES[row["kind"]] for row in rows], {"keep": eye.means(_read(folder / row["file"]) for row in rows)}


def _stuff(eye: Eye, packs: Packs) -> tuple[list[str], dict[str, Tensor]]:
    """What was named by points: the mean of the cells around those of one name in one photograph."""
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for line in STUFF.read_text().splitlines():
        file, name, *positions = line.split(",")
        points[file, name] = [tuple(map(float, index.split())) for index in positions]
    names, means = [], []
    files = sorted({file for file, _ in points})
    for file in files:
        cells = eye.dense(_read(packs.root / "photos" / "train" / "images" / file))
        rows, columns = cells.shape[:2]
        for (other, name), positions in points.items():
            if other == file:
                chosen = [cells[int(y * rows), int(x * columns)] for x, y in positions]
                names.append(name)
                means.append(torch.stack(chosen).mean(0))
    return names, {"dense": torch.stack(means).half()}


def drawn(packs: Packs, repeats: int) -> Iterator[tuple[str, np.ndarray]]:
    """Drawings of the training styles as crops, each with its concept's code: first as they are, then altered."""
    studio, rng = Studio(packs, TRAINING_STYLES), random.Random(5)
    for repeat in range(repeats):
        for style in TRAINING_STYLES:
            for code in studio.codes:
                if code in studio.drawings[style]:
                    yield code, studio.crop(style, code, SIDE, STRONG if repeat else MILD, rng)


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image at a size, smoothed where it becomes smaller."""
    smaller = width * height < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _read(file: Path) -> np.ndarray:
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if pixels is None:
        raise FileNotFoundError(f"{file} is not a readable image")
    return np.ascontiguousarray(pixels[..., ::-1])

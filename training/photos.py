"""Photographs with masks as training scenes: cropped, zoomed, recoloured, with cut-outs laid on some of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from segzs.masks import RLE
from training.packs import CLOSED, Packs, read_picture
from training.scenes import UNLABELLED, Compositor, Scene

FOLDERS = ("train", "train_more")
WEIGHTS = {"coco": 1.0, "openimages_animals": 1.0, "dsb2018": 0.35, "crystl": 0.3, "ampgcv": 0.5}
WEIGHTS |= {"breadcrumb": 0.6, "microcontrollers": 0.5, "mushrooms": 1.0}
"""How often a photograph of a source is drawn."""
COMPLETE = "dsb2018"
"""The source whose every object is outlined, so that the rest is background."""
USABLE_CUTOUTS = ("coco", "openimages_animals", "microcontrollers", "breadcrumb")
SMALLEST_CUTOUT = 2500
IN_USE = 768 / 480
"""Pixels of the model's input for one of a photograph of 480 pixels, in use."""
PADDING = 127


@dataclass(frozen=True)
class Photo:
    """A photograph: uint8 RGB (H, W, 3), and int16 (H, W): its objects from 1 on, `UNLABELLED` elsewhere."""

    pixels: np.ndarray
    instances: np.ndarray
    source: str


@lru_cache
def photos(packs: Packs) -> tuple[Photo, ...]:
    """All photographs for training, with at least one object each."""
    return tuple(photo for folder in FOLDERS for photo in _read_folder(packs.root / "photos" / folder))


def _read_folder(folder: Path) -> list[Photo]:
    data = json.loads((folder / "annotations.json").read_text())
    rows: dict[int, list[dict]] = {}
    for row in data["annotations"]:
        if not row["iscrowd"]:
            rows.setdefault(row["image_id"], []).append(row)
    found = []
    for image in data["images"]:
        if CLOSED.search(str(image.get("license_name"))):
            continue
        pixels = read_picture(folder / "images" / image["file_name"], cv2.COLOR_BGR2RGB)
        own = sorted(rows.get(image["id"], ()), key=lambda row: -row["area"])  # small objects lie on large ones
        nothing = 0 if image["source"] == COMPLETE else UNLABELLED
        instances = np.full(pixels.shape[:2], nothing, np.int16)
        for label, row in enumerate(own, start=1):
            instances[RLE(*row["segmentation"]["size"], row["segmentation"]["counts"]).decode()] = label
        if own:
            found.append(Photo(pixels, instances, image["source"]))
    return found


@lru_cache
def photo_cutouts(packs: Packs) -> tuple[np.ndarray, ...]:
    """Objects cut out of the photographs for training, whole and large ones: uint8 RGBA."""
    cutouts = []
    for photo in photos(packs):
        if photo.source not in USABLE_CUTOUTS:
            continue
        height, width = photo.instances.shape
        for label in range(1, int(photo.instances.max()) + 1):
            mask = (photo.instances == label).astype(np.uint8)
            x, y, w, h = cv2.boundingRect(mask)
            if mask.sum() < SMALLEST_CUTOUT or x < 2 or y < 2 or x + w > width - 2 or y + h > height - 2:
                continue
            if len(np.unique(cv2.connectedComponents(mask[y : y + h, x : x + w])[1])) > 3:
                continue
            alpha = cv2.GaussianBlur(mask[y - 1 : y + h + 1, x - 1 : x + w + 1] * 255, (3, 3), 0)
            cutouts.append(np.dstack([photo.pixels[y - 1 : y + h + 1, x - 1 : x + w + 1], alpha]))
    return tuple(cutouts)


@dataclass
class PhotoScenes:
    """Draws one scene after another from the photographs.

    ``compositor`` lays its cut-outs on some of them.
    """

    packs: Packs
    compositor: Compositor
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    pasted: float = 0.35
    """Share of photographs with cut-outs on them."""

    def __post_init__(self) -> None:
        self._photos = photos(self.packs)
        weights = np.array([WEIGHTS[photo.source] for photo in self._photos])
        self._odds = weights / weights.sum()

    def scene(self, height: int, width: int) -> Scene:
        """A fresh scene of height x width pixels; what nobody outlined is `UNLABELLED`."""
        rng = self.rng
        photo = self._photos[rng.choice(len(self._photos), p=self._odds)]
        matrix = self._view(photo, height, width)
        border = (PADDING,) * 3
        pixels = cv2.warpAffine(photo.pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=border)
        instances = cv2.warpAffine(
            photo.instances, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=UNLABELLED
        )
        pixels = developed(pixels, rng)
        if rng.random() < self.pasted:
            first = int(instances.max()) + 1
            for label in range(first, first + rng.integers(1, 5)):
                self.compositor.paste_one(pixels, instances, label)
        labels = int(max(instances.max(), 0))
        return Scene(pixels, instances, (None,) * labels)

    def _view(self, photo: Photo, height: int, width: int) -> np.ndarray:
        """The affine map from the photograph to the scene: whole, or a part about as large as in use."""
        rng = self.rng
        tall, wide = photo.instances.shape
        stretch = np.exp(rng.uniform(-0.12, 0.12))
        angle = np.deg2rad(rng.normal(0, 4))
        if rng.random() < 0.55:
            scale = min(height / tall, width / wide) * rng.uniform(0.85, 1.02)
            middle = np.array([wide, tall]) / 2
            target = np.array([wide, tall]) * scale / 2
        else:
            scale = IN_USE * np.exp(rng.uniform(np.log(0.45), np.log(1.5)))
            target = np.array([width, height]) / 2
            middle = self._somewhere(photo)
            half = target / scale
            middle = np.where(2 * half < [wide, tall], np.clip(middle, half, [wide, tall] - half), [wide / 2, tall / 2])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = scale * turn @ np.diag([stretch, 1 / stretch]) @ np.diag([rng.choice([-1.0, 1.0]), 1.0])
        return np.column_stack([matrix, target - matrix @ middle])

    def _somewhere(self, photo: Photo) -> np.ndarray:
        """A point on or near an object, or anywhere."""
        tall, wide = photo.instances.shape
        if self.rng.random() < 0.15:
            return self.rng.uniform(0, 1, 2) * [wide, tall]
        label = self.rng.integers(1, int(photo.instances.max()) + 1)
        rows, columns = np.nonzero(photo.instances == label)
        if not len(rows):
            return np.array([wide, tall]) / 2
        index = self.rng.integers(len(rows))
        return np.array([columns[index], rows[index]]) + self.rng.normal(0, 40, 2)


def developed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A photograph as another camera or hour would have taken it; sometimes grey, blurred or grainy."""
    table = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.uniform(-0.4, 0.4))
    table = 0.5 + (table - 0.5) * rng.uniform(0.7, 1.25) + rng.uniform(-0.12, 0.12)
    table = table * np.exp(rng.normal(0, 0.08, 3))
    pixels = cv2.LUT(pixels, (table.clip(0, 1) * 255).astype(np.uint8)[None])
    if rng.random() < 0.4:
        grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        share = 1.0 if rng.random() < 0.2 else rng.uniform(-0.4, 0.7)
        pixels = cv2.addWeighted(pixels, 1 - share, grey, share, 0)
    if rng.random() < 0.15:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.4))
    if rng.random() < 0.15:
        noise = rng.standard_normal(pixels.shape[:2], np.float32)[..., None] * rng.uniform(2, 12)
        pixels = (pixels + noise).clip(0, 255).astype(np.uint8)
    return pixels

"""The measured objects: image features of exact masks, encoded once and kept in a scratch folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

import segzs
from segzs.clip.crops import Cropping, crops
from segzs.clip.image_features import encode_images
from training.names import Picture, composed, photographs
from training.packs import UNSEEN_STYLE, Packs
from training.scenes import MEASURED, Compositor

VIEWS, VIEWED = 8, 30
"""Views of an object, and the images whose objects have them."""
VIEW_SIZES = (0.5, 0.9)
"""Sides of views, as shares of the side of an object's crop."""
FEW = 60
"""Concepts of the scenes whose concepts recur."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of images: their features float32 (N, width), their right names, and the numbers of their images.

    ``views``, float32 (M, `VIEWS`, width), are the features of random parts of the crops of the first M objects.
    ``seconds`` and ``view_seconds`` are CPU time an image.
    """

    features: Tensor
    views: Tensor
    names: list[str]
    images: np.ndarray
    labels: list[str]
    seconds: float
    view_seconds: float

    def viewed(self) -> Objects:
        """The objects that have views."""
        count = len(self.views)
        return replace(self, features=self.features[:count], names=self.names[:count], images=self.images[:count])


def photographs_of(segmenter: segzs.Segmenter, packs: Packs, scratch: Path) -> Objects:
    """The COCO photographs of ``photos/dev``; the labels are all names that occur."""
    return _cached(segmenter, "photographs", scratch, photographs(packs), None, VIEWED)


def drawings_of(segmenter: segzs.Segmenter, packs: Packs, scratch: Path, count: int) -> Objects:
    """Scenes of all concepts in the unseen style; the labels are all concepts."""
    labels = [concept.name for concept in packs.concepts()]
    return _cached(segmenter, f"drawings-{count}", scratch, scenes(packs, count, frozenset()), labels, VIEWED)


def recurring_of(segmenter: segzs.Segmenter, packs: Packs, scratch: Path, count: int) -> Objects:
    """Scenes of `FEW` concepts in the unseen style, which are the labels."""
    pictures = scenes(packs, count, recurring_codes(packs))
    return _cached(segmenter, f"recurring-{count}", scratch, pictures, None)


def recurring_codes(packs: Packs) -> frozenset[str]:
    """`FEW` random concepts of the unseen style."""
    codes = sorted(packs.cutouts(UNSEEN_STYLE).keys() & {concept.code for concept in packs.concepts()})
    return frozenset(np.random.default_rng(22).permutation(codes)[:FEW].tolist())


def scenes(packs: Packs, count: int, codes: frozenset[str]) -> Iterator[Picture]:
    """Scenes in the unseen style with the exact masks of their objects."""
    recipe = replace(MEASURED, styles=(UNSEEN_STYLE,), codes=codes)
    return composed(Compositor(packs, recipe, np.random.default_rng([22, len(codes)])), packs, count)


def _cached(
    segmenter: segzs.Segmenter,
    kind: str,
    scratch: Path,
    pictures: Iterable[Picture],
    labels: list[str] | None,
    viewed: int = 0,
) -> Objects:
    path = scratch / f"{kind}-{segmenter.region_encoder.digest[:16]}.pt"
    if not path.is_file():
        scratch.mkdir(parents=True, exist_ok=True)
        torch.save(_encode(segmenter, pictures, viewed), path)
    values = torch.load(path)
    values["images"] = values["images"].numpy()
    return Objects(**values, labels=sorted(set(values["names"])) if labels is None else labels)


def _encode(segmenter: segzs.Segmenter, pictures: Iterable[Picture], viewed: int) -> dict[str, object]:
    """Encode the masks of pictures, and the views of the first ones."""
    clip, encoder, rng = segmenter.clip, segmenter.region_encoder, np.random.default_rng(0)
    features, views, names, images = [], [torch.zeros(0, VIEWS, 0)], [], []
    seconds = view_seconds = 0.0
    for number, picture in enumerate(pictures):
        started = time.process_time()
        features.append(encoder.encode(picture.image, picture.masks))
        seconds += time.process_time() - started
        if number < viewed:
            started = time.process_time()
            whole = crops(picture.image.pixels, picture.masks, Cropping("keep", 0), clip.preprocessing)
            encoded = encode_images(clip, (part for crop in whole for part in _parts(crop, rng)))
            views.append(encoded.unflatten(0, (-1, VIEWS)))
            view_seconds += time.process_time() - started
        names += picture.names
        images += [number] * len(picture.names)
    return {
        "features": torch.cat(features),
        "views": torch.cat(views[1:] or views),
        "names": names,
        "images": torch.tensor(images),
        "seconds": seconds / (images[-1] + 1),
        "view_seconds": view_seconds / max(1, viewed),
    }


def _parts(crop: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Random square parts of a crop."""
    for _ in range(VIEWS):
        side = max(1, round(len(crop) * rng.uniform(*VIEW_SIZES)))
        y, x = rng.integers(0, len(crop) - side + 1, 2)
        yield cv2.copyMakeBorder(crop[y : y + side, x : x + side], 0, 0, 0, 0, cv2.BORDER_CONSTANT)

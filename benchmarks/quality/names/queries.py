"""Search by an image and words together: 200 queries for a thing in another colour, and 200 for one in another place.

In the first set, a query is a drawing and the colour that the wanted one has, among `THINGS` drawings in all colours.
In the second, it is an object of a photograph and a thing that is in another photograph with an object of its name.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

import segzs
from benchmarks.quality.names.objects import Objects
from segzs.clip.crops import encode_object
from segzs.clip.retrieval import encode_query
from segzs.image import Image, read_image
from segzs.masks import RLE
from training.packs import UNSEEN_STYLE, Packs

HUES = {"red": 0, "yellow": 28, "green": 60, "blue": 115, "purple": 140}
"""In OpenCV's half degrees."""
THINGS, QUERIES = 40, 200
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
COLOURED = 0.45
"""The least share of a thing that has its main colour."""
SIDE, THING = 256, 180


@dataclass(frozen=True, eq=False)
class Queries:
    """The cosine similarity of objects to the image and to the words of each query, float32 (queries, objects).

    ``right`` says which objects are wanted. Intervals are of a bootstrap over ``groups``.
    """

    image: Tensor
    words: Tensor
    right: Tensor
    groups: np.ndarray

    def hits(self) -> dict[str, np.ndarray]:
        """Whether the first match of each query is right, by the way of searching.

        The features are added with the weight of words that is best for the other half of the queries.
        """
        at = {weight: self._hits(weight) for weight in (0.0, *WEIGHTS, 1.0)}
        both = np.zeros(len(self.right))
        for half in (0, 1):
            best = max(WEIGHTS, key=lambda weight: at[weight][1 - half :: 2].mean())
            both[half::2] = at[best][half::2]
        named = {"image": at[0.0], "words": at[1.0], "both, the weight of the other half": both}
        return named | {f"both, words weighted {weight:g}": at[weight] for weight in WEIGHTS}

    def _hits(self, weight: float) -> np.ndarray:
        first = ((1 - weight) * self.image + weight * self.words).argmax(1, keepdim=True)
        return self.right.gather(1, first)[:, 0].double().numpy()


def other_colours(segmenter: segzs.Segmenter, packs: Packs) -> Queries:
    rng = np.random.default_rng(22)
    coloured = {(row, hue): _recoloured(thing, hue) for row, thing in enumerate(_things(packs, rng)) for hue in HUES}
    keys, backgrounds = list(coloured), packs.backgrounds()
    drawings = (_on_background(coloured[key], backgrounds, rng) for key in keys)
    gallery = torch.cat([segmenter.region_encoder.encode(image, [mask]) for image, mask in drawings])
    queries = [(int(rng.integers(THINGS)), *rng.permutation(list(HUES))[:2].tolist()) for _ in range(QUERIES)]
    shown = (_on_background(coloured[row, hue], backgrounds, rng) for row, hue, _ in queries)
    images = torch.cat([encode_object(segmenter.clip, _cut(image, mask)) for image, mask in shown])
    words = {hue: encode_query(segmenter.clip, hue) for hue in HUES}
    texts = torch.stack([words[wanted] for *_, wanted in queries])
    right = torch.tensor([[key == (row, wanted) for key in keys] for row, _, wanted in queries])
    return Queries(images @ gallery.T, texts @ gallery.T, right, np.arange(QUERIES))


def other_places(segmenter: segzs.Segmenter, objects: Objects) -> Queries:
    names, images = np.array(objects.names), objects.images
    things = [set(names[images == image]) for image in range(images.max() + 1)]
    pairs = [
        (row, thing)
        for row, name in enumerate(objects.names)
        for thing in sorted(set().union(*(one for one in things if name in one)) - things[images[row]])
    ]
    chosen = [pairs[index] for index in np.random.default_rng(22).permutation(len(pairs))[:QUERIES]]
    rows = [row for row, _ in chosen]
    elsewhere = torch.from_numpy(images[rows][:, None] != images)
    texts = torch.stack([encode_query(segmenter.clip, f"next to a {thing}") for _, thing in chosen])
    right = torch.tensor(
        [[n == names[row] and thing in things[i] for n, i in zip(names, images, strict=True)] for row, thing in chosen]
    )
    similarity = objects.features[rows] @ objects.features.T
    outside = torch.where(elsewhere, 0.0, -torch.inf)
    return Queries(similarity + outside, texts @ objects.features.T, right, images[rows])


def _things(packs: Packs, rng: np.random.Generator) -> list[np.ndarray]:
    """Drawings of one main colour, in the unseen style."""
    skipped = {concept.code for concept in packs.concepts() if concept.group in ("Flags", "Symbols")}
    cutouts = {code: image for code, image in sorted(packs.cutouts(UNSEEN_STYLE).items()) if code not in skipped}
    chosen = (image for code, image in cutouts.items() if _main_colour(image)[1].sum() > COLOURED * _solid(image).sum())
    drawings = list(chosen)
    return [drawings[row] for row in rng.permutation(len(drawings))[:THINGS]]


def _solid(image: np.ndarray) -> np.ndarray:
    return image[..., 3] > 128


def _main_colour(image: np.ndarray) -> tuple[int, np.ndarray]:
    """The most frequent hue of an RGBA image, and the pixels that are near it."""
    hue, saturation, value = cv2.split(cv2.cvtColor(image[..., :3], cv2.COLOR_RGB2HSV))
    vivid = _solid(image) & (saturation > 90) & (value > 90)
    counts = np.bincount(hue[vivid], minlength=180)
    main = int(np.convolve(np.concatenate([counts[-8:], counts, counts[:8]]), np.ones(17), "valid").argmax())
    distance = np.abs((hue.astype(int) - main + 90) % 180 - 90)
    return main, vivid & (distance <= 15)


def _recoloured(image: np.ndarray, hue: str) -> np.ndarray:
    main, near = _main_colour(image)
    pixels = cv2.cvtColor(image[..., :3], cv2.COLOR_RGB2HSV)
    pixels[..., 0][near] = ((pixels[..., 0][near].astype(int) - main + 90) % 180 - 90 + HUES[hue]) % 180
    return np.dstack([cv2.cvtColor(pixels, cv2.COLOR_HSV2RGB), image[..., 3]])


def _on_background(
    drawing: np.ndarray, backgrounds: tuple[np.ndarray, ...], rng: np.random.Generator
) -> tuple[Image, RLE]:
    """A drawing, turned a little, on a background of its own."""
    height, width = drawing.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-20, 20), THING / max(height, width))
    turn[:, 2] += np.array([SIDE - width, SIDE - height]) / 2
    turned = cv2.warpAffine(drawing, turn, (SIDE, SIDE), flags=cv2.INTER_AREA)
    ground = cv2.resize(backgrounds[rng.integers(len(backgrounds))], (SIDE, SIDE))
    opacity = turned[..., 3:] / 255
    pixels = (ground * (1 - opacity) + turned[..., :3] * opacity).astype(np.uint8)
    return read_image(pixels), RLE.encode(_solid(turned))


def _cut(image: Image, mask: RLE) -> Image:
    """The part of an image in the box of a mask."""
    x1, y1, x2, y2 = mask.box
    return read_image(np.ascontiguousarray(image.pixels[y1:y2, x1:x2]))

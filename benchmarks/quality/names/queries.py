"""Search by picture and words: 200 queries, each a drawing and the colour that the wanted one has."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from torch import Tensor

import segzs
from segzs.clip.crops import encode_masks
from segzs.clip.retrieval import encode_query
from segzs.masks import RLE
from training.packs import UNSEEN_STYLE, Packs

HUES = {"red": 0, "yellow": 28, "green": 60, "blue": 115, "purple": 140}
"""In OpenCV's half degrees."""
THINGS, QUERIES = 40, 200
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
COLOURED = 0.45
"""The least share of a thing that has its main colour."""
SIDE, THING = 256, 180


def recalls(segmenter: segzs.Segmenter, packs: Packs) -> dict[str, np.ndarray]:
    """Whether the first match of each query is right, by the way of searching.

    `THINGS` things in all colours are searched. The features of picture and words are added with the weight that is
    best for the other half of the queries.
    """
    rng = np.random.default_rng(22)
    things = _things(packs, rng)
    coloured = {(row, hue): _recoloured(thing, hue) for row, thing in enumerate(things) for hue in HUES}
    backgrounds = packs.backgrounds()
    keys = list(coloured)
    gallery = _encode(segmenter, (coloured[key] for key in keys), backgrounds, rng)
    queries = [(int(rng.integers(THINGS)), *rng.permutation(list(HUES))[:2].tolist()) for _ in range(QUERIES)]
    pictures = _encode(segmenter, (coloured[row, hue] for row, hue, _ in queries), backgrounds, rng)
    words = {hue: encode_query(segmenter.clip, hue) for hue in HUES}
    texts = torch.stack([words[wanted] for _, _, wanted in queries])
    right = torch.tensor([keys.index((row, wanted)) for row, _, wanted in queries])
    seen, read = pictures @ gallery.T, texts @ gallery.T
    hits = {weight: _hits((1 - weight) * seen + weight * read, right) for weight in (0.0, *WEIGHTS, 1.0)}
    both = np.zeros(QUERIES)
    for half in (0, 1):
        both[half::2] = hits[max(WEIGHTS, key=lambda weight: hits[weight][1 - half :: 2].mean())][half::2]
    by_weight = {f"both, words weighted {weight:g}": hits[weight] for weight in WEIGHTS}
    return {"picture": hits[0.0], "words": hits[1.0], "both, the weight of the other half": both, **by_weight}


def _hits(similarity: Tensor, right: Tensor) -> np.ndarray:
    return (similarity.argmax(1) == right).double().numpy()


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


def _encode(
    segmenter: segzs.Segmenter,
    images: Iterable[np.ndarray],
    backgrounds: tuple[np.ndarray, ...],
    rng: np.random.Generator,
) -> Tensor:
    """The features of drawings, each turned a little and on a background of its own, as `segzs index` encodes them."""
    features = []
    for image in images:
        height, width = image.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-20, 20), THING / max(height, width))
        turn[:, 2] += np.array([SIDE - width, SIDE - height]) / 2
        drawing = cv2.warpAffine(image, turn, (SIDE, SIDE), flags=cv2.INTER_AREA)
        ground = cv2.resize(backgrounds[rng.integers(len(backgrounds))], (SIDE, SIDE))
        opacity = drawing[..., 3:] / 255
        pixels = (ground * (1 - opacity) + drawing[..., :3] * opacity).astype(np.uint8)
        mask = RLE.encode(_solid(drawing))
        features.append(encode_masks(segmenter.clip, pixels, [mask], segmenter.region_encoder.cropping))
    return torch.cat(features)

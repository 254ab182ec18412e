"""Files of annotations, labels and weights, valid and hostile, made from a seed: `check` reads one as segzs does."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.reliability.mutate import mutated_bytes, mutated_json, refusal
from segzs.checkpoints.read import read_weights
from segzs.clip.labels import read_labels
from segzs.clip.support_set import SupportSet
from segzs.detections import read_detections
from segzs.errors import SegzsError, SegzsWarning
from segzs.evaluate.truth import read_coco
from segzs.formats import ImageAnnotations, read, write
from segzs.image import read_image
from segzs.masks import RLE
from segzs.prompts import Prompt
from segzs.sam.encode import EncodedImage
from segzs.segments import Name, Segment

WIDTH, HEIGHT = 40, 30
IMAGE = read_image(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
LABELS = {"labels": [{"name": "cat", "synonyms": ["kitten"], "parent": "animal"}, "dog"], "templates": ["a {}."]}


def check(seed: int) -> str:
    """Read the file of a seed; returns what came out. Raises `AssertionError` if it is neither right nor clear."""
    chance = Random(seed)
    name = chance.choice(list(READERS))
    is_valid = chance.random() < 0.1
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        path = Path(folder, name)
        path.write_bytes(valid()[name] if is_valid else _mutated(name, chance))
        try:
            count = READERS[name](path)
        except SegzsError as error:
            return refusal(name, error, is_valid)
    foreign = [str(one.message) for one in given if not issubclass(one.category, SegzsWarning)]
    assert not foreign, f"{name}: {foreign[0]}"
    assert not is_valid or (count and not given), f"{name}: read {count}, {[str(one.message) for one in given]}"
    return f"{name}: {'read' if not given else 'read in part'}"


def _mutated(name: str, chance: Random) -> bytes:
    data = valid()[name]
    if not name.endswith((".json", ".jsonl")) or chance.random() < 0.3:
        return mutated_bytes(data, chance)
    lines = data.splitlines() if name.endswith(".jsonl") else [data]
    texts = [json.dumps(mutated_json(json.loads(line), chance)) for line in lines]
    return chance.choice((b"", b"\xef\xbb\xbf")) + "\n".join([*texts, ""]).encode()


@cache
def valid() -> dict[str, bytes]:
    """A valid file of each kind, by its name."""
    rng = np.random.default_rng(0)
    masks = [rng.random((HEIGHT, WIDTH)) > 0.9, np.ones((HEIGHT, WIDTH), bool), np.eye(HEIGHT, WIDTH, 3, dtype=bool)]
    names = (Name("cat", 0.8), Name("dog", 0.2))
    annotations = [
        ImageAnnotations(f"{letter}.png", WIDTH, HEIGHT, tuple(Segment(RLE.encode(m), 0.9, 0.8, names) for m in masks))
        for letter in "ab"
    ]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write(annotations, folder / "masks.coco.json", "coco")
        write(annotations, folder / "polygons.coco.json", "coco", polygons=True)
        write(annotations[:1], folder / "labelme", "labelme")
        (folder / "labelme" / "a.json").rename(folder / "labelme.json")
        write(annotations[:1], folder / "outlines", "labelme", polygons=True)
        (folder / "outlines" / "a.json").rename(folder / "outlines.json")
        write(annotations, folder / "segments.jsonl", "segzs")
        (folder / "one.segzs.json").write_bytes((folder / "segments.jsonl").read_bytes().splitlines()[0])
        write(annotations, folder / "segments.parquet", "parquet")
        results = [{"image_id": 1, "bbox": [3, 4, 9, 9]}, {"image_id": 1, "segmentation": RLE.encode(masks[0]).coco()}]
        (folder / "results.json").write_text(json.dumps(results))
        (folder / "labels.json").write_text(json.dumps(LABELS))
        (folder / "labels.yaml").write_text("labels:\n  cat: {synonyms: [kitten]}\n  dog:\ntemplates: ['a {}.']\n")
        (folder / "labels.txt").write_text("# animals\ncat\ndog\n")
        weights = {"layer.weight": torch.eye(3), "layer.bias": torch.zeros(3)}
        save_file(weights, folder / "weights.safetensors")
        torch.save({"state_dict": weights}, folder / "weights.pth")
        EncodedImage(IMAGE, torch.zeros(1, 4, 2, 2), (30, 40), "tiny", "0" * 64).save(folder / "image.safetensors")
        SupportSet(torch.eye(2), ("cat", "dog"), "digest").save(folder / "examples.safetensors")
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.name in READERS}


def _segments(path: Path) -> int:
    """The segments of a file, each with a mask of the size of its image."""
    count = 0
    for one in read(path):
        for segment in one.segments:
            assert segment.mask.shape == (one.height, one.width), path.name
            assert segment.mask.sum() == segment.area, path.name
            assert all(isinstance(name.label, str) for name in segment.names), path.name
            count += 1
    return count


def _truth(path: Path) -> int:
    for letter in "ab":
        path.with_name(f"{letter}.png").touch()
    return read_coco(path).objects


def _regions(path: Path) -> int:
    regions = read_detections(path, IMAGE)
    assert all(isinstance(region, Prompt) or region.area for region in regions), path.name
    return len(regions)


def _image(path: Path) -> int:
    return EncodedImage.load(path).image.width


READERS: dict[str, Callable[[Path], Any]] = {
    "masks.coco.json": _segments,
    "polygons.coco.json": lambda path: _segments(path) and _truth(path),
    **dict.fromkeys(
        ("labelme.json", "outlines.json", "segments.jsonl", "one.segzs.json", "segments.parquet"), _segments
    ),
    "results.json": _regions,
    **dict.fromkeys(("labels.json", "labels.yaml", "labels.txt"), lambda path: len(read_labels(path)[0])),
    **dict.fromkeys(("weights.safetensors", "weights.pth"), lambda path: len(read_weights(path))),
    "image.safetensors": _image,
    "examples.safetensors": lambda path: len(SupportSet.load(path).labels),
}

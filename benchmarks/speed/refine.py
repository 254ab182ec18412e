"""Memory and seconds of ``segzs refine`` by the number of objects: ``python -m benchmarks.speed.refine``.

The directories are synthetic. Features lie in 1,000 clusters, like those of objects. Each cluster has a name, which is
the first name of 60 % of its objects; all other names are random. The index is made before, so no image is encoded.
Memory is the peak of the command. That of ten objects is Python, its libraries and the CLIP.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import segzs
from benchmarks.speed.search import CLUSTERS, SPREAD, unit
from segzs.clip.model import ClipModel
from segzs.evaluate.report import markdown
from segzs.formats import native
from segzs.formats.annotations import Digests, ImageAnnotations
from segzs.masks import RLE
from segzs.search import index as search
from segzs.search.features import feature_width
from segzs.segments import Name, Segment

OBJECTS = (10, 25_000, 100_000)
ON_AN_IMAGE = 10
RIGHT = 0.6
PROBABILITIES = (0.5, 0.2, 0.1, 0.1, 0.1)
SIDE = 128


def make(folder: Path, clip: ClipModel, objects: int) -> None:
    """Write a labelled directory with its index."""
    rng = np.random.default_rng(0)
    centres = unit(rng.standard_normal((CLUSTERS, feature_width(clip)), np.float32))
    clusters = rng.integers(0, CLUSTERS, objects)
    ranked = rng.integers(0, CLUSTERS, (objects, len(PROBABILITIES)))
    is_right = rng.random(objects) < RIGHT
    ranked[is_right, 0] = clusters[is_right]
    settings = {"clip": {"name": "tiny"}, "regions": "crops", "background": "blur", "margin": 0.1}
    run = {"format": "segzs-run/1", "folder": str(folder), "glob": "*", "images": objects // ON_AN_IMAGE}
    folder.mkdir()
    (folder / "segzs-run.json").write_text(json.dumps({**run, "settings": settings}))
    native.write(images(ranked), folder / "segments.jsonl")

    def encode(record: ImageAnnotations, *_: Any) -> Tensor:
        start = int(record.file) * ON_AN_IMAGE
        near = centres[clusters[start : start + len(record.segments)]]
        return torch.from_numpy(
            unit(near + rng.standard_normal(near.shape, np.float32) * SPREAD / near.shape[1] ** 0.5)
        )

    search.encode_record = encode
    search.index(folder, clip)


def images(ranked: np.ndarray) -> Iterator[ImageAnnotations]:
    mask = RLE.encode(np.ones((SIDE, SIDE), bool))
    for number, start in enumerate(range(0, len(ranked), ON_AN_IMAGE)):
        rows = ranked[start : start + ON_AN_IMAGE].tolist()
        names = [tuple(Name(f"name {n}", p) for n, p in zip(row, PROBABILITIES, strict=True)) for row in rows]
        segments = tuple(Segment(mask, 0.9, 0.9, one) for one in names)
        yield ImageAnnotations(f"{number}", SIDE, SIDE, segments, "synthetic", Digests(f"{number}", f"{number}"))


def run(folder: Path, out: Path) -> tuple[float, float]:
    """Seconds of CPU time and GiB of memory that the command took."""
    process = subprocess.Popen([sys.executable, "-m", "segzs", "refine", folder, "--out", out, "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("segzs refine failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=OBJECTS)
    clip, least = segzs.load("tiny", cache=False).clip, 0.0
    rows = [("objects", "CPU time", "peak memory", "above that of the first row, an object")]
    for objects in parser.parse_args().objects:
        with tempfile.TemporaryDirectory() as folder:
            labelled, out = Path(folder) / "labelled", Path(folder) / "refined"
            make(labelled, clip, objects)
            seconds, gib = run(labelled, out)
        least = least or gib
        each = f"{(gib - least) * 2**20 / objects:.1f} KiB"
        rows.append((f"{objects:,}", f"{seconds:.0f} s", f"{gib:.2f} GiB", each))
    print(markdown(rows))


if __name__ == "__main__":
    main()

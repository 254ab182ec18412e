"""`segzs refine` on a directory: ``python -m benchmarks.quality.names.directory --packs PACKS --out DIR``.

The 300 scenes repeat 60 drawings of an unseen style, and their labels are the names of these. Masks are exact. Ten
wrong names, drawn at random, are corrected in a COCO file. The command is then run with them, killed several times,
and compared with a run that was not.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

import segzs
from benchmarks.quality.names.objects import recurring_codes, scenes
from segzs.dataset.directory import label_directory
from segzs.formats import read, write
from segzs.formats.annotations import Digests, ImageAnnotations
from segzs.image import Image, read_image
from segzs.segments import UNKNOWN, Name, Segment, Segments
from training.names import Picture
from training.packs import add_packs_argument

CORRECTIONS = 10
FILES = ("segments.jsonl", "annotations.json", "names.csv", "segzs-run.json")
KILLED_AFTER = (4, 8, 12)
"""Seconds after which the command is killed, one run after the other."""


class ExactMasks:
    """Labels scenes by their exact masks; ``pictures`` are by the stems of files."""

    def __init__(self, segmenter: segzs.Segmenter, pictures: dict[str, Picture]) -> None:
        self.segmenter, self.pictures = segmenter, pictures

    @property
    def settings(self) -> dict[str, Any]:
        return self.segmenter.settings

    def prepare(self, data: bytes) -> Image:
        return read_image(data)

    def label(self, path: str, sha256: str, image: Image) -> ImageAnnotations:
        masks = tuple(Segment(mask, 1.0, 1.0) for mask in self.pictures[Path(path).stem].masks)
        named = self.segmenter.name(Segments(image, masks))
        segments = tuple(Segment.from_dict(segment.to_dict()) for segment in named)
        return ImageAnnotations(path, image.width, image.height, segments, named.model, Digests(image.digest, sha256))


def right_names(folder: Path, pictures: dict[str, Picture]) -> np.ndarray:
    """Whether the most probable name of each segment besides "unknown" is right."""
    pairs = (
        (next((name.label for name in segment.names if name.label != UNKNOWN), ""), truth)
        for one in read(folder)
        for segment, truth in zip(one.segments, pictures[Path(one.file).stem].names, strict=True)
    )
    return np.array([label == truth for label, truth in pairs])


def corrections(folder: Path, pictures: dict[str, Picture], rows: set[int]) -> Iterator[ImageAnnotations]:
    """The images of a folder, with the right names of some segments."""
    row = 0
    for one in read(folder):
        segments = []
        for segment, truth in zip(one.segments, pictures[Path(one.file).stem].names, strict=True):
            segments.append(replace(segment, names=(Name(truth, 1.0),)) if row in rows else segment)
            row += 1
        yield replace(one, segments=tuple(segments))


def refine(labelled: Path, out: Path, corrected: Path | None = None, seconds: float | None = None) -> float:
    """Run the command, or kill it after some seconds; returns the seconds it took."""
    command = [sys.executable, "-m", "segzs", "refine", str(labelled), "--out", str(out), "--quiet"]
    started = time.perf_counter()
    process = subprocess.Popen(command + (["--corrected", str(corrected)] if corrected else []))
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    if seconds is None and process.returncode:
        sys.exit(process.returncode)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_packs_argument(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder that is made, and replaced")
    parser.add_argument("--scenes", type=int, default=300)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", segzs.SegzsWarning)
    root, labelled = arguments.out, arguments.out / "labelled"
    shutil.rmtree(root, ignore_errors=True)
    (root / "photos").mkdir(parents=True)
    pictures = {}
    for number, picture in enumerate(scenes(arguments.packs, arguments.scenes, recurring_codes(arguments.packs))):
        pictures[f"{number:03}"] = picture
        PIL.Image.fromarray(picture.image.pixels).save(root / "photos" / f"{number:03}.png")
    labels = sorted({name for picture in pictures.values() for name in picture.names})
    list(
        label_directory(ExactMasks(segzs.load("tiny", labels=labels, cache=False), pictures), root / "photos", labelled)
    )
    before = right_names(labelled, pictures)
    wrong = np.random.default_rng(0).permutation(np.flatnonzero(~before))[:CORRECTIONS]
    edited = write(corrections(labelled, pictures, set(wrong.tolist())), root / "edited.coco.json", "coco")
    for seconds in KILLED_AFTER:
        refine(labelled, root / "killed", edited, seconds)
    refine(labelled, root / "killed", edited)
    shutil.rmtree(labelled / "search.lance")
    first = refine(labelled, root / "refined")
    again = refine(labelled, root / "corrected", edited)
    others = np.ones(len(before), bool)
    others[wrong] = False
    rows = {"before": before, "refined": right_names(root / "refined", pictures)}
    rows[f"refined with {CORRECTIONS} corrections"] = right_names(root / "corrected", pictures)
    print(f"| names of {len(before)} objects in {len(pictures)} pictures | right | without those corrected |")
    print("| --- | --- | --- |")
    for kind, right in rows.items():
        print(f"| {kind} | {right.mean():.3f} | {right[others].mean():.3f} |")
    same = all((root / "killed" / name).read_bytes() == (root / "corrected" / name).read_bytes() for name in FILES)
    print(f"\nkilled {len(KILLED_AFTER)} times and repeated: {'the same bytes' if same else 'OTHER BYTES'}")
    print(f"{first:.0f} s with making the index, {again:.0f} s with it")


if __name__ == "__main__":
    main()

"""`segzs refine` on a directory: ``python -m benchmarks.quality.names.directory --packs PACKS --out DIR``.

The 300 scenes repeat 60 drawings of an unseen style, and their labels are the names of these. Masks are exact. Ten
wrong names, drawn at random, are corrected in a COCO file. `refine` is then killed by SIGKILL at random instants after
its models were loaded, first while it makes the index, and its files are compared with those of a run that was not.
"""

from __future__ import annotations

import argparse
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import PIL.Image
import torch

import segzs
from benchmarks.quality.names.objects import recurring_codes, scenes
from benchmarks.reliability.kills import Ready, contents, fork
from segzs.clip.model import ClipModel
from segzs.dataset.directory import label_directory
from segzs.evaluate.report import markdown
from segzs.formats import read, write
from segzs.formats.annotations import Digests, ImageAnnotations
from segzs.image import Image, read_image
from segzs.search.refine import refine
from segzs.segments import UNKNOWN, Name, Segment, Segments
from training.names import Picture
from training.packs import add_packs_argument

CORRECTIONS = 10
KILLS_OF_INDEX, KILLS = 3, 10


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


@dataclass(frozen=True)
class Refinement:
    """Refines a directory in forked processes; lancedb runs in these alone, as its threads do not survive a fork."""

    labelled: Path
    clip: ClipModel

    def run(self, out: Path, corrected: Path | None = None, delay: float | None = None) -> bool:
        """Whether it was killed, ``delay`` seconds after it began, with the models loaded."""

        def work(ready: Ready) -> None:
            import lancedb  # noqa: F401

            ready()
            started = time.perf_counter()
            refine(self.labelled, out, self.clip, corrected=corrected)
            out.with_suffix(".seconds").write_text(f"{time.perf_counter() - started}")

        return fork(work, delay)

    def seconds(self, out: Path, corrected: Path | None = None) -> float:
        """The seconds that it takes."""
        self.run(out, corrected)
        return float(out.with_suffix(".seconds").read_text())


def label(root: Path, segmenter: segzs.Segmenter, pictures: dict[str, Picture]) -> Path:
    (root / "photos").mkdir(parents=True)
    for stem, picture in pictures.items():
        PIL.Image.fromarray(picture.image.pixels).save(root / "photos" / f"{stem}.png")
    list(label_directory(ExactMasks(segmenter, pictures), root / "photos", root / "labelled"))
    return root / "labelled"


def kill_often(refinement: Refinement, out: Path, corrected: Path, index_seconds: float, seconds: float) -> str:
    """Refine with kills while the index is made, and after it is; then to the end."""
    chance = Random(0)
    delays = [chance.uniform(0.1, 0.9) * index_seconds / KILLS_OF_INDEX for _ in range(KILLS_OF_INDEX)]
    first = sum(refinement.run(out, corrected, delay) for delay in delays)
    refinement.run(out, corrected)
    later = sum(refinement.run(out, corrected, chance.uniform(0, seconds)) for _ in range(KILLS))
    refinement.run(out, corrected)
    return f"killed {first} times while the index was made, {later} times later, and repeated"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_packs_argument(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder that is made, and replaced")
    parser.add_argument("--scenes", type=int, default=300)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", segzs.SegzsWarning)
    torch.set_num_threads(1)  # more of them do not survive a fork
    started, root = time.perf_counter(), arguments.out
    shutil.rmtree(root, ignore_errors=True)
    drawn = scenes(arguments.packs, arguments.scenes, recurring_codes(arguments.packs))
    pictures = {f"{number:03}": picture for number, picture in enumerate(drawn)}
    names = sorted({name for picture in pictures.values() for name in picture.names})
    segmenter = segzs.load("tiny", labels=names, cache=False)
    labelled = label(root, segmenter, pictures)
    before = right_names(labelled, pictures)
    wrong = np.random.default_rng(0).permutation(np.flatnonzero(~before))[:CORRECTIONS]
    edited = write(corrections(labelled, pictures, set(wrong.tolist())), root / "edited.coco.json", "coco")

    refinement = Refinement(labelled, segmenter.clip)
    index_seconds = refinement.seconds(root / "corrected", edited)
    seconds = refinement.seconds(root / "refined")
    others = np.ones(len(before), bool)
    others[wrong] = False
    rows = [(f"names of {len(before)} objects in {len(pictures)} images", "right", "without those corrected")]
    for kind, folder in {
        "before": labelled,
        "refined": root / "refined",
        f"refined with {CORRECTIONS} corrections": root / "corrected",
    }.items():
        right = right_names(folder, pictures)
        rows.append((kind, f"{right.mean():.3f}", f"{right[others].mean():.3f}"))
    print(markdown(rows), end="\n\n", flush=True)

    shutil.rmtree(labelled / "search.lance")
    killed = kill_often(refinement, root / "killed", edited, index_seconds, seconds)
    same = contents(root / "killed") == contents(root / "corrected")
    print(f"{killed}: {'the same bytes' if same else 'OTHER BYTES'}")
    print(f"{index_seconds:.0f} s with making the index, {seconds:.1f} s with it")
    print(f"{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()

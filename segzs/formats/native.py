"""segzs' own files: a JSON object an image, a line an image in ``.jsonl``, one image in ``.json``.

Lossless but for four decimals of the scores and the five best names of each segment.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from segzs.formats.annotations import ImageAnnotations, blank, rle_of, segment_of
from segzs.formats.files import atomic_write, load_json, reading

WHAT = "what `segzs label --json` prints or segzs.save writes to a .json file"


def write(annotated: Iterable[ImageAnnotations], destination: Path) -> None:
    """Write one line of JSON an image."""
    with atomic_write(destination) as file:
        for one in annotated:
            file.write(json.dumps(one.to_dict(), ensure_ascii=False) + "\n")


def read(path: Path) -> Iterator[ImageAnnotations]:
    """Read ``.jsonl``, ``.json``, or a folder with files that end so: of ``segments.jsonl``, or all ``.segzs.json``."""
    if path.is_dir():
        lines = path / "segments.jsonl"
        for file in [lines] if lines.is_file() else sorted(path.rglob("*.segzs.json")):
            yield from read(file)
        return
    with reading(path, WHAT):
        if path.name.lower().endswith(".jsonl"):
            with path.open(encoding="utf-8") as every:
                for line in every:
                    if line.strip():
                        yield _annotated(json.loads(line), path)
        else:
            yield _annotated(load_json(path), path)


def _annotated(known: dict, path: Path) -> ImageAnnotations:
    if known["format"] != "segzs/1":
        raise ValueError(f"its format is {known['format']!r}")
    size, file = known["image"], known.get("file", path.name.partition(".")[0] + ".png")
    image = blank(file, size["width"], size["height"], known["model"], size["sha256"])
    rows = known["segments"]
    return replace(
        image, segments=tuple(segment_of(rle_of(row["segmentation"], image), row["name"], 1, row) for row in rows)
    )

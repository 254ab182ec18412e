"""Refine the names of a labelled directory by label propagation over the features of its segments.

``refine("labelled", "refined", clip)`` writes ``segzs-run.json``, ``segments.jsonl`` and ``annotations.json`` as
`label_directory` does, and ``names.csv``, which has the first name of each segment beside the new one. The labelled
directory stays as it is. Each file is written whole or not at all, and the same input gives the same bytes.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segzs.clip.model import ClipModel
from segzs.clip.propagation import propagate
from segzs.dataset.listing import RUN_FILE
from segzs.dataset.run import lock_folder
from segzs.dataset.storage import output_errors
from segzs.errors import AnnotationError, ImageError, UsageError
from segzs.files import atomic_write, leftovers
from segzs.formats import coco, native, read
from segzs.formats.annotations import ImageAnnotations
from segzs.masks import iou
from segzs.search.features import encode_record, feature_width, image_key, read_run, region_encoder
from segzs.search.index import index
from segzs.search.table import is_installed, open_table
from segzs.segments import UNKNOWN, Name

RECORDS, FAILURES, NAMES, COCO = "segments.jsonl", "failures.jsonl", "names.csv", "annotations.json"
SAME_MASK = 0.5
"""A corrected mask is that of a segment if their IoU is at least this."""
BATCH = 8192

Key = tuple[str, int]
"""The file of a segment, and its index in the file's record."""
Progress = Callable[[float], object]


@dataclass(frozen=True)
class RefineReport:
    """The result of `refine`: the segments, those whose first name changed, and those that a person named.

    ``skipped`` is the number of images that were removed or changed, so that their segments have no neighbours.
    """

    segments: int
    changed: int
    given: int
    skipped: int


def refine(
    labelled: str | os.PathLike[str],
    out: str | os.PathLike[str],
    clip: ClipModel,
    *,
    corrected: str | os.PathLike[str] | None = None,
    progress: Progress = lambda share: None,
) -> RefineReport:
    """Write the segments of a labelled directory with names that take those of similar segments into account.

    The features are those of the index, which is made, or brought up to date, first. Without lancedb, they are encoded
    in memory. Segments of images that were removed or changed have no neighbours.

    Args:
        labelled: the output folder of `label_directory`.
        out: the folder to write; a folder of an earlier refinement is replaced.
        clip: the model of the index, see `load_clip_for`.
        corrected: annotations of the same images that a person corrected, in any format that `segzs.formats.read`
            reads. A name that differs from the first one of the segment with the same mask is kept, and spreads. So
            do the names that a person gave in an earlier refinement that made ``labelled``.
        progress: called with the share of the images whose features are there, from 0 to 1.

    Raises:
        OutputError: ``labelled`` is not a labelled directory, or ``out`` cannot be written.
        UsageError: ``out`` is ``labelled`` or the directory of the images, or holds other results; or ``corrected`` has
            no segment of ``labelled``.
        AnnotationError: ``corrected`` cannot be read.
        ModelMismatchError: another CLIP made the index.

    >>> refine("labelled", "refined", segzs.load().clip)  # doctest: +SKIP
    RefineReport(segments=5210, changed=388, given=0, skipped=0)
    """
    source, target = Path(labelled), Path(out)
    run = read_run(source)
    _check_target(source, target, Path(run["folder"]))
    keys, names = _names(source)
    given = {(one["file"], one["segment"]): one["name"] for one in run.get("refined", ())}
    if corrected is not None:
        given |= _corrections(source, read(corrected), str(corrected))
    features = (_indexed if is_installed() else _encoded)(source, keys, clip, progress)
    names = [(Name(given[key], 1.0),) if key in given else ranked for key, ranked in zip(keys, names, strict=True)]
    rows = [row for row, key in enumerate(keys) if key in given]
    refined = dict(zip(keys, propagate(features, names, rows), strict=True))
    run["refined"] = [{"file": file, "segment": row, "name": name} for (file, row), name in sorted(given.items())]
    with ExitStack() as stack:
        stack.enter_context(lock_folder(target))
        stack.enter_context(output_errors(target))
        for part in leftovers(target):
            part.unlink(missing_ok=True)
        with atomic_write(target / RUN_FILE) as file:
            file.write(f"{json.dumps(run, indent=1, ensure_ascii=False)}\n")
        changed = _write_names(source, target / NAMES, refined, given)
        native.write(_renamed(source, refined), target / RECORDS)
        if (failures := source / FAILURES).is_file():
            with atomic_write(target / FAILURES, "wb") as file:
                file.write(failures.read_bytes())
        coco.write(native.read_lines(target / RECORDS, verify=False), target / COCO)
    encoded = {file for (file, _), feature in zip(keys, features, strict=True) if feature.any()}
    return RefineReport(len(keys), changed, len(given), len({file for file, _ in keys} - encoded))


def _check_target(source: Path, target: Path, photos: Path) -> None:
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is the labelled directory itself, which keeps the first names; give another folder")
    if target.resolve() == photos.resolve():
        raise UsageError(f"{target} is the directory of the images; give another folder")
    has_results = any((target / name).exists() for name in (RECORDS, NAMES, COCO))
    if has_results and "refined" not in _run_file(target):
        raise UsageError(f"{target} holds other results than those of segzs refine; give another folder")


def _run_file(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / RUN_FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _names(source: Path) -> tuple[list[Key], list[tuple[Name, ...]]]:
    records = native.read_lines(source / RECORDS, verify=False)
    pairs = [((one.file, row), segment.names) for one in records for row, segment in enumerate(one.segments)]
    return [key for key, _ in pairs], [names for _, names in pairs]


def _indexed(source: Path, keys: list[Key], clip: ClipModel, progress: Progress) -> Tensor:
    """The features of segments from the index, float32 (N, width); zero where it has none."""
    index(source, clip, progress=progress)
    records = native.read_lines(source / RECORDS, verify=False)
    files = {image_key(one): one.file for one in records}
    rows = {key: row for row, key in enumerate(keys)}
    table = open_table(source)
    width = table.schema.field("feature").type.list_size  # type: ignore[union-attr]
    features = torch.zeros(len(keys), width)
    query = table.search().select(["image", "segment", "feature"])  # type: ignore[union-attr]
    for batch in query.to_batches(BATCH):
        vectors = torch.from_numpy(batch["feature"].flatten().to_numpy().reshape(-1, width).copy())
        pairs = zip(batch["image"].to_pylist(), batch["segment"].to_pylist(), strict=True)
        chosen = [rows.get((files.get(image, ""), segment), -1) for image, segment in pairs]
        kept = [number for number, row in enumerate(chosen) if row >= 0]
        features[[chosen[number] for number in kept]] = vectors[kept]
    return features


def _encoded(source: Path, keys: list[Key], clip: ClipModel, progress: Progress) -> Tensor:
    """The features of segments from their images, float32 (N, width); zero where an image was removed or changed."""
    run = read_run(source)
    encoder, root = region_encoder(run, clip), Path(run["folder"])
    features, row = torch.zeros(len(keys), feature_width(clip)), 0
    for number, record in enumerate(native.read_lines(source / RECORDS, verify=False), start=1):
        if count := len(record.segments):
            with suppress(ImageError, AnnotationError):
                features[row : row + count] = encode_record(record, root, encoder)
            row += count
        progress(number / run["images"])
    return features


def _corrections(source: Path, corrected: Iterable[ImageAnnotations], path: str) -> dict[Key, str]:
    """The names that differ from the first ones, of segments with the same mask."""
    by_file = {one.file: one for one in corrected}
    given: dict[Key, str] = {}
    matched = 0
    for record in native.read_lines(source / RECORDS, verify=False):
        theirs = by_file.get(record.file)
        if theirs is None or not theirs.segments or not record.segments:
            continue
        overlaps = iou([segment.rle for segment in theirs.segments], [segment.rle for segment in record.segments])
        for segment, row, overlap in zip(theirs.segments, overlaps.argmax(1), overlaps.max(1), strict=True):
            if overlap >= SAME_MASK:
                matched += 1
                if segment.name not in ("", UNKNOWN, record.segments[row].name):
                    given[record.file, int(row)] = segment.name
    if not matched:
        raise UsageError(f"{path} has no segment of {source}; give annotations of the same images and masks")
    return given


def _write_names(source: Path, path: Path, refined: dict[Key, tuple[Name, ...]], given: dict[Key, str]) -> int:
    """Write the table of names; returns the number of segments whose first name changed."""
    changed = 0
    with atomic_write(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file", "segment", "first name", "name", "by"])
        for record in native.read_lines(source / RECORDS, verify=False):
            for row, segment in enumerate(record.segments):
                key = record.file, row
                name = refined[key][0].label if refined[key] else ""
                changed += name != segment.name
                by = "person" if key in given else "neighbours" if name != segment.name else ""
                table.writerow([record.file, row, segment.name, name, by])
    return changed


def _renamed(source: Path, refined: dict[Key, tuple[Name, ...]]) -> Iterator[ImageAnnotations]:
    for record in native.read_lines(source / RECORDS, verify=False):
        segments = (replace(one, names=refined[record.file, row]) for row, one in enumerate(record.segments))
        yield replace(record, segments=tuple(segments))

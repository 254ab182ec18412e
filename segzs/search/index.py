"""Search: image features of every segment of a labelled directory, in a LanceDB table next to its records.

It needs ``pip install 'segzs[search]'``. ``segzs label DIR --out out`` writes ``out``, and `index` adds
``out/search.lance``, with a row per segment::

    image     SHA-256 of the record's path and file digest       file      the path in the directory, as bytes of UTF-8
    sha256    of the file                                        pixels    SHA-256 of the upright RGB pixels
    segment   the index in the record, from 0                    box       x1, y1, x2, y2 in pixels
    name, probability                                            feature   float32 (width,), normalised

The metadata of the table's schema identifies the CLIP and the settings of the run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segzs.checkpoints.locate import locate_clip
from segzs.checks import check_number
from segzs.clip.crops import encode_object
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.regions import RegionEncoder
from segzs.clip.retrieval import compose, encode_query
from segzs.dataset.pipeline import Failure
from segzs.dataset.run import lock_folder
from segzs.errors import AnnotationError, ImageError, ModelError, ModelMismatchError, OutputError, SegzsError
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.native import read_lines
from segzs.image import ImageSource, read_image
from segzs.loading import resolve_device, resolve_dtype
from segzs.masks import Box
from segzs.search.features import encode_record, feature_width, image_key, read_run, region_encoder
from segzs.search.table import (
    TABLE,
    connect,
    is_installed,
    metadata,
    nearest,
    open_table,
    optimize,
    probes,
    schema,
    write_errors,
)

ROWS_PER_COMMIT = 512
"""A run that is killed loses at most this many features, and those of one more image."""
COLUMNS = ("file", "sha256", "segment", "name", "probability", "box")
MARGIN = 0.1
"""Context around a crop that is displayed, as a share of the longer side of its box."""


@dataclass(frozen=True)
class IndexReport:
    """The result of `index`: segments in the table, images added and removed, and images that were skipped."""

    segments: int
    added: int
    removed: int
    skipped: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class Match:
    """A segment that matches a query.

    ``score`` is the cosine similarity. ``file`` is relative to the directory of images, and ``sha256`` is its digest.
    ``segment`` is the index in the file's record. ``box`` is x1, y1, x2, y2 in pixels.
    """

    score: float
    file: str
    segment: int
    name: str
    probability: float
    box: Box
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON."""
        rounded = {"score": round(self.score, 4), "probability": round(self.probability, 4), "box": list(self.box)}
        return asdict(self) | rounded


@dataclass(frozen=True, eq=False)
class SegmentIndex:
    """The index of a labelled directory, and the CLIP that made it; make one with `SegmentIndex.open`.

    >>> index = SegmentIndex.open("out", segzs.load().clip)  # doctest: +SKIP
    >>> [(match.file, match.name) for match in index.search("red bicycle", limit=2)]  # doctest: +SKIP
    [('2024/street.jpg', 'bicycle'), ('2023/shed.jpg', 'bicycle')]
    """

    root: Path
    clip: ClipModel
    table: Any
    probes: int

    @classmethod
    def open(cls, out: str | os.PathLike[str], clip: ClipModel) -> SegmentIndex:
        """Open the index in the folder ``out``.

        Raises:
            OutputError: there is no index, or lancedb is not installed.
            ModelMismatchError: another CLIP made the features.
        """
        folder = Path(out)
        run = read_run(folder)
        table = open_table(folder)
        if table is None:
            raise OutputError(f"{folder} has no index yet; run: segzs index {folder}")
        _check_clip(metadata(table), clip, folder)
        return cls(Path(run["folder"]), clip, table, probes(table))

    def search(self, text: str | None = None, *, like: ImageSource | None = None, limit: int = 10) -> list[Match]:
        """The segments that are most similar to words, to an image of one object, or to both together, best first.

        ``search("red", like="cup.png")`` finds red things like the one in the image.

        Raises:
            VocabularyError: the text is empty.
            ImageError: the image cannot be read.
            SegzsError: there is neither a text nor an image, or ``limit`` is less than 1.
        """
        if text is None and like is None:
            raise SegzsError("search takes words, an image or both; give one, as search('red mug')")
        queries = [] if like is None else [encode_object(self.clip, read_image(like))[0]]
        queries += [] if text is None else [encode_query(self.clip, text)]
        query = compose(*queries) if len(queries) == 2 else queries[0]
        return self.nearest(query.cpu().numpy(), limit=limit)

    def nearest(self, feature: np.ndarray, *, limit: int = 10) -> list[Match]:
        """The segments with the largest cosine similarity to a normalised feature, float32 (width,)."""
        check_number("limit", limit, "a whole number from 1 on", 1, whole=True)
        return [
            Match(
                score=1 - row["_distance"],
                file=row["file"].decode(errors="surrogateescape"),
                box=tuple(row["box"]),
                **{name: row[name] for name in ("sha256", "segment", "name", "probability")},
            )
            for row in nearest(self.table, feature, limit, COLUMNS, self.probes).to_pylist()
        ]

    def crops(self, matches: Iterable[Match]) -> Iterator[np.ndarray | None]:
        """Crops of matches, uint8 RGB (height, width, 3); None where the file was removed or changed."""
        for match in matches:
            try:
                data = (self.root / match.file).read_bytes()
                unchanged = hashlib.sha256(data).hexdigest() == match.sha256
                yield _crop(read_image(data).pixels, match.box) if unchanged else None
            except (OSError, ImageError):
                yield None


def index(
    out: str | os.PathLike[str], clip: ClipModel, *, progress: Callable[[float], object] | None = None
) -> IndexReport:
    """Bring the index in the folder ``out`` up to date with its records.

    Features of new segments are added, those of removed ones are deleted, and all others are kept, so a run that was
    stopped resumes. Images that were removed or changed are skipped.

    Args:
        out: the output folder of ``segzs label DIR --out out``.
        clip: the CLIP that searches will use.
        progress: called with the share done, from 0 to 1.

    Raises:
        OutputError: ``out`` is not such a folder, another run is writing to it, its index was made with other
            settings or by another version of segzs, it cannot be written, or lancedb is not installed.
        ModelMismatchError: another CLIP made the features in the index.

    >>> index("out", segzs.load().clip)  # doctest: +SKIP
    IndexReport(segments=5210, added=830, removed=0, skipped=())
    """
    folder = Path(out)
    run = read_run(folder)
    connect(folder)  # raises before anything is written if lancedb is not installed
    with lock_folder(folder):
        return _index(folder, run, clip, progress or (lambda share: None))


def _index(folder: Path, run: dict[str, Any], clip: ClipModel, progress: Callable[[float], object]) -> IndexReport:
    import pyarrow as arrow

    table = open_table(folder)
    if table is None:
        table = _create(folder, run, clip)
    about = metadata(table)
    _check_clip(about, clip, folder)
    if about["run"] != _run_digest(run, clip):
        raise OutputError(
            f"the index in {folder} is of other settings or another version of segzs; delete {folder / TABLE}.lance "
            "and repeat"
        )
    records = folder / "segments.jsonl"
    indexed = set(table.search().select(["image"]).to_arrow()["image"].to_pylist())
    current = {image_key(record) for record in read_lines(records, verify=False) if record.segments}
    removed = sorted(indexed - current)
    for start in range(0, len(removed), ROWS_PER_COMMIT):
        with write_errors(folder):
            table.delete(f"image IN ({', '.join(map(repr, removed[start : start + ROWS_PER_COMMIT]))})")

    new, rows, skipped, done = current - indexed, [], [], 0
    encoder = region_encoder(run, clip)
    for record in read_lines(records, verify=False):
        if image_key(record) not in new:
            continue
        try:
            rows += _rows(record, Path(run["folder"]), encoder)
        except (ImageError, AnnotationError) as error:
            skipped.append(Failure(record.file, str(error)))
        done += 1
        if len(rows) >= ROWS_PER_COMMIT or (rows and done == len(new)):
            with write_errors(folder):
                table.add(arrow.Table.from_pylist(rows, table.schema))
            rows = []
        progress(done / len(new))
    with write_errors(folder):
        optimize(table)
    return IndexReport(table.count_rows(), len(new) - len(skipped), len(removed), tuple(skipped))


def load_clip_for(out: str | os.PathLike[str], clip: str | None = None, device: str = "auto") -> ClipModel:
    """Load the CLIP that made the index in ``out``, or, where there is no index, the one that named its segments.

    ``clip`` and ``device`` are as for `segzs.load`. Raises `OutputError` or `ModelError` if that is not possible.
    """
    folder = Path(out)
    run, table = read_run(folder), open_table(folder) if is_installed() else None
    name = metadata(table)["clip"] if table is not None else run["settings"]["clip"]["name"]
    torch_device = resolve_device(device)
    try:
        files = locate_clip(clip or name)
    except ModelError as error:
        if clip:
            raise
        raise ModelError(f"{folder} was made with the CLIP {name}; give its path with --clip: {error}") from error
    return load_clip(files, torch_device, resolve_dtype("auto", torch_device, files.spec.name))


def _rows(record: ImageAnnotations, root: Path, encoder: RegionEncoder) -> list[dict[str, Any]]:
    features = encode_record(record, root, encoder).numpy()
    file, digests = record.file.encode(errors="surrogateescape"), record.digests
    image = {"image": image_key(record), "file": file, "sha256": digests.file, "pixels": digests.pixels}
    rows = []
    for number, (segment, feature) in enumerate(zip(record.segments, features, strict=True)):
        name = segment.name.encode(errors="backslashreplace").decode()
        row = {"segment": number, "name": name, "probability": segment.probability, "box": segment.box}
        rows.append({**image, **row, "feature": feature})
    return rows


def _run_digest(run: dict[str, Any], clip: ClipModel) -> str:
    text = json.dumps(run["settings"], sort_keys=True) + region_encoder(run, clip).digest
    return hashlib.sha256(text.encode()).hexdigest()


def _create(folder: Path, run: dict[str, Any], clip: ClipModel) -> Any:
    about = {"clip": clip.spec.name, "weights": clip.digest, "config": clip.config, "run": _run_digest(run, clip)}
    with write_errors(folder):
        return connect(folder).create_table(TABLE, schema=schema(feature_width(clip), about))


def _check_clip(about: dict[str, str], clip: ClipModel, folder: Path) -> None:
    if (about["weights"], about["config"]) != (clip.digest, clip.config):
        raise ModelMismatchError(
            f"the index in {folder} holds features of the CLIP {about['clip']} ({about['weights'][:12]}), not of "
            f"{clip.spec.name} ({clip.digest[:12]}); use that CLIP, or delete {folder / TABLE}.lance and index again"
        )


def _crop(pixels: np.ndarray, box: Box) -> np.ndarray:
    x1, y1, x2, y2 = box
    margin = round(MARGIN * max(x2 - x1, y2 - y1))
    # the box of an empty mask is empty; its crop has one pixel, so that it can be displayed
    bottom, right = max(y2, y1 + 1) + margin, max(x2, x1 + 1) + margin
    return pixels[max(0, y1 - margin) : bottom, max(0, x1 - margin) : right]

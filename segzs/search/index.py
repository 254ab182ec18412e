"""Search: a CLIP feature of every segment of a labelled directory, in a LanceDB table beside its records.

``pip install 'segzs[search]'``. What ``segzs label DIR --out out`` wrote gets ``out/search.lance``, a row a segment::

    image     SHA-256 of the record's path and file digest       file      the path in the directory, as bytes of UTF-8
    sha256    of the file                                        pixels    SHA-256 of the upright RGB pixels
    segment   the index in the record, from 0                    box       x1, y1, x2, y2 in pixels
    name, probability                                            feature   float32 (width,), normalised

The table's schema says of which CLIP and which run the features are.
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
from segzs.clip.crops import Cropping, encode_masks, encode_object
from segzs.clip.image_features import encode_images
from segzs.clip.model import ClipModel, load_clip
from segzs.clip.retrieval import encode_query
from segzs.dataset.directory import alone
from segzs.dataset.journal import Failure
from segzs.dataset.listing import RUN_FILE
from segzs.errors import AnnotationError, ImageError, ModelError, ModelMismatchError, OutputError
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.native import read_lines
from segzs.image import ImageSource, read_image
from segzs.loading import resolve_device, resolve_dtype
from segzs.masks import Box
from segzs.search.table import TABLE, about_of, connect, nearest, open_table, probes, schema, tidy, writing

ROWS_A_COMMIT = 512
"""So many features, and those of one picture more, are lost at most when a run is killed."""
COLUMNS = ("file", "sha256", "segment", "name", "probability", "box")
MARGIN = 0.1


@dataclass(frozen=True)
class Indexed:
    """What `index` did: segments in the table, pictures that came and went, and those that had to be skipped."""

    segments: int
    added: int
    removed: int
    skipped: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class Match:
    """A segment that was found.

    ``score`` is the cosine similarity, from -1 to 1; ``file`` is relative to the labelled directory; ``segment`` is
    the index in its record; ``box`` is x1, y1, x2, y2 in pixels; ``sha256`` is of the file.
    """

    score: float
    file: str
    segment: int
    name: str
    probability: float
    box: Box
    sha256: str

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        return {
            **asdict(self),
            "score": round(self.score, 4),
            "probability": round(self.probability, 4),
            "box": list(self.box),
        }


@dataclass(frozen=True, eq=False)
class SegmentIndex:
    """The index of a labelled directory, open to be searched with the CLIP that made it.

    ``root`` is the directory of the pictures.

    >>> found = SegmentIndex.open("out", segzs.load().clip)  # doctest: +SKIP
    >>> [(match.file, match.name) for match in found.search("red bicycle", limit=2)]  # doctest: +SKIP
    [('2024/street.jpg', 'bicycle'), ('2023/shed.jpg', 'bicycle')]
    """

    root: Path
    clip: ClipModel
    table: Any
    probes: int

    @classmethod
    def open(cls, out: str | os.PathLike[str], clip: ClipModel) -> SegmentIndex:
        """The index in the folder ``out``.

        Raises:
            OutputError: there is none; says what to run. Or lancedb is not installed.
            ModelMismatchError: another CLIP made the features.
        """
        folder = Path(out)
        run = _run(folder)
        table = open_table(folder)
        if table is None:
            raise OutputError(f"{folder} has no index yet; run: segzs index {folder}")
        _check_clip(about_of(table), clip, folder)
        return cls(Path(run["folder"]), clip, table, probes(table))

    def search(self, query: str, *, limit: int = 10) -> list[Match]:
        """The segments that are most like the words, best first, asked for in the CLIP's usual templates.

        Raises:
            VocabularyError: the query is empty.
            SegzsError: ``limit`` is less than 1.
        """
        return self.nearest(encode_query(self.clip, query).cpu().numpy(), limit=limit)

    def like(self, picture: ImageSource, *, limit: int = 10) -> list[Match]:
        """The segments that are most like a picture of one object, best first.

        Raises:
            ImageError: it is no picture.
            SegzsError: ``limit`` is less than 1.
        """
        return self.nearest(encode_object(self.clip, read_image(picture))[0].cpu().numpy(), limit=limit)

    def nearest(self, feature: np.ndarray, *, limit: int = 10) -> list[Match]:
        """The segments whose features have the largest cosine similarity with a normalised one, float (width,)."""
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
        """Pictures of matches, uint8 RGB (height, width, 3); None where the file is gone or has changed."""
        for match in matches:
            try:
                data = (self.root / match.file).read_bytes()
                intact = hashlib.sha256(data).hexdigest() == match.sha256
                yield _around(read_image(data).pixels, match.box) if intact else None
            except (OSError, ImageError):
                yield None


def index(
    out: str | os.PathLike[str], clip: ClipModel, *, progress: Callable[[float], object] | None = None
) -> Indexed:
    """Bring the index in the folder ``out`` up to its records: features of new segments come, those of others go.

    Every object is shown to CLIP by itself, cropped as it was when it was named, also where the naming was "pooled":
    pictures of one object can be looked for that way. Features that are there are not computed again, and a run that is
    stopped goes on from there. ImageList that are gone or have changed are skipped.

    Args:
        out: what ``segzs label DIR --out out`` wrote.
        clip: the CLIP that searches will use, too.
        progress: called with the share done, from 0 to 1.

    Raises:
        OutputError: ``out`` is no such folder, is in use by another run, holds features of another run or cannot be
            written; or lancedb is not installed.
        ModelMismatchError: another CLIP made the features that are there.

    >>> index("out", segzs.load().clip)  # doctest: +SKIP
    Indexed(segments=5210, added=830, removed=0, skipped=())
    """
    folder = Path(out)
    run = _run(folder)
    connect(folder)  # what is not installed is said before anything is touched
    with alone(folder):
        return _index(folder, run, clip, progress or (lambda share: None))


def _index(folder: Path, run: dict, clip: ClipModel, progress: Callable[[float], object]) -> Indexed:
    import pyarrow as arrow

    lines = folder / "segments.jsonl"
    table = open_table(folder)
    if table is None:
        table = _create(folder, run, clip)
    about = about_of(table)
    _check_clip(about, clip, folder)
    if about["run"] != run["digest"]:
        raise OutputError(
            f"the index in {folder} is of other results; delete {folder / TABLE}.lance and run this again"
        )
    known = set(table.search().select(["image"]).to_arrow()["image"].to_pylist())
    wanted = {_key(record) for record in read_lines(lines, verify=False) if record.segments}
    gone = sorted(known - wanted)
    for start in range(0, len(gone), ROWS_A_COMMIT):
        with writing(folder):
            table.delete(f"image IN ({', '.join(map(repr, gone[start : start + ROWS_A_COMMIT]))})")

    root, settings, skipped, done = Path(run["folder"]), run["settings"], [], 0
    new, rows = wanted - known, []
    for record in read_lines(lines, verify=False):
        if not record.segments or _key(record) not in new:
            continue
        try:
            rows += _rows(record, root, clip, settings)
        except (ImageError, AnnotationError) as error:
            skipped.append(Failure(record.file, str(error)))
        done += 1
        if len(rows) >= ROWS_A_COMMIT or (rows and done == len(new)):
            with writing(folder):
                table.add(arrow.Table.from_pylist(rows, table.schema))
            rows = []
        progress(done / len(new))
    with writing(folder):
        tidy(table)
    return Indexed(table.count_rows(), len(new) - len(skipped), len(gone), tuple(skipped))


def load_clip_for(out: str | os.PathLike[str], clip: str | None = None, device: str = "auto") -> ClipModel:
    """The CLIP that made the index in ``out``, or where there is none yet the one that named its segments.

    Args:
        out: what ``segzs label DIR --out out`` wrote.
        clip: another one, or the place of one that is known by its name only; see `segzs.load`.
        device: "cpu", "cuda", "mps", or "auto".

    Raises:
        OutputError: ``out`` is no such folder, or lancedb is not installed.
        ModelError: the model is not on this machine; says what to run.
    """
    folder = Path(out)
    run, table = _run(folder), open_table(folder)
    known = about_of(table)["clip"] if table is not None else run["settings"]["clip"]["name"]
    place = resolve_device(device)
    try:
        files = locate_clip(clip or known)
    except ModelError as error:
        if clip:
            raise
        raise ModelError(f"{folder} was made with the CLIP {known}; say with --clip where it is: {error}") from error
    return load_clip(files, place, resolve_dtype("auto", place, files.spec.name))


def _rows(record: ImageAnnotations, root: Path, clip: ClipModel, settings: dict) -> list[dict]:
    """The rows of a picture.

    Raises:
        ImageError, AnnotationError: it is gone, or has changed.
    """
    segments = record.on(root / record.file)
    masks = [segment.rle for segment in segments]
    cropping = Cropping(settings["background"], settings["margin"], settings.get("scales", (1.0,)))
    features = encode_masks(clip, segments.image.pixels, masks, cropping).cpu().numpy()
    of_image = {
        "image": _key(record),
        "file": record.file.encode(errors="surrogateescape"),
        "sha256": record.digests.file,
        "pixels": record.digests.pixels,
    }
    return [
        {
            **of_image,
            "segment": number,
            "name": segment.name.encode(errors="backslashreplace").decode(),
            "probability": segment.probability,
            "box": segment.box,
            "feature": feature,
        }
        for number, (segment, feature) in enumerate(zip(segments, features, strict=True))
    ]


def _key(record: ImageAnnotations) -> str:
    return hashlib.sha256(f"{record.file}\n{record.digests.file}".encode(errors="surrogateescape")).hexdigest()


def _run(folder: Path) -> dict:
    """What the run file of a labelled directory says."""
    try:
        run = json.loads((folder / RUN_FILE).read_bytes())
        if run["format"] != "segzs-run/1" or not (folder / "segments.jsonl").is_file():
            raise ValueError(run["format"])
        return run
    except (OSError, ValueError, KeyError, TypeError) as error:
        if any((folder / "segments").glob("*.parquet")):
            raise OutputError(
                f"{folder} holds the results of a cluster, which cannot be searched; segzs label DIR --out without "
                "--ray makes results that can"
            ) from error
        raise OutputError(
            f"{folder} holds no results of a directory; make them first: segzs label DIR --out {folder}"
        ) from error


def _create(folder: Path, run: dict, clip: ClipModel) -> Any:
    width = encode_images(clip, [np.zeros((8, 8, 3), np.uint8)]).shape[1]
    about = {"clip": clip.spec.name, "weights": clip.digest, "config": clip.config, "run": run["digest"]}
    with writing(folder):
        return connect(folder).create_table(TABLE, schema=schema(width, about))


def _check_clip(about: dict[str, str], clip: ClipModel, folder: Path) -> None:
    if (about["weights"], about["config"]) != (clip.digest, clip.config):
        raise ModelMismatchError(
            f"the index in {folder} holds features of the CLIP {about['clip']} ({about['weights'][:12]}), not of "
            f"{clip.spec.name} ({clip.digest[:12]}); use that one, or delete {folder / TABLE}.lance and index again"
        )


def _around(pixels: np.ndarray, box: Box) -> np.ndarray:
    x1, y1, x2, y2 = box
    margin = round(MARGIN * max(x2 - x1, y2 - y1))
    return pixels[max(0, y1 - margin) : y2 + margin + 1, max(0, x1 - margin) : x2 + margin + 1]

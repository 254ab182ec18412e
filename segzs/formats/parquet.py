"""Parquet: a row a segment, for pandas, DuckDB, Spark and `datasets`; an image without any is a row of nulls.

Lossless. ``pip install 'segzs[parquet]'``. Those of a run on a cluster (`segzs.dataset.cluster`) have the digests of
the file and of the models, too, and are read by their folder.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from segzs.errors import OutputError
from segzs.formats.annotations import ImageAnnotations, blank, rle_of, segment_of
from segzs.formats.files import atomic_write, reading
from segzs.formats.records import Record

WHAT = "a Parquet file that segzs wrote"
ROWS = 10_000  # a row group, and what is held in memory
DIGESTS = {"file_sha256": "sha256", "sam_sha256": "sam_sha256", "clip_sha256": "clip_sha256"}
"""Columns that records have besides, and where a `Record` holds them."""


def schema(digests: bool = False) -> Any:
    """The columns, as a ``pyarrow.Schema``.

    file, sha256 (of the pixels), width, height, model: of the image, the same in each of its rows. segment: its index,
    from 0. name, probability, names (label and probability, the best first), x1, y1, x2, y2 (pixels; x2 and y2 just
    outside), area (pixels), predicted_iou, stability. counts: COCO's compressed RLE of size [height, width].
    With ``digests``: file_sha256 of the image file's bytes, sam_sha256 and clip_sha256 of the models' weights, too.

    Raises:
        OutputError: pyarrow is not installed.
    """
    arrow = _arrow()
    name = arrow.struct([("label", arrow.string()), ("probability", arrow.float64())])
    fields = [
        *[("file", arrow.string()), ("sha256", arrow.string()), ("width", arrow.int32()), ("height", arrow.int32())],
        *[("model", arrow.string()), ("segment", arrow.int32())],
        *[("name", arrow.string()), ("probability", arrow.float64()), ("names", arrow.list_(name))],
        *[(side, arrow.int32()) for side in ("x1", "y1", "x2", "y2")],
        *[("area", arrow.int64()), ("predicted_iou", arrow.float64()), ("stability_score", arrow.float64())],
        ("counts", arrow.string()),
        *[(column, arrow.string()) for column in DIGESTS if digests],
    ]
    return arrow.schema(fields)


def rows(one: ImageAnnotations) -> list[dict]:
    """An image as rows of `schema`."""
    file = one.file.encode("utf-8", "backslashreplace").decode()
    image = {"file": file, "sha256": one.digest, "width": one.width, "height": one.height, "model": one.model}
    found = [
        {
            **image,
            "segment": index,
            "name": segment.name,
            "probability": float(segment.probability),
            "names": [{"label": name.label, "probability": float(name.probability)} for name in segment.names],
            **dict(zip(("x1", "y1", "x2", "y2"), segment.box, strict=True)),
            "area": segment.area,
            "predicted_iou": float(segment.predicted_iou),
            "stability_score": float(segment.stability_score),
            "counts": segment.rle.counts,
        }
        for index, segment in enumerate(one.segments)
    ]
    return found or [image]


def write(annotated: Iterable[ImageAnnotations], destination: Path) -> None:
    """Write the file, a row group of about 10,000 segments at a time."""
    arrow = _arrow()
    from pyarrow.parquet import ParquetWriter

    with atomic_write(destination, "wb") as file, ParquetWriter(file, schema(), compression="zstd") as writer:
        waiting: list[dict] = []
        for one in annotated:
            waiting += rows(one)
            if len(waiting) >= ROWS:
                writer.write_table(arrow.Table.from_pylist(waiting, schema()))
                waiting = []
        writer.write_table(arrow.Table.from_pylist(waiting, schema()))


def read(path: Path) -> Iterator[ImageAnnotations]:
    """Read the file back, image after image; or those of a folder that a run on a cluster wrote."""
    for file in sorted((path / "segments").glob("*.parquet")) if path.is_dir() else [path]:
        with reading(file, WHAT):
            yield from map(_annotated, _images(file))


def records_to_bytes(records: Iterable[Record]) -> bytes:
    """Records as a file of the `schema` with digests."""
    arrow = _arrow()
    from pyarrow import parquet

    columns = [
        row | {column: getattr(record, name) for column, name in DIGESTS.items()}
        for record in records
        for row in rows(record.annotated)
    ]
    file = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(columns, schema(digests=True)), file, compression="zstd")
    return file.getvalue()


def read_records(data: bytes) -> Iterator[Record]:
    """The records that `records_to_bytes` wrote.

    Raises:
        AnnotationError: it is no such file.
    """
    with reading(Path("a part of the results"), WHAT):
        for image in _images(io.BytesIO(data)):
            one = _annotated(image)
            yield Record(
                path=one.file,
                width=one.width,
                height=one.height,
                image_sha256=one.digest,
                model=one.model,
                segments=one.segments,
                **{name: image[0][column] for column, name in DIGESTS.items()},
            )


def _images(file: Path | io.BytesIO) -> Iterator[list[dict]]:
    """The rows of an image, image after image."""
    _arrow()
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as table:
        image: list[dict] = []
        for batch in table.iter_batches(ROWS):
            for row in batch.to_pylist():
                if image and not row["segment"]:  # 0, or null where nothing was found: another image begins
                    yield image
                    image = []
                image.append(row)
        if image:
            yield image


def _annotated(of_image: list[dict]) -> ImageAnnotations:
    first = of_image[0]
    image = blank(first["file"], first["width"], first["height"], first["model"], first["sha256"])
    size = [image.height, image.width]
    segments = (
        segment_of(rle_of({"size": size, "counts": row["counts"]}, image), row["name"], 1, row)
        for row in of_image
        if row["segment"] is not None
    )
    return replace(image, segments=tuple(segments))


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise OutputError("Parquet needs pyarrow; run: pip install 'segzs[parquet]'") from error
    return pyarrow

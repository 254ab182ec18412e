"""Parquet: a row a segment, for pandas, DuckDB, Spark and `datasets`; an image without segments is a row of nulls.

Lossless. ``pip install 'segzs[parquet]'``. The results of a cluster (`segzs.dataset.cluster`) are a folder of them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from segzs.errors import OutputError
from segzs.files import atomic_write
from segzs.formats.annotations import Digests, ImageAnnotations, image_of_row, rle_of, segment_of
from segzs.formats.files import read_files, reading, warn_if_interrupted

EXPECTED = "a Parquet file that segzs wrote"
ROWS = 10_000
"""Rows of a row group, and about as many as are in memory."""
SIDES = ("x1", "y1", "x2", "y2")


def schema() -> Any:
    """The columns, as a ``pyarrow.Schema``.

    Of the image, the same in each of its rows: file, width, height, model, source; the SHA-256 digests sha256 (of the
    pixels), file_sha256, sam_sha256 and clip_sha256 (of the weights), empty where there are none. Of the segment:
    segment (its index from 0), name, probability, names (label and probability, most probable first), x1, y1, x2, y2
    (pixels; x2 and y2 just outside), area (pixels), predicted_iou, stability_score, counts (COCO's compressed RLE of
    size [height, width]).
    """
    arrow = _arrow()
    text, real = arrow.string(), arrow.float64()
    name = arrow.struct([("label", text), ("probability", real)])
    return arrow.schema(
        [
            *[("file", text), ("sha256", text), ("width", arrow.int32()), ("height", arrow.int32()), ("model", text)],
            *[("segment", arrow.int32()), ("name", text), ("probability", real), ("names", arrow.list_(name))],
            *[(side, arrow.int32()) for side in SIDES],
            *[("area", arrow.int64()), ("predicted_iou", real), ("stability_score", real), ("counts", text)],
            *[(column, text) for column in ("file_sha256", "sam_sha256", "clip_sha256", "source")],
        ]
    )


def rows(one: ImageAnnotations) -> list[dict[str, Any]]:
    """The rows of an image, as of `schema`."""
    image = {
        "file": one.file.encode("utf-8", "backslashreplace").decode(),
        "sha256": one.digests.pixels,
        "width": one.width,
        "height": one.height,
        "model": one.model,
        "file_sha256": one.digests.file,
        "sam_sha256": one.digests.sam,
        "clip_sha256": one.digests.clip,
        "source": one.source,
    }
    return [
        {
            **image,
            "segment": index,
            "name": segment.name,
            "probability": float(segment.probability),
            "names": [{"label": name.label, "probability": float(name.probability)} for name in segment.names],
            **dict(zip(SIDES, segment.box, strict=True)),
            "area": segment.area,
            "predicted_iou": float(segment.predicted_iou),
            "stability_score": float(segment.stability_score),
            "counts": segment.rle.counts,
        }
        for index, segment in enumerate(one.segments)
    ] or [image]


def write(annotations: Iterable[ImageAnnotations], destination: Path) -> None:
    """Write the file, a row group of about 10,000 segments at a time."""
    _arrow()
    with atomic_write(destination, "wb") as file:
        _write(annotations, file)


def to_bytes(annotations: Iterable[ImageAnnotations]) -> bytes:
    """The content of a file."""
    file = io.BytesIO()
    _write(annotations, file)
    return file.getvalue()


def read(path: Path) -> Iterator[ImageAnnotations]:
    """Read a file, image after image, or the files of a folder that a cluster wrote."""
    if path.is_dir():
        count = 0
        for one in read_files(sorted((path / "segments").glob("*.parquet")), read):
            count += 1
            yield one
        warn_if_interrupted(path, count)
        return
    with reading(path, EXPECTED):
        yield from map(_image, _rows_of_images(path))


def from_bytes(data: bytes, name: str) -> Iterator[ImageAnnotations]:
    """The images that `to_bytes` wrote; errors call the file ``name``."""
    with reading(Path(name), EXPECTED):
        yield from map(_image, _rows_of_images(io.BytesIO(data)))


def _write(annotations: Iterable[ImageAnnotations], file: IO[bytes]) -> None:
    arrow = _arrow()
    from pyarrow.parquet import ParquetWriter

    with ParquetWriter(file, schema(), compression="zstd") as writer:
        group: list[dict[str, Any]] = []
        for one in annotations:
            group += rows(one)
            if len(group) >= ROWS:
                writer.write_table(arrow.Table.from_pylist(group, schema()))
                group = []
        writer.write_table(arrow.Table.from_pylist(group, schema()))


def _rows_of_images(file: Path | io.BytesIO) -> Iterator[list[dict[str, Any]]]:
    """The rows of each image."""
    image: list[dict[str, Any]] = []
    for row in _rows(file):
        if image and not row["segment"]:  # 0, or null without segments: another image begins
            yield image
            image = []
        image.append(row)
    if image:
        yield image


def _rows(file: Path | io.BytesIO) -> Iterator[dict[str, Any]]:
    arrow = _arrow()
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file) as table:
            for batch in table.iter_batches(ROWS):
                yield from batch.to_pylist()
    except arrow.ArrowException as error:
        raise ValueError(str(error)) from error


def _image(of_image: list[dict[str, Any]]) -> ImageAnnotations:
    first = of_image[0]
    image = image_of_row(first, first["file"], first["width"], first["height"], first["source"])
    size = [image.height, image.width]
    return replace(
        image,
        digests=Digests(first["sha256"], first["file_sha256"], first["sam_sha256"], first["clip_sha256"]),
        segments=tuple(
            segment_of(rle_of({"size": size, "counts": row["counts"]}, image), row["name"], 1, row)
            for row in of_image
            if row["segment"] is not None
        ),
    )


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise OutputError("Parquet needs pyarrow; run: pip install 'segzs[parquet]'") from error
    return pyarrow

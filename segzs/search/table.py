"""The LanceDB table of the search: a row per segment, and an inverted file (IVF) of the features of large tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import ceil, isqrt
from pathlib import Path
from typing import Any

import numpy as np

from segzs.errors import OutputError

TABLE = "search"
METADATA = b"segzs"
IVF = "lists_"
IVF_ROWS = 10_000
"""Tables with at least this many rows get an inverted file, which is much faster than a scan."""
ROWS_PER_SEARCH = 100_000
"""A search visits about this many rows; it is exact in smaller tables."""
RETRAIN_FACTOR = 2
"""The inverted file is replaced when the square root of the rows reaches this multiple of its lists."""


def is_installed() -> bool:
    """Whether lancedb can be imported."""
    try:
        import lancedb  # noqa: F401
    except ImportError:
        return False
    return True


def connect(folder: Path) -> Any:
    """Open the database in a folder; raises `OutputError` if lancedb is not installed."""
    if not is_installed():
        raise OutputError("the search needs lancedb; run: pip install 'segzs[search]'")
    import lancedb

    return lancedb.connect(folder)


def open_table(folder: Path) -> Any | None:
    """Open the table; None if it does not exist. Raises `OutputError` if it is damaged."""
    database, path = connect(folder), folder / f"{TABLE}.lance"
    if not any((path / "_versions").glob("*")):  # a run may have been killed before it wrote the first version
        return None
    try:
        table = database.open_table(TABLE)
        metadata(table)
        return table
    except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
        raise OutputError(f"{path} cannot be read ({error}); delete it and run: segzs index {folder}") from error


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn the errors of lancedb when it writes into `OutputError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{folder / TABLE}.lance cannot be written: {error}; repeat the command to resume") from error


def metadata(table: Any) -> dict[str, str]:
    """The CLIP and the run of the features."""
    return json.loads((table.schema.metadata or {})[METADATA])


def nearest(table: Any, feature: np.ndarray, limit: int, columns: Sequence[str], probes: int) -> Any:
    """The rows with the largest inner product, as an Arrow table; ``_distance`` is 1 minus the product, ascending."""
    query = table.search(feature.astype(np.float32), vector_column_name="feature").distance_type("dot")
    return query.select([*columns, "_distance"]).nprobes(probes).limit(limit).to_arrow()


def optimize(table: Any) -> None:
    """Compact the table, and keep the inverted file of a large one up to date."""
    from lancedb.index import IvfFlat

    table.optimize(cleanup_older_than=timedelta(hours=1))  # a concurrent search keeps its version
    rows = table.count_rows()
    if rows < IVF_ROWS:
        return
    existing, lists = _lists(table), isqrt(rows)
    if max(existing, default=0) * RETRAIN_FACTOR > lists:
        return
    config = IvfFlat(distance_type="dot", num_partitions=lists, max_iterations=10, sample_rate=32)
    table.create_index("feature", config=config, name=f"{IVF}{lists}")
    for number in existing:
        table.drop_index(f"{IVF}{number}")


def probes(table: Any) -> int:
    """The number of lists of the inverted file that a search visits."""
    return ceil(max(_lists(table), default=1) * min(1, ROWS_PER_SEARCH / max(1, table.count_rows())))


def _lists(table: Any) -> list[int]:
    """The number of lists of each inverted file; there are two if a run was killed while it replaced one."""
    return [int(index.name.removeprefix(IVF)) for index in table.list_indices()]


def schema(width: int, about: dict[str, str]) -> Any:
    """The ``pyarrow.Schema`` of the table, for features of this width."""
    import pyarrow as arrow

    fields = [
        *[("image", arrow.string()), ("file", arrow.binary()), ("sha256", arrow.string()), ("pixels", arrow.string())],
        *[("segment", arrow.int32()), ("name", arrow.string()), ("probability", arrow.float32())],
        *[("box", arrow.list_(arrow.int32(), 4)), ("feature", arrow.list_(arrow.float32(), width))],
    ]
    return arrow.schema(fields, metadata={METADATA: json.dumps(about).encode()})

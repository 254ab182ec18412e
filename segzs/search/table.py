"""The table behind the search: a row a segment in LanceDB, and an inverted file of the features where they are many."""

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
ABOUT = b"segzs"
LISTS = "lists_"
LISTS_FROM = 10_000
"""Rows from which on there is an inverted file: lancedb looks through its lists far faster than through the table."""
LOOKED_AT = 100_000
"""About so many rows a search looks at; up to there it is exact."""
RETRAIN_AT = 2
"""The inverted file is made anew when the square root of the rows is so many times its lists."""


def connect(folder: Path) -> Any:
    """The database in a folder.

    Raises:
        OutputError: lancedb is not installed.
    """
    try:
        import lancedb
    except ImportError as error:
        raise OutputError("the search needs lancedb; run: pip install 'segzs[search]'") from error
    return lancedb.connect(folder)


def open_table(folder: Path) -> Any | None:
    """The table, or None where there is none yet."""
    database = connect(folder)
    place = folder / f"{TABLE}.lance"
    if not any((place / "_versions").glob("*")):  # a run may have been killed before it wrote the first one
        return None
    try:
        table = database.open_table(TABLE)
        about_of(table)
        return table
    except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
        raise OutputError(f"{place} cannot be read ({error}); delete it and run: segzs index {folder}") from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what lancedb cannot write into an `OutputError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{folder / TABLE}.lance cannot be written: {error}; the same command goes on") from error


def about_of(table: Any) -> dict[str, str]:
    """Of which CLIP and which run its features are."""
    return json.loads((table.schema.metadata or {})[ABOUT])


def nearest(table: Any, feature: np.ndarray, limit: int, columns: Sequence[str], probes: int) -> Any:
    """The rows with the largest inner product, as an arrow table with ``_distance``, 1 less it, from the smallest."""
    query = table.search(feature.astype(np.float32), vector_column_name="feature").distance_type("dot")
    return query.select([*columns, "_distance"]).nprobes(probes).limit(limit).to_arrow()


def tidy(table: Any) -> None:
    """Join what was added piece by piece, and keep an inverted file of the features where there are many."""
    from lancedb.index import IvfFlat

    table.optimize(cleanup_older_than=timedelta(hours=1))  # a search that runs beside this keeps its version
    rows = table.count_rows()
    if rows < LISTS_FROM:
        return
    before, wanted = _lists(table), isqrt(rows)
    if max(before, default=0) * RETRAIN_AT > wanted:
        return
    how = IvfFlat(distance_type="dot", num_partitions=wanted, max_iterations=10, sample_rate=32)
    table.create_index("feature", config=how, name=f"{LISTS}{wanted}")
    for number in before:
        table.drop_index(f"{LISTS}{number}")


def probes(table: Any) -> int:
    """Into how many lists of the inverted file a search looks."""
    return ceil(max(_lists(table), default=1) * min(1, LOOKED_AT / max(1, table.count_rows())))


def _lists(table: Any) -> list[int]:
    """How many lists the inverted file has; two where a run was killed between a new and the old one."""
    return [int(each.name.removeprefix(LISTS)) for each in table.list_indices()]


def schema(width: int, about: dict[str, str]) -> Any:
    """The columns of the table, as a ``pyarrow.Schema``, for features of that width."""
    import pyarrow as arrow

    fields = [
        *[("image", arrow.string()), ("file", arrow.binary()), ("sha256", arrow.string()), ("pixels", arrow.string())],
        *[("segment", arrow.int32()), ("name", arrow.string()), ("probability", arrow.float32())],
        *[("box", arrow.list_(arrow.int32(), 4)), ("feature", arrow.list_(arrow.float32(), width))],
    ]
    return arrow.schema(fields, metadata={ABOUT: json.dumps(about).encode()})

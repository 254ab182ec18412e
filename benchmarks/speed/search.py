"""Search over synthetic features, and brute force in NumPy: ``python -m benchmarks.speed.search``."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as arrow

from segzs.search.table import nearest, optimize, probes, schema

CLUSTERS = 1000
SPREAD = 0.7  # of a cluster; its centre has length 1


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def draw(kind: str, rows: int, width: int, seed: int) -> np.ndarray:
    """Normalised features, in clusters like those of objects, or uniform on the sphere."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((rows, width), np.float32)
    if kind == "uniform":
        return unit(noise)
    centres = unit(np.random.default_rng(0).standard_normal((CLUSTERS, width), np.float32))
    return unit(centres[rng.integers(0, CLUSTERS, rows)] + noise * (SPREAD / width**0.5))


def fill(folder: str, features: np.ndarray) -> object:
    """A table of ``segzs index`` with features only."""
    rows, width = features.shape
    columns = schema(width, {})
    table = lancedb.connect(folder).create_table("search", schema=columns)
    stored = arrow.FixedSizeListArray.from_arrays(features.ravel(), width)
    values = {"segment": arrow.array(range(rows), arrow.int32()), "feature": stored}
    arrays = [values.get(field.name, arrow.nulls(rows, field.type)) for field in columns]
    table.add(arrow.Table.from_arrays(arrays, schema=columns))
    return table


def query(table: object, queries: np.ndarray, truth: np.ndarray) -> str:
    """Times of consecutive queries, and the share of the true nearest neighbours that they return."""
    seconds, recalls, lists = [], [], probes(table)
    for feature, expected in zip(queries, truth, strict=True):
        begun = time.perf_counter()
        rows = nearest(table, feature, len(expected), ["segment"], lists)["segment"].to_pylist()
        seconds.append(time.perf_counter() - begun)
        recalls.append(len({*rows} & {*expected.tolist()}) / len(expected))
    first, median, last = 1e3 * seconds[0], 1e3 * np.median(seconds), 1e3 * np.quantile(seconds, 0.9)
    return f"median {median:.1f} ms, 90 % {last:.1f} ms, first {first:.0f} ms; recall {np.mean(recalls):.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512, 768])
    parser.add_argument("--kinds", nargs="+", default=["clustered", "uniform"])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--nearest", type=int, default=10)
    arguments = parser.parse_args()
    for width in arguments.widths:
        for kind in arguments.kinds:
            features = draw(kind, arguments.rows, width, 1)
            queries = draw(kind, arguments.queries, width, 2)
            begun = time.perf_counter()
            truth = np.stack([np.argsort(features @ -query)[: arguments.nearest] for query in queries])
            brute = 1e3 * (time.perf_counter() - begun) / arguments.queries
            with tempfile.TemporaryDirectory() as folder:
                table = fill(folder, features)
                flat = query(table, queries, truth)
                begun = time.perf_counter()
                optimize(table)
                made = time.perf_counter() - begun
                lists = query(table, queries, truth)
                size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
            print(f"{arguments.rows:,} x {width}, {kind}: NumPy {brute:.0f} ms a query")
            print(f"  table alone: {flat}")
            print(f"  with lists:  {lists}; made in {made:.0f} s; {size:.0f} MB on disk", flush=True)


if __name__ == "__main__":
    main()

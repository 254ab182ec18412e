"""Measure all rows, or those named: ``python -m benchmarks.speed [ROW ...] [--out docs/benchmarks.md]``."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import timeit
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.speed.measure import MissingError, Result, measure
from benchmarks.speed.rows import ROWS
from segzs.environment import versions

ROOT = Path(__file__).parents[2]


def table(results: Sequence[Result]) -> str:
    lines = [
        "| what | segzs (min / median / max) | peer | time of the peer | ratio of medians | target | agreement |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        row = result.row
        lines.append(
            f"| {row.what} | {result.ours} | {row.peer} | {result.peer} | {result.ratio:.1f} x | {row.target} "
            f"| {result.agreement} |"
        )
    return "\n".join(lines)


def machine() -> str:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in flags.splitlines() if line.startswith("model name")]
    features = [name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if name in flags]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {', '.join(features)}"


def product_rates() -> tuple[float, float]:
    """FLOP/s of products of 512 x 512 matrices on this machine, in float32 and in bfloat16."""
    rates = []
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.ones(64, 512, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
        seconds = min(timeit.repeat(lambda a=left, b=right: a @ b, number=1, repeat=9))
        rates.append(left.numel() * 512 * 2 / seconds)
    return rates[0], rates[1]


def products() -> str:
    """The rates of matrix products, which bound the gain of a dtype."""
    full, half = product_rates()
    return f"Matrix products: {full / 1e9:.0f} GFLOP/s in float32, {half / 1e9:.0f} in bfloat16, {half / full:.1f} x."


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--repeats", type=int, help="runs of each side")
    parser.add_argument("--out", type=Path, help="write the table, the machine and the versions there")
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"unknown row {', '.join(sorted(unknown))}; choose from {', '.join(row.name for row in ROWS)}")
    results, missing = [], []
    for row in ROWS:
        if row.name in arguments.rows or not arguments.rows:
            try:
                results.append(measure(row, arguments.repeats))
                print(table(results[-1:]).splitlines()[-1], flush=True)
            except MissingError as error:
                missing.append(f"Not measured: {row.what}: {error}.")
                print(missing[-1], flush=True)
    about = ", ".join(f"{name} {version}" for name, version in versions().items() if version != "missing")
    lines = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks.speed --out docs/benchmarks.md`: segzs and a peer in turn, on the same",
        "machine, weights and image.",
        "",
        f"{datetime.date.today().isoformat()}, commit {commit()}; {machine()}, {torch.get_num_threads()} threads; "
        f"{about}.",
        "",
        products(),
        "",
        table(results),
        "",
        *missing,
    ]
    if arguments.out:
        arguments.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()

"""Lower bounds of the times of rows: ``python -m benchmarks.speed.bounds``.

The FLOP of the matrix products of segzs are counted, and divided by the rate of matrix products on this machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.__main__ import product_rates
from benchmarks.speed.measure import MissingError, Row
from benchmarks.speed.rows import ROWS

COUNTED = (
    *("encode", "encode-fp32", "encode-sam2", "click", "click-sam2", "prompts", "prompts-sam2"),
    *("everything", "everything-prompts", "names", "pooled"),
)
FLOAT32 = ("encode-fp32", "everything")
"""Rows that use float32 on every machine."""


def operations(run: Callable[[], object]) -> int:
    """FLOP of the matrix products and convolutions of a call."""
    torch.backends.mha.set_fastpath_enabled(False)  # the fast path would hide its products from the counter
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    rates = product_rates()
    print("| what | products | lower bound |\n| --- | --- | --- |")
    for row in ROWS:
        if row.name in COUNTED:
            _print(row, rates[row.name not in FLOAT32])


def _print(row: Row, rate: float) -> None:
    try:
        ours, _ = row.prepare()
    except MissingError as error:
        print(f"| {row.what} | {error} | |")
        return
    count = operations(ours)
    print(f"| {row.what} | {count / 1e9:.1f} GFLOP | {count / rate:.3f} s at {rate / 1e9:.0f} GFLOP/s |", flush=True)


if __name__ == "__main__":
    main()

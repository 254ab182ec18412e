"""How fast rows could be at most on this machine, if only their products took time: ``python -m benchmarks.bounds``.

The products of what segzs computes are counted, and divided by the rate at which this machine multiplies matrices.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.__main__ import product_rates
from benchmarks.measure import NotHereError, Row
from benchmarks.rows import ROWS

COUNTED = ("encode", "encode-fp32", "click", "prompts", "everything", "names", "pooled")
FLOAT32 = ("encode-fp32", "everything")
"""Rows that compute in float32 whatever the machine has."""


def operations(run: Callable[[], object]) -> int:
    """Multiplications and additions in the matrix products and convolutions of a call."""
    torch.backends.mha.set_fastpath_enabled(False)  # which would hide its products from the counter
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    rates = product_rates()
    print("| what | products | least time |\n| --- | --- | --- |")
    for row in ROWS:
        if row.name in COUNTED:
            _print(row, rates[row.name not in FLOAT32])


def _print(row: Row, rate: float) -> None:
    try:
        ours, _ = row.prepare()
    except NotHereError as error:
        print(f"| {row.what} | {error} | |")
        return
    count = operations(ours)
    print(f"| {row.what} | {count / 1e9:.1f} GFLOP | {count / rate:.3f} s at {rate / 1e9:.0f} GFLOP/s |", flush=True)


if __name__ == "__main__":
    main()

"""The size of the results of ``segzs label DIR --out OUT``: ``python -m benchmarks.speed.storage OUT``."""

from __future__ import annotations

import argparse
from pathlib import Path

from segzs.formats.native import read_lines, to_line
from segzs.formats.parquet import to_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    records = list(read_lines(parser.parse_args().out / "segments.jsonl"))
    segments = [segment for record in records for segment in record.segments]
    for name, size in {
        "masks as RLE": sum(len(segment.rle.counts) for segment in segments),
        "lines of JSON": sum(len(to_line(record)) for record in records),
        "one Parquet file": len(to_bytes(records)),
    }.items():
        print(f"{name}: {size:,} bytes, {size / len(records):,.0f} per image, {size / len(segments):,.0f} per segment")
    print(f"{len(records)} images, {len(segments) / len(records):.1f} segments per image")


if __name__ == "__main__":
    main()

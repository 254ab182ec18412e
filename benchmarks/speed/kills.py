"""Kill ``segzs label DIR`` at random instants and compare its files: ``python -m benchmarks.speed.kills``."""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed.directory import draw


def start(photos: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "segzs", "label", photos, "--out", out, "--overlays", "--quiet", "--no-cache"]
    return subprocess.Popen([*command, "--points-per-side", "4"], stderr=subprocess.DEVNULL)


def lines(out: Path) -> int:
    file = out / "segments.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".segzs.lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--bad", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        photos, whole, out = (Path(folder) / name for name in ("photos", "whole", "out"))
        draw(photos, arguments.images, arguments.bad)
        begun = time.perf_counter()
        running = start(photos, whole)
        while not (whole / "failures.jsonl").exists():
            time.sleep(0.01)
        loading = time.perf_counter() - begun
        status = running.wait()
        working = time.perf_counter() - begun - loading
        print(f"uninterrupted: {loading:.1f} s to load, {working:.1f} s to label, exit status {status}", flush=True)
        expected = contents(whole)
        kills = finished = 0
        while kills < arguments.kills or not finished:
            running = start(photos, out)
            try:
                delay = chance.uniform(0.9 * loading, loading + 3 * working / arguments.kills)
                ended = running.wait(delay if kills < arguments.kills else None)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
                kills += 1
                print(f"kill {kills} after {delay:.1f} s: {lines(out)} lines", flush=True)
                continue
            assert ended == status, f"exit status {ended}"
            assert contents(out) == expected, "the files differ"
            finished += 1
            shutil.rmtree(out)
    print(f"{kills} kills; {finished} complete runs, each with the same {len(expected)} files, byte-identical")


if __name__ == "__main__":
    main()

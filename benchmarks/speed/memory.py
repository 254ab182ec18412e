"""Peak memory of everything mode on a 12-megapixel image: ``python -m benchmarks.speed.memory``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import PIL.Image

from benchmarks.speed.contest import IMAGE
from benchmarks.speed.rows import all_objects

SIZE = (4000, 3000)


class Watch(threading.Thread):
    """Track the peak memory of this process (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_gib = self.peak_gib = resident()
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.005):
            self.peak_gib = max(self.peak_gib, resident())

    def stop(self) -> float:
        """The peak above the memory at the start, in GiB."""
        self._done.set()
        self.join()
        return self.peak_gib - self.start_gib


def resident() -> float:
    """Resident memory of this process, in GiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def peak(side: int) -> float:
    """The peak memory of one side above the memory at its start, in GiB."""
    with PIL.Image.open(IMAGE) as image:
        pixels = np.array(image.convert("RGB").resize(SIZE))
    run = all_objects(pixels)[side]
    watch = Watch()
    watch.start()
    run()
    return watch.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", nargs="?", type=int, choices=[0, 1], help="measure only segzs (0) or the peer (1)")
    if (side := parser.parse_args().side) is not None:
        print(peak(side))
        return
    ours, peer = (
        float(
            subprocess.run(
                [sys.executable, "-m", "benchmarks.speed.memory", side], capture_output=True, text=True
            ).stdout
        )
        for side in ("0", "1")
    )
    print(f"segzs {ours:.2f} GiB, SamAutomaticMaskGenerator {peer:.2f} GiB, {ours / peer:.2f} of it")


if __name__ == "__main__":
    main()

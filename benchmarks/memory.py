"""Peak memory of everything mode on a 12-megapixel picture: ``python -m benchmarks.memory``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import PIL.Image

from benchmarks.rows import PICTURE, all_objects

SIZE = (4000, 3000)


class Watch(threading.Thread):
    """Looks every few milliseconds how much memory this process holds (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_gib = self.peak_gib = held()
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.005):
            self.peak_gib = max(self.peak_gib, held())

    def stop(self) -> float:
        """GiB held at most, above those at the start."""
        self._done.set()
        self.join()
        return self.peak_gib - self.start_gib


def held() -> float:
    """GiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def peak(side: int) -> float:
    """GiB that one side takes above what lay in memory before it began."""
    with PIL.Image.open(PICTURE) as picture:
        pixels = np.array(picture.convert("RGB").resize(SIZE))
    run = all_objects(pixels)[side]
    watch = Watch()
    watch.start()
    run()
    return watch.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", nargs="?", type=int, choices=[0, 1], help="only segzs (0) or the peer (1), in GiB")
    if (side := parser.parse_args().side) is not None:
        print(peak(side))
        return
    ours, peer = (
        float(subprocess.run([sys.executable, "-m", "benchmarks.memory", side], capture_output=True, text=True).stdout)
        for side in ("0", "1")
    )
    print(f"segzs {ours:.2f} GiB, SamAutomaticMaskGenerator {peer:.2f} GiB, {ours / peer:.2f} of it")


if __name__ == "__main__":
    main()

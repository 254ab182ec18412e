"""Peak memory of everything mode on a 12-megapixel picture: ``python -m benchmarks.memory``."""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np
import PIL.Image

from benchmarks.rows import PICTURE, all_objects

SIZE = (4000, 3000)


def gibibytes() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def peak(side: int) -> float:
    """GiB that one side takes above what lay in memory before it began."""
    with PIL.Image.open(PICTURE) as picture:
        pixels = np.array(picture.convert("RGB").resize(SIZE))
    run = all_objects(pixels)[side]
    before = gibibytes()
    run()
    return gibibytes() - before


def main() -> None:
    if len(sys.argv) > 1:
        print(peak(int(sys.argv[1])))
        return
    ours, peer = (
        float(subprocess.run([sys.executable, "-m", "benchmarks.memory", side], capture_output=True, text=True).stdout)
        for side in ("0", "1")
    )
    print(f"segzs {ours:.2f} GiB, SamAutomaticMaskGenerator {peer:.2f} GiB, {ours / peer:.2f} of it")


if __name__ == "__main__":
    main()

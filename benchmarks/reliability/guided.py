"""Coverage-guided fuzzing of the loaders: ``python -m benchmarks.reliability.guided images --seconds 60``.

Needs ``pip install atheris``. libFuzzer mutates valid files towards code of Pillow and segzs that it has not reached.
An input that is neither read nor refused with an error of segzs ends the run and is written to ``--corpus``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["PIL", "segzs"]):
    from benchmarks.reliability import files, images
    from segzs.errors import SegzsError
    from segzs.image import read_image


def target(part: str, scratch: Path) -> object:
    """The function that libFuzzer calls with each input: for files, the first byte selects the kind."""
    kinds = sorted(files.READERS)

    def check(data: bytes) -> None:
        warnings.simplefilter("ignore")
        try:
            if part == "images":
                read_image(data, max_pixels=images.MAX_PIXELS)
            elif data:
                path = scratch / kinds[data[0] % len(kinds)]
                path.write_bytes(data[1:])
                files.READERS[path.name](path)
        except SegzsError:
            pass

    return check


def seeds(part: str) -> list[bytes]:
    """Valid inputs, from which libFuzzer starts."""
    if part == "images":
        return [images.valid(Random(seed))[0] for seed in range(200)]
    return [bytes([number]) + files.valid()[name] for number, name in enumerate(sorted(files.READERS))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("images", "files"))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="a folder of inputs that are kept")
    arguments = parser.parse_args()
    folder = arguments.corpus / arguments.part
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(arguments.part)):
        (folder / f"valid-{number:03}").write_bytes(data)
    limits = [f"-max_total_time={arguments.seconds}", "-timeout=20", "-rss_limit_mb=4096", "-max_len=100000"]
    output = [f"-artifact_prefix={arguments.corpus}/", "-print_final_stats=1", "-verbosity=0"]
    scratch = Path(tempfile.mkdtemp(prefix="segzs-fuzz-"))  # libFuzzer ends the process without cleaning up
    atheris.Setup([sys.argv[0], *limits, *output, str(folder)], target(arguments.part, scratch))
    atheris.Fuzz()


if __name__ == "__main__":
    main()

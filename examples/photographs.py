"""Segment and name the photographs that scikit-image and scikit-learn carry: ``python -m examples.photographs OUT``.

Install them first: ``pip install scikit-image scikit-learn``. Their photographs are read where they are installed and
are not copied; OUT gets an overlay, the segments as JSON and as COCO for each of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import segzs

PHOTOGRAPHS = {
    "skimage": ("data/astronaut.png", "data/chelsea.png", "data/coffee.png", "data/motorcycle_left.png"),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}


def photographs() -> Iterator[Path]:
    """The paths of the photographs in the packages that are installed."""
    for package, names in PHOTOGRAPHS.items():
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            yield from (path for name in names if (path := Path(spec.origin).parent / name).is_file())


def main(out: Path) -> int:
    paths = list(photographs())
    if not paths:
        print("no photographs are installed; run: pip install scikit-image scikit-learn", file=sys.stderr)
        return 1
    segmenter = segzs.load()
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        segments = segmenter.everything(segmenter.encode(path))
        for suffix in ("overlay.png", "segzs.json", "coco.json"):
            segzs.save(segments, out / f"{path.stem}.{suffix}", image_name=path.name)
        print(f"{path.name}: {', '.join(segments.names) or 'no objects'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "photographs")))

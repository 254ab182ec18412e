"""A labeller without models, and directories of small images; nothing here imports torch."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from segzs.formats.annotations import Digests, ImageAnnotations
from segzs.image import Image, read_image
from segzs.masks import RLE
from segzs.segments import Name, Segment


class FakeLabeller:
    """Segment the bright pixels; list the paths that were labelled."""

    def __init__(self, **settings: Any) -> None:
        self.settings = {"labels": ["bright"], **settings}
        self.labelled: list[str] = []

    def prepare(self, data: bytes) -> Image:
        return read_image(data)

    def label(self, path: str, sha256: str, image: Image) -> ImageAnnotations:
        self.labelled.append(path)
        mask = image.pixels[..., 0] > 127
        names = (Name("bright", round(float(mask.mean()), 4)), Name("unknown", 0.1))
        segments = (Segment(RLE.encode(mask), 0.9, 0.8, names),) if mask.any() else ()
        return ImageAnnotations(
            path, image.width, image.height, segments, "fake", Digests(image.digest, sha256, "5a", "c1")
        )


def paint(path: Path, seed: int, size: tuple[int, int] = (24, 16), **options: Any) -> Path:
    """An image with a bright rectangle, a different one for each seed."""
    pixels = np.full((size[1], size[0], 3), seed % 100, np.uint8)
    pixels[1 + seed % 9 : 12, 2 + seed % 7 : 19] = 200
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all files of a folder except the lock, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".segzs.lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class MortalLabeller(FakeLabeller):
    """Kill its own process at the image of a name, as a decoder or the system out of memory would; so many times."""

    def __init__(self, deaths: Path, name: str, times: int) -> None:
        super().__init__()
        self.deaths, self.name, self.times = deaths, name, times

    def label(self, path: str, sha256: str, image: Image) -> ImageAnnotations:
        if path == self.name and len(died := list(self.deaths.iterdir())) < self.times:
            (self.deaths / str(len(died))).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().label(path, sha256, image)

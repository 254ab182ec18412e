"""Processes that are killed while they write: what they leave, and what the next one makes of it."""

from __future__ import annotations

import os
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import PIL.Image
import torch

import segzs
from segzs.cache import EmbeddingCache
from segzs.clip.crops import Cropping
from segzs.clip.model import ClipModel
from segzs.dataset.directory import label_directory
from segzs.errors import SegzsWarning
from segzs.formats.annotations import Digests, ImageAnnotations
from segzs.image import Image, read_image
from segzs.masks import RLE
from segzs.segments import Name, Segment

Ready = Callable[[], object]
"""What work calls when it begins to write, after imports."""
IMAGES = 24
KEYS = 40


def fork(work: Callable[[Ready], object], delay: float | None = None) -> bool:
    """Run a function in a forked process that is killed before its end; whether it was.

    ``delay`` is in seconds since the function called its argument; None does not kill. Raises `AssertionError` if the
    function raises.
    """
    listen, tell = os.pipe()
    process = os.fork()
    if not process:
        try:
            work(lambda: os.write(tell, b"."))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(tell)
    with os.fdopen(listen) as ready:
        ready.read(1)
    if delay is not None:
        time.sleep(delay)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the process failed"
    return os.WIFSIGNALED(status)


def kill_often(
    folder: Path,
    work: Callable[[Path, Ready], object],
    check: Callable[[Path], object],
    kills: int,
    seconds: float,
) -> str:
    """Kill ``work`` at random instants, up to ``seconds`` after it began to write, until it was killed so often.

    ``check`` looks at what it wrote, after each kill. Work that ends before begins again in an empty folder.
    """
    chance, done, complete = Random(0), 0, 0
    while done < kills:
        killed = fork(lambda ready: work(folder, ready), chance.uniform(0, seconds))
        done, complete = done + killed, complete + (not killed)
        check(folder)
        if not killed:
            shutil.rmtree(folder)
    return f"{done} kills, {complete} complete runs"


def tensor_of(number: int) -> torch.Tensor:
    """The right tensor of a key."""
    return torch.full((1, 64, 16, 16), float(number))


def write_cache(folder: Path, ready: Ready = int) -> None:
    ready()
    cache = EmbeddingCache(folder, memory=0, disk=30 * 70_000)
    for number in np.random.default_rng().integers(0, KEYS, 300).tolist():
        assert torch.equal(cache.get(f"{number}", lambda number=number: tensor_of(number)), tensor_of(number))


def check_cache(folder: Path) -> None:
    """Each tensor that the folder has is right, and nothing has to be repaired."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SegzsWarning)
        cache = EmbeddingCache(folder, memory=0)
        for number in range(KEYS):
            assert torch.equal(cache.get(f"{number}", lambda number=number: tensor_of(number)), tensor_of(number))


class BrightPixels:
    """A labeller without models: the bright pixels of an image are one object."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    def prepare(self, data: bytes) -> Image:
        return read_image(data)

    def label(self, path: str, sha256: str, image: Image) -> ImageAnnotations:
        segment = Segment(RLE.encode(image.pixels[:, :, 0] > 127), 0.9, 0.8, (Name("bright", 0.7),))
        digests = Digests(image.digest, sha256, "sam", "clip")
        return ImageAnnotations(path, image.width, image.height, (segment,), "bright", digests)


@dataclass
class Batch:
    """A directory that is labelled, and the files of an uninterrupted run."""

    photos: Path
    whole: Path

    def __post_init__(self) -> None:
        self.photos.mkdir()
        for number in range(IMAGES):
            pixels = np.zeros((40, 60, 3), np.uint8)
            pixels[number : number + 9, 5:30] = 255 - number
            PIL.Image.fromarray(pixels).save(self.photos / f"{number:02}.png")
        (self.photos / "broken.png").write_bytes(b"no image")
        self.label(self.whole)

    def label(self, out: Path, ready: Ready = int) -> None:
        ready()
        labeller = BrightPixels({"regions": "crops", "background": Cropping().background, "margin": Cropping().margin})
        for _ in label_directory(labeller, self.photos, out, overlays=True, threads=2):
            pass

    def check(self, out: Path) -> None:
        """A run that continues gives the files of an uninterrupted one; it works on a copy."""
        copy = out.with_name("copy")
        shutil.copytree(out, copy)
        fork(lambda ready: self.label(copy, ready))
        assert contents(copy) == contents(self.whole), "the files differ from those of an uninterrupted run"
        shutil.rmtree(copy)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of a folder but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".segzs.lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@dataclass
class Index:
    """A labelled directory that is indexed; lancedb runs in forked processes alone, as its threads do not survive."""

    batch: Batch
    clip: ClipModel

    def write(self, out: Path, ready: Ready) -> None:
        import lancedb  # noqa: F401

        from segzs.search import index as search

        if not (out / "segments.jsonl").exists():
            shutil.copytree(self.batch.whole, out, dirs_exist_ok=True)
        search.ROWS_PER_COMMIT = 4
        ready()
        search.index(out, self.clip)

    def check(self, out: Path) -> None:
        """A run that continues makes the index complete; it works on a copy."""
        copy = out.with_name("copy")
        shutil.copytree(out, copy)
        fork(lambda ready: self._check(copy, ready))
        shutil.rmtree(copy)

    def _check(self, out: Path, ready: Ready) -> None:
        self.write(out, ready)
        from segzs.search.index import SegmentIndex

        matches = SegmentIndex.open(out, self.clip).search("bright", limit=1000)
        assert sorted(match.file for match in matches) == [f"{number:02}.png" for number in range(IMAGES)]


@dataclass
class Server:
    """A session that encodes images into a cache on disk, and the right features."""

    segmenter: segzs.Segmenter

    def __post_init__(self) -> None:
        self.files = [path.read_bytes() for path in sorted(Path("examples").glob("*.png"))[:3]]
        self.features = [self.segmenter.encode(data).features for data in self.files]

    def serve(self, folder: Path, ready: Ready) -> None:
        from segzs.server.session import Session

        ready()
        session = Session(self.segmenter.with_cache(EmbeddingCache(folder)))
        for data in self.files:
            digest = session.put(data)["digest"]
            session.submit("segment", digest=digest, prompts=[{"points": [[50, 50]]}], names=False).result()

    def check(self, folder: Path) -> None:
        """A server that starts again gives the right features, from the cache or not."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", SegzsWarning)
            segmenter = self.segmenter.with_cache(EmbeddingCache(folder))
            for data, features in zip(self.files, self.features, strict=True):
                assert torch.equal(segmenter.encode(data).features, features)

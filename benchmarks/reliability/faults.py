"""Faults of the machine: ``python -m benchmarks.reliability.faults --kills 25``.

Processes are killed at random instants while they write; disks are full, read-only or vanish; clocks jump; two
processes share a cache. Nothing that was written may be lost, and nothing wrong may be served. A line for each fault.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch

import segzs
from benchmarks.reliability.kills import (
    KEYS,
    Batch,
    Index,
    Ready,
    Server,
    check_cache,
    contents,
    fork,
    kill_often,
    tensor_of,
    write_cache,
)
from segzs.cache import EmbeddingCache
from segzs.clip.support_set import SupportSet
from segzs.errors import SegzsError, SegzsWarning
from segzs.formats import FORMATS, ImageAnnotations, save, write
from segzs.masks import RLE
from segzs.segments import Name, Segment, Segments

DISK = 2_000_000
"""Bytes of the disk that is full."""


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A folder on a disk of `DISK` bytes; False where this machine permits no mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "segzs", str(folder)]
    mounted = sys.platform == "linux" and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def writers(segmenter: segzs.Segmenter) -> dict[str, Callable[[Path, int], object]]:
    """Everything that writes files, as functions of a path and of a number that the content depends on."""
    rng = np.random.default_rng(0)
    masks = [RLE.encode(np.kron(rng.random((20, 30)) > 0.5, np.ones((10, 10), bool))) for _ in range(2)]
    image = segzs.read_image(rng.integers(0, 256, (200, 300, 3), np.uint8))
    encoded = segmenter.encode(image)

    def annotations(number: int) -> list[ImageAnnotations]:
        segments = tuple(Segment(mask, number / 2, 0.5, (Name(f"name {number}", 0.5),)) for mask in masks)
        return [ImageAnnotations("a.png", 300, 200, segments)]

    def segments(number: int) -> Segments:
        return Segments(image, tuple(Segment(mask, 1, 1, (Name(f"name {number}", 0.5),)) for mask in masks))

    formats = {
        f"{name}{format.suffix}": lambda path, number, name=name: write(annotations(number), path, name)
        for name, format in FORMATS.items()
    }
    return formats | {
        "overlay.png": lambda path, number: save(segments(number), path),
        "one.json": lambda path, number: save(segments(number), path),
        "crop.png": lambda path, number: segments(number)[0].save(path),
        "image.safetensors": lambda path, number: encoded.save(path),
        "examples.safetensors": lambda path, number: SupportSet(torch.eye(200), ("a",) * 200, f"{number}").save(path),
    }


def full_disk(folder: Path, segmenter: segzs.Segmenter, batch: Batch) -> str:
    """Each writer with less and less room: the old content stays, or the new one is whole."""
    failed = written = 0
    with small_disk(folder) as mounted:
        for name, writer in writers(segmenter).items():
            for room in (0, 1_000, 20_000, 100_000):
                target = folder / name
                write_quietly(writer, target, 0)
                old = contents(folder)
                with room_of(folder, room, mounted):
                    ok = write_quietly(writer, target, 1)
                new = contents(folder)
                assert ok or target.is_dir() or new == old, f"{name}: the old content is gone"
                assert not list(folder.rglob("*.part")), f"{name}: an unfinished file is left"
                if target.is_dir():
                    for path, data in new.items():
                        assert data == old.get(path) or not data or ok or whole(path, data), f"{path} is not whole"
                failed, written = failed + (not ok), written + ok
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        for room in (0, 500, 2_000, 5_000, 12_000):
            with room_of(folder, room, mounted):
                failed += not write_quietly(lambda path, _: batch.label(path), folder / "out", 0)
            batch.label(folder / "out")
            assert contents(folder / "out") == contents(batch.whole), "a run on a full disk does not resume"
            shutil.rmtree(folder / "out")
    return f"{failed} writes refused, {written} fitted ({'a full disk' if mounted else 'a limit of file sizes'})"


def whole(path: str, data: bytes) -> bool:
    """Whether a new file of a folder is complete."""
    end = data.rstrip()[-12:]
    return end.endswith((b"}", b"]", b">", b"IEND\xaeB`\x82")) or path.endswith((".txt", ".yaml"))


def write_quietly(writer: Callable[[Path, int], object], path: Path, number: int) -> bool:
    """Whether a writer succeeds; it may fail with an error of segzs alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SegzsWarning)
        try:
            writer(path, number)
        except SegzsError:
            return False
    return True


@contextmanager
def room_of(folder: Path, room: int, mounted: bool) -> Iterator[None]:
    """Leave so many bytes free, or, without a mount, allow files of so many bytes."""
    if not mounted:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return
    ballast = fill(folder, room)
    try:
        yield
    finally:
        ballast.unlink()


def fill(folder: Path, room: int) -> Path:
    """A file that leaves so many bytes of the disk."""
    disk, ballast = os.statvfs(folder), folder / ".ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, disk.f_bavail * disk.f_frsize - room))
    return ballast


def cache_without_disk(folder: Path) -> str:
    """A cache whose disk is full, read-only, vanishes, or is replaced by a file still gives the right tensors."""
    faults = 0
    with small_disk(folder) as mounted:
        states: dict[str, Callable[[Path], object]] = {
            "full": lambda at: fill(at.parent, 0) if mounted else None,
            "read-only": lambda at: read_only(folder, True, mounted),
            "writable": lambda at: read_only(folder, False, mounted),
            "vanished": lambda at: shutil.rmtree(at),
            "a file": lambda at: (shutil.rmtree(at, ignore_errors=True), at.write_bytes(b"")),
        }
        embeddings = EmbeddingCache(folder / "cache", memory=0)
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            for change in states.values():
                for number in range(12):
                    if number == 6:
                        change(folder / "cache")
                    tensor = embeddings.get(f"{number}", lambda number=number: tensor_of(number))
                    assert torch.equal(tensor, tensor_of(number))
                    faults += 1
    assert given, "no warning was given"
    assert all(issubclass(one.category, SegzsWarning) for one in given), given
    return f"{faults} right tensors in 5 states of the disk, {len(given)} warnings"


def read_only(folder: Path, on: bool, mounted: bool) -> None:
    if mounted:
        subprocess.run(["mount", "-o", f"remount,{'ro' if on else 'rw'}", str(folder)], check=True)
    else:
        folder.chmod(0o500 if on else 0o700)


def clock_jumps(folder: Path) -> str:
    """Files from the future and from 1970 are read, and evicted without loss."""
    write_cache(folder)
    for moment in (0, 1, 4_000_000_000, time.time() + 1e6):
        for path in folder.glob("*.safetensors"):
            os.utime(path, (moment, moment))
        check_cache(folder)
        write_cache(folder)
    return "4 jumps"


def shared_cache(folder: Path) -> str:
    """Processes that read, write and evict the same keys at once."""

    def work(_: Ready = int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SegzsWarning)
            for _ in range(3):
                write_cache(folder)

    fork(lambda _: together([work, work]))
    check_cache(folder)
    return f"2 processes, {2 * 3 * 300} tensors of {KEYS} keys"


def together(works: list[Callable[[], None]]) -> None:
    """Run functions in processes at the same time."""
    if len(works) == 1:
        return works[0]()
    process = os.fork()
    if not process:
        code = 1
        try:
            works[0]()
            code = 0
        finally:
            os._exit(code)
    together(works[1:])
    assert os.waitpid(process, 0)[1] == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25, help="of each of cache, batch, index and server")
    parser.add_argument("--only", default="", help="parts of the names of faults, as cache,clock")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    segmenter = cache(lambda: segzs.load(cache=False))
    failed = False
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        batch = Batch(folder / "photos", folder / "whole")
        index, server = cache(lambda: Index(batch, segmenter().clip)), cache(lambda: Server(segmenter()))
        killed, kills = folder / "killed", arguments.kills
        faults: dict[str, Callable[[], str]] = {
            "cache killed": lambda: kill_often(killed, write_cache, check_cache, kills, 0.3),
            "batch killed": lambda: kill_often(killed, batch.label, batch.check, kills, 0.4),
            "index killed": lambda: kill_often(killed, index().write, index().check, kills, 1.5),
            "server killed": lambda: kill_often(killed, server().serve, server().check, kills, 1.5),
            "cache shared": lambda: shared_cache(folder / "shared"),
            "cache without disk": lambda: cache_without_disk(folder / "lost"),
            "clock jumps": lambda: clock_jumps(folder / "clock"),
            "disk full": lambda: full_disk(folder / "disk", segmenter(), batch),
        }
        for name, fault in faults.items():
            if not any(part in name for part in arguments.only.split(",")):
                continue
            start = time.monotonic()
            try:
                result = fault()
            except AssertionError as error:
                failed, result = True, f"FAULT: {error}"
            print(f"{name}: {result} ({time.monotonic() - start:.0f} s)", flush=True)
            shutil.rmtree(killed, ignore_errors=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

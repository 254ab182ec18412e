"""Label a directory with damaged images, and measure the memory: ``python -m benchmarks.speed.directory``."""

from __future__ import annotations

import argparse
import struct
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image

import segzs
from benchmarks.speed.contest import IMAGE
from benchmarks.speed.memory import resident
from segzs.dataset.directory import label_directory
from segzs.dataset.labeller import Labeller
from segzs.dataset.pipeline import Failure


def encoded(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def deep(image: PIL.Image.Image) -> bytes:
    """16 bits per channel."""
    return encoded(PIL.Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG")


def cmyk(image: PIL.Image.Image) -> bytes:
    return encoded(image.convert("CMYK"), "JPEG")


def animated(image: PIL.Image.Image) -> bytes:
    return encoded(image, "GIF", save_all=True, append_images=[image.rotate(90), image.rotate(180)])


def huge(image: PIL.Image.Image) -> bytes:
    """A PNG whose header declares 100,000 x 100,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    data = encoded(image, "PNG")
    return data[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def jpeg(image: PIL.Image.Image) -> bytes:
    return encoded(image, "JPEG")


def half(make: Callable[[PIL.Image.Image], bytes]) -> Callable[[PIL.Image.Image], bytes]:
    return lambda image: (data := make(image))[: len(data) // 2]


def gif_without_a_frame(image: PIL.Image.Image) -> bytes:
    return animated(image)[:900]


GOOD = {"jpg": jpeg, "deep.png": deep, "cmyk.jpg": cmyk, "animated.gif": animated}
BAD: dict[str, Callable[[PIL.Image.Image], bytes]] = {
    "truncated.jpg": half(jpeg),
    "empty.jpg": lambda image: b"",
    "text.jpg": lambda image: b"not an image",
    "huge.png": huge,
    "truncated-deep.png": half(deep),
    "truncated-cmyk.jpg": half(cmyk),
    "truncated-animated.gif": gif_without_a_frame,
}


def draw(folder: Path, images: int, bad: int) -> None:
    """Draw images of different sizes, with damaged ones among them."""
    rng = np.random.default_rng(0)
    damaged = set(np.linspace(3, images - 1, bad, dtype=int).tolist()) if bad else set()
    with PIL.Image.open(IMAGE) as image:
        desk = image.convert("RGB")
    for number in range(images):
        width, height = rng.integers(96, 256, 2)
        x, y = rng.integers(0, desk.width - width), rng.integers(0, desk.height - height)
        kinds = list((BAD if number in damaged else GOOD).items())
        odd = number in damaged or number % 20 == 0
        name, make = kinds[len(damaged & set(range(number))) % len(kinds) if odd else 0]
        path = folder / str(number % 10) / f"{number:04}.{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make(desk.crop((x, y, x + width, y + height))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--bad", type=int, default=50)
    parser.add_argument("--after", type=int, default=100, help="compare the memory with that at this image")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    labeller = Labeller.of(segzs.load("tiny", cache=False), points_per_side=2)
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        draw(photos, arguments.images, arguments.bad)
        failures, memory, start = 0, [], time.perf_counter()
        for result in label_directory(labeller, photos, Path(folder) / "out"):
            failures += isinstance(result, Failure)
            memory.append(resident() * 1024)
        seconds = time.perf_counter() - start
    before, after = memory[min(arguments.after, len(memory)) - 1], memory[-1]
    print(
        f"{len(memory) - failures} labelled, {failures} reported, of {len(memory)} images in {seconds:.0f} s; "
        f"memory at image {arguments.after} {before:.0f} MiB, at the last {after:.0f} MiB ({after / before - 1:+.1%}), "
        f"peak {max(memory):.0f} MiB"
    )


if __name__ == "__main__":
    main()

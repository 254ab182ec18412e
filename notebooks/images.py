"""Make the images that the notebooks open with: ``python -m notebooks.images``; number 5 is one of the docs."""

from __future__ import annotations

import warnings
from pathlib import Path

import PIL.Image

import segzs

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
NAMES = ("desk.png", "picnic.png", "toolbox.png")


def main() -> None:
    warnings.simplefilter("ignore", segzs.SegzsWarning)
    segmenter = segzs.load()
    images = {name: segmenter.encode(EXAMPLES / name) for name in NAMES}
    every = {name: segmenter.everything(image) for name, image in images.items()}
    save("1", every["desk.png"].overlay())
    picnic = every["picnic.png"]
    save("2", picnic.overlay(), segmenter.semantic(images["picnic.png"], picnic).overlay())
    own = segmenter.with_labels(["laptop", "red apple", "alarm clock", "key"]).name(every["desk.png"])
    taught = segmenter.with_labels(["laptop", "red apple", "alarm clock", "key"]).with_examples(
        {"my thing": own.named("unknown")[0]}
    )
    save("3", own.overlay(), taught.name(own).overlay())
    save("4", *(segments.overlay() for segments in every.values()))


def save(number: str, *images: PIL.Image.Image, height: int = 400) -> None:
    """Put images side by side, and write them to a file."""
    parts = [
        image.resize((image.width * height // image.height, height), PIL.Image.Resampling.LANCZOS) for image in images
    ]
    row = PIL.Image.new("RGB", (sum(part.width for part in parts) + 10 * (len(parts) - 1), height), "white")
    left = 0
    for part in parts:
        row.paste(part, (left, 0))
        left += part.width + 10
    row.save(HERE / f"{number}.jpg", quality=85)


if __name__ == "__main__":
    main()

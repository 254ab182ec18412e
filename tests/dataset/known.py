"""A labeller that knows the example scenes; `fake` does without PyTorch, which this imports."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from segzs.formats.annotations import Digests, ImageAnnotations
from segzs.image import Image, read_image
from segzs.segments import Name, Segment
from tests.conftest import read_scene


class KnownLabeller:
    """Knows the example scenes, under names that begin with theirs, and says that the embedded CLIP named them."""

    settings: ClassVar = {"clip": {"name": "tiny"}, "margin": 0.1, "background": "grey", "scales": [1.0]}

    def prepare(self, data: bytes) -> Image:
        return read_image(data)

    def label(self, path: str, sha256: str, image: Image) -> ImageAnnotations:
        scene = read_scene(Path(path).stem.partition("-")[0])
        pairs = zip(scene.names, scene.masks, strict=True)
        segments = tuple(Segment(mask, 0.9, 0.8, (Name(name, 0.5),)) for name, mask in pairs)
        return ImageAnnotations(
            path, image.width, image.height, segments, "known", Digests(image.digest, sha256, "5a", "c1")
        )

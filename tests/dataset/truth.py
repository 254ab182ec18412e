"""A labeller that returns the true masks of the example scenes. It imports torch; `fake` does not."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from segzs.formats.annotations import Digests, ImageAnnotations
from segzs.image import Image, read_image
from segzs.segments import Name, Segment
from tests.conftest import read_scene


class TruthLabeller:
    """Label images whose names begin with that of an example scene, as if the embedded CLIP had named the masks."""

    settings: ClassVar = {"clip": {"name": "tiny"}, "regions": "crops", "margin": 0.1, "background": "grey"}

    def prepare(self, data: bytes) -> Image:
        return read_image(data)

    def label(self, path: str, sha256: str, image: Image) -> ImageAnnotations:
        scene = read_scene(Path(path).stem.partition("-")[0])
        pairs = zip(scene.names, scene.masks, strict=True)
        segments = tuple(Segment(mask, 0.9, 0.8, (Name(name, 0.5),)) for name, mask in pairs)
        digests = Digests(image.digest, sha256, "5a", "c1")
        return ImageAnnotations(path, image.width, image.height, segments, "truth", digests)

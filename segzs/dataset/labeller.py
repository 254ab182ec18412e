"""Label one image file: its bytes and the settings determine its annotations."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from segzs import __version__
from segzs.cache import MEBI
from segzs.formats.annotations import Digests, ImageAnnotations
from segzs.image import read_image
from segzs.loading import load
from segzs.sam.encode import PreparedImage, prepare
from segzs.sam.mask_generator import GeneratorOptions
from segzs.segmenter import Segmenter
from segzs.segments import Segment

MEMORY = 16 * MEBI
"""Bytes of the embedding cache: each image is encoded once, but CLIP's dense features are used several times."""


@dataclass(frozen=True)
class Labeller:
    """Segment and name every object of an image file; make one with `Labeller.of`.

    ``labeller("cat.jpg", data)`` runs both steps: `prepare`, which needs no model and may run in another thread, and
    `label`.
    """

    segmenter: Segmenter
    options: GeneratorOptions

    @classmethod
    def of(cls, segmenter: Segmenter, **options: Any) -> Labeller:
        """A labeller with the options of `Segmenter.everything` and a small memory for image embeddings."""
        cache = replace(segmenter.cache, memory=min(MEMORY, segmenter.cache.memory))
        return cls(segmenter.with_cache(cache), GeneratorOptions(**options))

    def __call__(self, path: str, data: bytes) -> ImageAnnotations:
        """The annotations of an image file; raises `ImageError` if the bytes are not an image."""
        return self.label(path, hashlib.sha256(data).hexdigest(), self.prepare(data))

    def prepare(self, data: bytes) -> PreparedImage:
        """Decode an image and resize it for SAM."""
        return prepare(self.segmenter.sam, read_image(data))

    def label(self, path: str, sha256: str, image: PreparedImage) -> ImageAnnotations:
        """The annotations of a prepared image; ``sha256`` is the digest of its file."""
        segments = self.segmenter.everything(self.segmenter.encode(image), **asdict(self.options))
        return ImageAnnotations(
            file=path,
            width=image.width,
            height=image.height,
            segments=tuple(Segment.from_dict(segment.to_dict()) for segment in segments),  # rounded as in a file
            model=segments.model,
            digests=Digests(image.digest, sha256, self.segmenter.sam.digest, self.segmenter.clip.digest),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Everything besides the file that determines the annotations, as values for JSON."""
        return {
            "segzs": __version__,
            **self.segmenter.settings,
            "labels": list(self.segmenter.vocabulary.labels),
            "templates": list(self.segmenter.vocabulary.templates),
            "everything": asdict(self.options),
        }


def load_labeller(model: str | None = None, *, everything: Mapping[str, Any] | None = None, **options: Any) -> Labeller:
    """Load models into a labeller: `segzs.load`, then `Labeller.of`, for processes that each load their own.

    ``everything`` are options of `Segmenter.everything`, ``options`` those of `segzs.load`. Image embeddings are not
    cached on disk unless these contain ``cache=True``.
    """
    return Labeller.of(load(model, **{"cache": False, **options}), **(everything or {}))

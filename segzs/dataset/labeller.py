"""One image file -> one record: a pure function of the file's bytes and the settings."""

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
"""Bytes of features that are kept: each image comes by once, but what CLIP sees all over it is asked for repeatedly."""


@dataclass(frozen=True)
class Labeller:
    """Finds and names every object of an image file; make one with `Labeller.of`.

    ``labeller("cat.jpg", data)`` is the whole of it. `prepare` is its first part, which needs no model and may run
    in a thread, and `label` the rest.
    """

    segmenter: Segmenter
    options: GeneratorOptions

    @classmethod
    def of(cls, segmenter: Segmenter, **options: Any) -> Labeller:
        """A labeller with the options of `Segmenter.everything`; the last few encoded images stay in memory.

        Raises:
            PromptError: an option is out of range.
        """
        passing = segmenter.with_cache(replace(segmenter.cache, memory=min(MEMORY, segmenter.cache.memory)))
        return cls(passing, GeneratorOptions(**options))

    def __call__(self, path: str, data: bytes) -> ImageAnnotations:
        """The record of an image file.

        Raises:
            ImageError: the bytes are no picture.
        """
        return self.label(path, hashlib.sha256(data).hexdigest(), self.prepare(data))

    def prepare(self, data: bytes) -> PreparedImage:
        """The pixels, decoded and resized.

        Raises:
            ImageError: the bytes are no picture.
        """
        return prepare(self.segmenter.sam, read_image(data))

    def label(self, path: str, sha256: str, image: PreparedImage) -> ImageAnnotations:
        """The record of a prepared image, from a file of that digest."""
        segments = self.segmenter.everything(self.segmenter.encode(image), **asdict(self.options))
        return ImageAnnotations(
            file=path,
            width=image.width,
            height=image.height,
            segments=tuple(Segment.from_dict(segment.to_dict()) for segment in segments),  # what a file would hold
            model=segments.model,
            digests=Digests(image.digest, sha256, self.segmenter.sam.digest, self.segmenter.clip.digest),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All that a record depends on besides the file, as plain values for JSON."""
        return {
            "segzs": __version__,
            **self.segmenter.settings,
            "labels": list(self.segmenter.vocabulary.labels),
            "templates": list(self.segmenter.vocabulary.templates),
            "everything": asdict(self.options),
        }


def load_labeller(model: str | None = None, *, everything: Mapping[str, Any] | None = None, **options: Any) -> Labeller:
    """Load models into a labeller: `segzs.load` and `Labeller.of` in one, for processes that each load their own.

    Images that come by once are not kept on disk either, unless ``options`` say ``cache=True``.

    Args:
        model: a preset.
        everything: options of `Segmenter.everything`.
        **options: those of `segzs.load`.
    """
    return Labeller.of(load(model, **{"cache": False, **options}), **(everything or {}))

"""Region encoder: image features of masks, from crops, pooled from one pass over the image, or from both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from segzs.cache import EmbeddingCache
from segzs.checks import check_number
from segzs.clip.both import encode_both
from segzs.clip.crops import Cropping, encode_masks, encode_object
from segzs.clip.dense import VERSION, cell_features, dense_features, pool, tower_of
from segzs.clip.model import ClipModel
from segzs.clip.networks.tiny import TwoTrunks
from segzs.errors import ModelError, PromptError, UsageError
from segzs.image import Image, ImageSource, read_image
from segzs.masks import RLE
from segzs.segments import Segment, Segments

Example = Segment | Segments | ImageSource
REGIONS = ("crops", "pooled", "both")
WEIGHTINGS = ("mean", "autoclip")


@dataclass(frozen=True)
class Naming:
    """How objects are named; for an option that is None, the CLIP decides, except for ``unknown``.

    Args:
        regions: "crops" encodes a crop of each mask. "pooled" encodes the whole image once and averages its dense
            features inside each mask, which is much faster for many masks. "both" (tiny only) combines the two.
        background: the pixels of a crop outside of the mask: "blur", "grey", "keep", or "cut" (a tight crop on the
            model's mean colour).
        margin: context on each side of a crop, as a share of the longer side of the mask's box.
        templates: sentences with ``{}``, or open_clip's "simple" (7) or "imagenet" (80), or "plain" (1); None takes
            those of the vocabulary, or else those that suit the CLIP.
        weighting: "mean" averages the templates; "autoclip" weights them for each object (Metzen et al. 2023).
        unknown: what a label must exceed, or else the object is "unknown". "auto": the similarity of general labels
            and of the vocabulary's negatives; a number: this cosine similarity, and that of the negatives; None: no
            object is ever "unknown".

    Raises:
        UsageError: an option is unknown or out of range.

    >>> Naming(background="keep", margin=0.2).unknown
    'auto'
    """

    regions: str | None = None
    background: str | None = None
    margin: float | None = None
    templates: str | Sequence[str] | None = None
    weighting: str = "mean"
    unknown: float | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        if self.regions not in (None, *REGIONS):
            raise UsageError(f"unknown regions {self.regions!r}; choose from {', '.join(REGIONS)}")
        given = {"background": self.background, "margin": self.margin}
        Cropping(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        if self.weighting not in WEIGHTINGS:
            raise UsageError(f"unknown weighting {self.weighting!r}; choose from {', '.join(WEIGHTINGS)}")
        if self.unknown not in (None, "auto"):
            expected = "a cosine similarity from -1 to 1, 'auto' or None"
            check_number("unknown", self.unknown, expected, -1, 1, error=UsageError)


@dataclass(frozen=True, eq=False)
class RegionEncoder:
    """Encodes masks of an image with the image tower of a CLIP.

    ``cache`` keeps the dense features of images in memory, so that the second mask of an image costs little.
    """

    clip: ClipModel
    cropping: Cropping
    regions: str = "crops"
    cache: EmbeddingCache = field(default_factory=EmbeddingCache, repr=False)

    @classmethod
    def of(cls, clip: ClipModel, naming: Naming, cache: EmbeddingCache) -> RegionEncoder:
        """The region encoder of a `Naming`; options that are None take the model's own values.

        Raises:
            ModelError: the CLIP does not support these ``regions``.
        """
        spec = clip.spec
        cropping = Cropping(
            background=spec.background if naming.background is None else naming.background,
            margin=spec.margin if naming.margin is None else naming.margin,
        )
        regions = naming.regions or spec.regions
        if regions == "both" and not isinstance(clip.module.visual, TwoTrunks):
            raise ModelError(f"only the tiny CLIP has regions='both'; choose crops or pooled for {clip.spec.name}")
        if regions == "pooled":
            tower_of(clip)
        return cls(clip, cropping, regions, cache)

    @property
    def digest(self) -> str:
        """SHA-256 of the CLIP and of how it encodes masks; only features with the same digest can be compared."""
        cropping = "" if self.regions == "pooled" else f" {self.cropping}"
        dense = "" if self.regions == "crops" else f" dense {VERSION}"
        method = f"{self.clip.digest} {self.clip.config} {self.regions}{cropping}{dense}"
        return hashlib.sha256(method.encode()).hexdigest()

    def encode(self, image: Image, masks: Sequence[RLE]) -> Tensor:
        """Normalised image features of masks: float32 (masks, width)."""
        if self.regions == "pooled":
            return pool(self.clip, self.dense(image), masks)
        if self.regions == "both":
            return encode_both(self.clip, image.pixels, self.dense(image), masks, self.cropping)
        return encode_masks(self.clip, image.pixels, masks, self.cropping)

    def encode_whole(self, image: Image) -> Tensor:
        """The normalised image feature of a whole image of one object: float32 (1, width)."""
        if self.regions == "pooled":
            return self.encode(image, [RLE.encode(np.ones((image.height, image.width), bool))])
        return encode_object(self.clip, image)

    def encode_example(self, example: Example) -> Tensor:
        """Normalised image features of segments, or of an image of one object: float32 (N, width)."""
        if isinstance(example, Segments):
            if not example:
                raise PromptError("the example is empty Segments; give at least one segment")
            return self.encode(example.image, [segment.rle for segment in example])
        if not isinstance(example, Segment):
            return self.encode_whole(read_image(example))
        if example.image is None:
            raise PromptError("the segment was read from a file without pixels; use ImageAnnotations.on(image) first")
        return self.encode(example.image, [example.rle])

    def cells(self, image: Image) -> Tensor:
        """Normalised image features of the cells of a grid over an image: float32 (rows, columns, width).

        Raises `ModelError` if the image tower has no dense features.
        """
        tower_of(self.clip)
        return cell_features(self.clip, self.dense(image))

    def dense(self, image: Image) -> Tensor:
        """The dense features of an image; see `dense_features`."""
        clip = self.clip
        key = f"{image.digest} {clip.digest} {clip.config} {clip.dtype} dense {VERSION}"
        dense = self.cache.get(key, lambda: dense_features(clip, image.pixels), on_disk=False)
        return dense.to(clip.device, torch.float32)

"""Promptable segmentation with names: SAM masks, named by CLIP among labels that you just typed.

>>> import segzs
>>> segmenter = segzs.load(labels=["cat", "dog", "coffee mug"])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzs.clip.labels import Label
    from segzs.clip.regions import Naming
    from segzs.clip.vocabulary import Vocabulary
    from segzs.errors import (
        AnnotationError,
        CacheWarning,
        FormatWarning,
        ImageError,
        MapWarning,
        ModelError,
        ModelMismatchError,
        OutputError,
        PromptError,
        RequestError,
        SegzsError,
        SegzsWarning,
        UnfamiliarWarning,
        UnknownModelError,
        UsageError,
        VocabularyError,
        WeightsError,
    )
    from segzs.formats import save
    from segzs.image import Image, read_image
    from segzs.loading import load
    from segzs.masks import RLE
    from segzs.postprocess.maps import SemanticMap
    from segzs.prompts import Prompt
    from segzs.sam.encode import EncodedImage
    from segzs.sam.mask_generator import GeneratorOptions
    from segzs.segmenter import Segmenter
    from segzs.segments import Name, Segment, Segments

__all__ = [
    "RLE",
    "AnnotationError",
    "CacheWarning",
    "EncodedImage",
    "FormatWarning",
    "GeneratorOptions",
    "Image",
    "ImageError",
    "Label",
    "MapWarning",
    "ModelError",
    "ModelMismatchError",
    "Name",
    "Naming",
    "OutputError",
    "Prompt",
    "PromptError",
    "RequestError",
    "Segment",
    "Segmenter",
    "Segments",
    "SegzsError",
    "SegzsWarning",
    "SemanticMap",
    "UnfamiliarWarning",
    "UnknownModelError",
    "UsageError",
    "Vocabulary",
    "VocabularyError",
    "WeightsError",
    "load",
    "read_image",
    "save",
]
__version__ = "0.1.0"

_MODULES = {
    "AnnotationError": "errors",
    "CacheWarning": "errors",
    "EncodedImage": "sam.encode",
    "FormatWarning": "errors",
    "GeneratorOptions": "sam.mask_generator",
    "Image": "image",
    "ImageError": "errors",
    "Label": "clip.labels",
    "MapWarning": "errors",
    "ModelError": "errors",
    "ModelMismatchError": "errors",
    "Name": "segments",
    "Naming": "clip.regions",
    "OutputError": "errors",
    "Prompt": "prompts",
    "PromptError": "errors",
    "RLE": "masks",
    "RequestError": "errors",
    "Segment": "segments",
    "Segmenter": "segmenter",
    "Segments": "segments",
    "SegzsError": "errors",
    "SegzsWarning": "errors",
    "SemanticMap": "postprocess.maps",
    "UnfamiliarWarning": "errors",
    "UnknownModelError": "errors",
    "UsageError": "errors",
    "Vocabulary": "clip.vocabulary",
    "VocabularyError": "errors",
    "WeightsError": "errors",
    "load": "loading",
    "read_image": "image",
    "save": "formats",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch takes seconds, and `segzs --help` does not need it."""
    if name not in _MODULES:
        raise AttributeError(f"module 'segzs' has no attribute {name!r}")
    value = getattr(import_module(f"segzs.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

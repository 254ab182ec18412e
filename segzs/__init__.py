"""Promptable segmentation with names: SAM masks, named by CLIP among labels that you type.

>>> import segzs
>>> segmenter = segzs.load(labels=["cat", "dog", "coffee mug"])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzs.cache import CacheWarning
    from segzs.clip.labels import Label
    from segzs.clip.regions import Naming
    from segzs.clip.vocabulary import Vocabulary
    from segzs.errors import (
        AnnotationError,
        ImageError,
        ModelError,
        ModelMismatchError,
        OutputError,
        PromptError,
        SegzsError,
        SegzsWarning,
        UnfamiliarWarning,
        UnknownModelError,
        UsageError,
        VocabularyError,
        WeightsError,
    )
    from segzs.formats import save
    from segzs.formats.files import FormatWarning
    from segzs.image import Image, read_image
    from segzs.loading import load
    from segzs.postprocess.maps import MapWarning, SemanticMap
    from segzs.prompts import Prompt
    from segzs.sam.encode import EncodedImage
    from segzs.sam.mask_generator import GeneratorOptions
    from segzs.segmenter import Segmenter
    from segzs.segments import Name, Segment, Segments

_HOMES = {
    "AnnotationError": "errors",
    "CacheWarning": "cache",
    "EncodedImage": "sam.encode",
    "FormatWarning": "formats.files",
    "GeneratorOptions": "sam.mask_generator",
    "Image": "image",
    "ImageError": "errors",
    "Label": "clip.labels",
    "MapWarning": "postprocess.maps",
    "ModelError": "errors",
    "ModelMismatchError": "errors",
    "Name": "segments",
    "Naming": "clip.regions",
    "OutputError": "errors",
    "Prompt": "prompts",
    "PromptError": "errors",
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

__all__ = [
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


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch takes seconds, and `segzs --help` does not need it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'segzs' has no attribute {name!r}")
    value = getattr(import_module(f"segzs.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

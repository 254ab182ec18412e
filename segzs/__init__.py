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
    from segzs.errors import *  # noqa: F403
    from segzs.formats import save
    from segzs.image import Image, read_image
    from segzs.loading import load
    from segzs.masks import RLE
    from segzs.notebook import annotate
    from segzs.postprocess.maps import SemanticMap
    from segzs.prompts import Prompt
    from segzs.sam.encode import EncodedImage
    from segzs.sam.mask_generator import GeneratorOptions
    from segzs.segmenter import Segmenter
    from segzs.segments import Name, Segment, Segments

# ruff: noqa: F405
__all__ = ["GeneratorOptions", "Image", "Label", "Naming", "Prompt", "Segmenter", "Vocabulary", "load", "read_image"]
__all__ += ["RLE", "EncodedImage", "Name", "Segment", "Segments", "SemanticMap", "annotate", "save"]
__all__ += ["ImageError", "ImageTooLargeError", "ModelError", "PromptError", "SegzsError", "VocabularyError"]
__all__ += ["AnnotationError", "ModelMismatchError", "OutputError", "RequestError", "UnknownModelError", "UsageError"]
__all__ += ["OutOfMemoryError", "WeightsError"]
__all__ += ["CacheWarning", "FormatWarning", "ImageWarning", "MapWarning", "PromptWarning", "SegzsWarning"]
__all__ += ["UnfamiliarWarning"]
__version__ = "0.1.0"

_MODULES = {
    "EncodedImage": "sam.encode",
    "GeneratorOptions": "sam.mask_generator",
    "Image": "image",
    "Label": "clip.labels",
    "Name": "segments",
    "Naming": "clip.regions",
    "Prompt": "prompts",
    "RLE": "masks",
    "Segment": "segments",
    "Segmenter": "segmenter",
    "Segments": "segments",
    "SemanticMap": "postprocess.maps",
    "Vocabulary": "clip.vocabulary",
    "annotate": "notebook",
    "load": "loading",
    "read_image": "image",
    "save": "formats",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch takes seconds, and `segzs --help` does not need it."""
    if name not in __all__:
        raise AttributeError(f"module 'segzs' has no attribute {name!r}")
    value = getattr(import_module(f"segzs.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""Encode an image once, into an immutable `EncodedImage` that knows which model made it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from os import PathLike
from pathlib import Path
from threading import get_ident

import numpy as np
import PIL.Image
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn

from segzs.cache import EmbeddingCache
from segzs.errors import AnnotationError, ModelMismatchError, OutputError
from segzs.files import atomic_write
from segzs.html import figure
from segzs.image import Image
from segzs.memory import run_in_parts
from segzs.sam.model import SamModel
from segzs.values import Value, read_only

PREPROCESSING = 1
"""Version of the preprocessing; features of another version cannot be compared."""
FORMAT = "segzs-image/1"


@dataclass(frozen=True, eq=False)
class EncodedImage(Value):
    """The image embedding that SAM's image encoder made of an image, and the digest of the weights that made it.

    ``features`` is float32 (1, C, G, G). ``input_size`` is the height and width of the image inside the model's square
    input. The value is immutable and can be shared between threads.
    """

    image: Image
    features: Tensor = field(repr=False)
    input_size: tuple[int, int]
    model: str
    model_digest: str
    _copies: dict[tuple[torch.device, torch.dtype], Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.features.is_inference():
            with torch.inference_mode():  # outside of it, writing to such a tensor is an error
                object.__setattr__(self, "features", self.features.clone())

    def read_by(self, sam: SamModel) -> Tensor:
        """The features on the device, in the dtype and in the layout of a model; converted once."""
        key = (sam.device, sam.dtype)
        if key not in self._copies:
            self._copies[key] = self.features.to(*key).contiguous(memory_format=sam.module.memory_format)
        return self._copies[key]

    def check_model(self, sam: SamModel) -> None:
        """Raise `ModelMismatchError` unless ``sam`` made these features."""
        if self.model_digest != sam.digest:
            raise ModelMismatchError(
                f"the image was encoded by {self.model} ({self.model_digest[:12]}), not by {sam.spec.name} "
                f"({sam.digest[:12]}); encode it with the model that segments it"
            )

    def _repr_html_(self) -> str:
        size = f"{self.image.width} x {self.image.height} pixels"
        return figure(PIL.Image.fromarray(self.image.pixels), f"image of {size}", f"{size}, encoded by {self.model}")

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the pixels and the features to a safetensors file, for `EncodedImage.load`.

        Raises:
            OutputError: the file cannot be written.
        """
        tensors = {"features": self.features.contiguous().cpu(), "pixels": torch.from_numpy(self.image.pixels.copy())}
        about = {"input_size": self.input_size, "model": self.model, "model_digest": self.model_digest}
        try:
            with atomic_write(Path(path), "wb") as file:
                file.write(save(tensors, {"format": FORMAT, "about": json.dumps(about)}))
        except (SafetensorError, OSError) as error:
            raise OutputError(f"{path} cannot be written: {error}") from error
        return Path(path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> EncodedImage:
        """Read a file that `EncodedImage.save` wrote.

        Raises:
            AnnotationError: the file cannot be read or has another format.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
                about = json.loads(metadata["about"])
                image = Image(file.get_tensor("pixels").numpy())
                features = file.get_tensor("features")
                return cls(image, features, tuple(about["input_size"]), about["model"], about["model_digest"])
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise AnnotationError(f"{path} is not an encoded image: {error}; EncodedImage.save writes one") from error


@dataclass(frozen=True, eq=False, repr=False)
class PreparedImage(Image):
    """An image that is already resized, for instance by a thread while the model works on another image.

    ``resized`` is uint8 RGB (h, w, 3), the image at the size of the model's input.
    """

    resized: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "resized", read_only(self.resized))


def prepare(sam: SamModel, image: Image) -> PreparedImage:
    """Resize an image for the encoder and compute its digest; needs no model computation."""
    prepared = PreparedImage(image.pixels, _resized(sam, image))
    prepared.digest  # noqa: B018  # computed here and cached
    return prepared


@torch.inference_mode()
def encode(sam: SamModel, image: Image) -> EncodedImage:
    """Run SAM's image encoder on the image at the size of the model's input; see `input_size`."""
    return EncodedImage(image, _features(sam, image), input_size(sam, image), sam.spec.name, sam.digest)


@torch.inference_mode()
def encode_cached(sam: SamModel, image: Image, cache: EmbeddingCache) -> EncodedImage:
    """`encode`, or the features that the cache has of the same pixels, weights, dtype and preprocessing.

    Features are float16 in the cache, so that they are the same whether they were just made or read.
    """
    key = f"{image.digest} {sam.digest} {sam.dtype} {PREPROCESSING}"
    features = cache.get(key, lambda: _as_float16(_features(sam, image)))
    return EncodedImage(
        image, features.to(sam.device, torch.float32), input_size(sam, image), sam.spec.name, sam.digest
    )


@contextmanager
def report_blocks(network: nn.Module, progress: Callable[[float], object]) -> Iterator[None]:
    """Call ``progress`` with the share done after each block of an image encoder, as long as the context lasts.

    Encodings of other threads do not count. An exception of ``progress`` ends the encoding.
    """
    lists = [part for name, part in network.named_modules() if name.rpartition(".")[2] == "blocks"]
    blocks = [block for part in lists for block in part.children()]
    thread, done = get_ident(), count(1)

    def report(*_: object) -> None:
        if get_ident() == thread:
            progress(next(done) / len(blocks))

    hooks = [block.register_forward_hook(report) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def input_size(sam: SamModel, image: Image) -> tuple[int, int]:
    """Height and width of an image inside the model's square input, at least one pixel each."""
    side = sam.module.side
    if not sam.module.keeps_aspect:
        return side, side
    height, width = ResizeLongestSide.get_preprocess_shape(image.height, image.width, side)
    return max(1, height), max(1, width)


def _features(sam: SamModel, image: Image) -> Tensor:
    resized = image.resized if isinstance(image, PreparedImage) else None
    if resized is None or resized.shape[:2] != input_size(sam, image):
        resized = _resized(sam, image)
    writable = np.require(resized, requirements="W")  # PyTorch has no read-only tensors
    pixels = torch.from_numpy(writable).permute(2, 0, 1)[None]
    (features,) = run_in_parts(lambda one: sam.module.encode(one.to(sam.device)), pixels)
    return features


def _resized(sam: SamModel, image: Image) -> np.ndarray:
    """The pixels at the size of the model's input, resized by Pillow as segment-anything does."""
    height, width = input_size(sam, image)
    return np.array(PIL.Image.fromarray(image.pixels).resize((width, height), PIL.Image.Resampling.BILINEAR))


def _as_float16(features: Tensor) -> Tensor:
    """Convert to float16 unless a value would overflow."""
    halves = features.half()
    return halves if bool(torch.isfinite(halves).all()) else features

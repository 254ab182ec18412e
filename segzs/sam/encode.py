"""A picture -> an immutable EncodedImage that knows which model made it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from segzs.errors import ModelMismatchError
from segzs.image import Image
from segzs.sam.model import SamModel

PREPROCESSING = 1
"""Version of what happens to pixels before the encoder; features of another version are not comparable."""


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """What SAM's image encoder saw: features 1 C G G, the image, and the digest of the weights that made them.

    ``input_size`` is the height and width that the image has inside the model's square input. Hand it to as many
    threads as you like; nothing that one sees changes.
    """

    image: Image
    features: Tensor = field(repr=False)
    input_size: tuple[int, int]
    model: str
    model_digest: str
    _read: dict[tuple[torch.device, torch.dtype], Tensor] = field(default_factory=dict, init=False, repr=False)

    def read_by(self, sam: SamModel) -> Tensor:
        """The features as the decoder of a model takes them, made once."""
        key = (sam.device, sam.dtype)
        if key not in self._read:
            self._read[key] = self.features.to(*key)
        return self._read[key]

    def check_model(self, sam: SamModel) -> None:
        """Raise `ModelMismatchError` unless ``sam`` made these features."""
        if self.model_digest != sam.digest:
            raise ModelMismatchError(
                f"the image was encoded by {self.model} ({self.model_digest[:12]}), not by {sam.spec.name} "
                f"({sam.digest[:12]}); encode it with the model that is to segment it"
            )


class Resize(ResizeLongestSide):
    """segment-anything's resizing to the model's input, which leaves at least one pixel of a very long picture."""

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        height, width = ResizeLongestSide.get_preprocess_shape(oldh, oldw, long_side_length)
        return max(1, height), max(1, width)


@dataclass(frozen=True, eq=False, repr=False)
class PreparedImage(Image):
    """An image that was made ready ahead, for instance in a thread while the model is busy with another.

    ``resized`` is uint8 RGB (h, w, 3), the image at the size of the model's input; `encode` takes it as it is.
    """

    resized: np.ndarray


def prepare(sam: SamModel, image: Image) -> PreparedImage:
    """Do what `encode` does on the CPU before the encoder, and compute the digest."""
    prepared = PreparedImage(image.pixels, _resized(sam, image))
    prepared.digest  # noqa: B018  # remembered
    return prepared


@torch.inference_mode()
def encode(sam: SamModel, image: Image) -> EncodedImage:
    """Run SAM's image encoder once: the longest side resized to the model's input, the rest padded."""
    size = input_size(sam, image)
    ready = image.resized if isinstance(image, PreparedImage) and image.resized.shape[:2] == size else None
    resized = _resized(sam, image) if ready is None else ready
    pixels = torch.from_numpy(resized).permute(2, 0, 1)[None].to(sam.device)  # 1 3 h w
    features = sam.module.image_encoder(sam.module.preprocess(pixels.float()).to(sam.dtype)).float().contiguous()
    return EncodedImage(image, features, size, sam.spec.name, sam.digest)


def input_size(sam: SamModel, image: Image) -> tuple[int, int]:
    """Height and width that an image has inside the model's square input."""
    return Resize.get_preprocess_shape(image.height, image.width, sam.module.image_encoder.img_size)


def _resized(sam: SamModel, image: Image) -> np.ndarray:
    return np.ascontiguousarray(Resize(sam.module.image_encoder.img_size).apply_image(np.asarray(image.pixels)))

"""Image features: what the image tower of a CLIP makes of images, through the CLIP's own preprocessing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import PIL.Image
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from segzs.clip.model import ClipModel
from segzs.memory import run_in_parts

BATCH = 32


@torch.inference_mode()
def encode_images(clip: ClipModel, images: Iterable[np.ndarray]) -> Tensor:
    """Normalised image features (N, width) of uint8 RGB images (height, width, 3) of any sizes; (0, 0) without any."""

    def encode(batch: list[Tensor]) -> Tensor:
        pixels = normalize(torch.stack(batch).to(clip.device), clip.preprocessing).to(clip.dtype)
        return F.normalize(clip.module.encode_image(pixels).float(), dim=-1)

    features: list[Tensor] = []
    resized = (fit(image, clip.preprocessing) for image in images)
    while batch := list(islice(resized, BATCH)):
        features += run_in_parts(encode, batch)
    return torch.cat(features) if features else torch.zeros(0, 0)


def fit(image: np.ndarray, preprocessing: PreprocessCfg) -> Tensor:
    """Resize, crop or pad a uint8 RGB image (H, W, 3) to a model's input by open_clip's transform: uint8 (3, h, w)."""
    fitted = PIL.Image.fromarray(image)
    for step in image_transform_v2(preprocessing, is_train=False).transforms[:-2]:  # without conversion to float
        fitted = step(fitted)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) to (3, H, W). A read-only array is copied, because PyTorch has no read-only tensors."""
    return torch.from_numpy(np.require(image, requirements="W")).permute(2, 0, 1)


def resize(pixels: Tensor, size: Sequence[int], preprocessing: PreprocessCfg) -> Tensor:
    """Resize uint8 (3, H, W) to a size (height, width), with the model's interpolation."""
    mode = InterpolationMode(preprocessing.interpolation)
    return transforms.resize(pixels, list(size), mode, antialias=True)


def normalize(pixels: Tensor, preprocessing: PreprocessCfg) -> Tensor:
    """Subtract the model's mean from uint8 (..., 3, H, W) and divide by its standard deviation: float32."""
    mean, std = (
        255 * torch.tensor(values, device=pixels.device)[:, None, None]
        for values in (preprocessing.mean, preprocessing.std)
    )
    return pixels.float().sub_(mean).div_(std)

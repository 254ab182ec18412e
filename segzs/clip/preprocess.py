"""Pictures -> one tensor: resized by open_clip's own transform, and normalised together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL.Image
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize


def fit(picture: np.ndarray, wanted: PreprocessCfg) -> Tensor:
    """A uint8 RGB picture (height, width, 3) at a model's size, as its resize mode says: uint8 (3, height, width)."""
    fitted = PIL.Image.fromarray(picture)
    for step in image_transform_v2(wanted, is_train=False).transforms[:-2]:  # those left out make floats of each
        fitted = step(fitted)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)


def tensor(picture: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> (3, H, W); a copy of what may not be written to, for PyTorch knows no such tensors."""
    return torch.from_numpy(np.require(picture, requirements="W")).permute(2, 0, 1)


def scale(pixels: Tensor, size: Sequence[int], wanted: PreprocessCfg) -> Tensor:
    """uint8 (3, H, W) -> (3, *size), with the interpolation that a model was trained with."""
    return resize(pixels, list(size), InterpolationMode(wanted.interpolation), antialias=True)


def normalise(pixels: Tensor, wanted: PreprocessCfg) -> Tensor:
    """uint8 (..., 3, H, W) -> float32, less the model's mean, in units of its standard deviation."""
    mean, deviation = (
        255 * torch.tensor(each, device=pixels.device)[:, None, None] for each in (wanted.mean, wanted.std)
    )
    return pixels.float().sub_(mean).div_(deviation)

"""Pictures -> one tensor, as open_clip's own transform makes them, but without Pillow and normalised together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from open_clip.transform import PreprocessCfg, center_crop_or_pad
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize


def fit(picture: np.ndarray, wanted: PreprocessCfg) -> Tensor:
    """A uint8 RGB picture (height, width, 3) at a model's size, as its resize mode says: uint8 (3, height, width).

    torchvision's antialiased resizing is Pillow's with weights of fewer bits: of a thousand values of a square picture
    a few differ, by 1 or 2 of 255. Of high pictures more do, for Pillow 13 takes their rows first.
    """
    pixels = scale(tensor(picture), _scaled(picture.shape[:2], wanted), wanted)
    return center_crop_or_pad(pixels, wanted.size, fill=wanted.fill_color)


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


def _scaled(size: Sequence[int], wanted: PreprocessCfg) -> Sequence[int]:
    """The height and width to which open_clip scales a picture before it cuts or pads it."""
    if wanted.resize_mode == "squash":
        return wanted.size
    ratios = [side / target for side, target in zip(size, wanted.size, strict=True)]
    if wanted.resize_mode == "longest":
        return [round(side / max(ratios)) for side in size]
    if wanted.size[0] == wanted.size[1]:
        return [wanted.size[0] * side // min(size) for side in size]
    return [round(side / min(ratios)) for side in size]

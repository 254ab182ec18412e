"""Dense features: a grid of features from one pass over an image, and the mean of them inside each mask.

For a vision transformer these are the value-path features of "Extract free dense labels from CLIP" (MaskCLIP; Zhou, Loy
& Dai 2022): in the last block, each patch attends to itself alone. A tower that averages its last feature map needs no
change: the mean of its features over the image is the image feature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from segzs.clip.image_features import normalize, resize, to_tensor
from segzs.clip.model import ClipModel
from segzs.clip.networks.tiny import TwoTrunks
from segzs.errors import ModelError
from segzs.masks import RLE

VERSION = 1
"""Changes with the results of `dense_features`; part of cache keys."""
SIZE = 2
"""The short side of the resized image, as a multiple of the model's input ..."""
MIN_CELLS = 12
"""... and at least this many cells."""
MAX_ASPECT = 8
"""Longer images are squashed to this ratio of their sides."""
BATCH = 16
MIN_SIMILARITY = 0.99


@dataclass(frozen=True, eq=False)
class Tower:
    """An image tower in two parts.

    ``trunk`` takes normalised images (N, 3, H, W) to features of cells (N, rows, columns, channels), one cell for
    ``cell`` (height, width) pixels. ``head`` takes means of cells (N, channels) to image features (N, width).
    ``window`` is the (rows, columns) that images must have, or None for any.
    """

    trunk: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
    cell: tuple[int, int]
    window: tuple[int, int] | None


@torch.inference_mode()
def dense_features(clip: ClipModel, pixels: np.ndarray) -> Tensor:
    """The features of the cells of a grid over an image.

    The image is resized so that its short side is twice the model's input. Transformers see it in windows of their
    input size that overlap by about half; features in the overlap are averaged. From uint8 RGB (height, width, 3) to
    float32 (rows, columns, channels), for `pool`. Raises `ModelError` if the image tower has no dense features.
    """
    tower = tower_of(clip)
    rows, columns = _grid(tower, clip.preprocessing.size, pixels.shape[:2])
    (cell_height, cell_width), (window_rows, window_columns) = tower.cell, tower.window or (rows, columns)
    image = resize(to_tensor(pixels), (rows * cell_height, columns * cell_width), clip.preprocessing)
    image = normalize(image.to(clip.device), clip.preprocessing).to(clip.dtype)
    corners = [(top, left) for top in _starts(rows, window_rows) for left in _starts(columns, window_columns)]
    height, width = window_rows * cell_height, window_columns * cell_width
    pixels_of = ((top * cell_height, left * cell_width) for top, left in corners)
    windows = [image[:, y : y + height, x : x + width] for y, x in pixels_of]
    batches = (torch.stack(windows[i : i + BATCH]) for i in range(0, len(windows), BATCH))
    features = torch.cat([tower.trunk(batch) for batch in batches]).float()
    total, count = features.new_zeros(rows, columns, features.shape[-1]), features.new_zeros(rows, columns, 1)
    for (top, left), cells in zip(corners, features, strict=True):
        total[top : top + window_rows, left : left + window_columns] += cells
        count[top : top + window_rows, left : left + window_columns] += 1
    return total / count


@torch.inference_mode()
def pool(clip: ClipModel, dense: Tensor, masks: Sequence[RLE]) -> Tensor:
    """Normalised image features of masks from the `dense_features` of their image: (N, width), 0 for empty masks."""
    means = mask_means(dense, masks)
    features = F.normalize(tower_of(clip).head(means.to(clip.dtype)).float(), dim=-1)
    features[[mask.area == 0 for mask in masks]] = 0
    return features


def mask_means(dense: Tensor, masks: Sequence[RLE]) -> Tensor:
    """The mean in each mask of features interpolated bilinearly from cells (rows, columns, channels): (N, channels)."""
    rows, columns, channels = dense.shape
    weights = np.zeros((len(masks), rows, columns), np.float32)
    for weight, mask in zip(weights, masks, strict=True):
        x1, y1, x2, y2 = mask.box
        inside = mask.decode()[y1:y2, x1:x2].astype(np.float32)
        vertical, horizontal = _interpolation(rows, mask.height), _interpolation(columns, mask.width)
        weight[:] = vertical[:, y1:y2] @ inside @ horizontal[:, x1:x2].T / max(mask.area, 1)
    return torch.from_numpy(weights).flatten(1).to(dense.device) @ dense.reshape(-1, channels)


@torch.inference_mode()
def cell_features(clip: ClipModel, dense: Tensor) -> Tensor:
    """Normalised image features of the cells of `dense_features`: float32 (rows, columns, width)."""
    features = tower_of(clip).head(dense.flatten(0, 1).to(clip.dtype)).float()
    return F.normalize(features, dim=-1).unflatten(0, dense.shape[:2])


def _grid(tower: Tower, input_size: Sequence[int], size: Sequence[int]) -> tuple[int, int]:
    """The rows and columns of cells for an image of a size (height, width)."""
    short = max(SIZE * min(input_size), MIN_CELLS * min(tower.cell))
    sides = (min(side * short / min(size), MAX_ASPECT * short) for side in size)
    smallest = tower.window or (1, 1)
    rows, columns = (max(round(s / cell), low) for s, cell, low in zip(sides, tower.cell, smallest, strict=True))
    return rows, columns


def _starts(cells: int, window: int) -> list[int]:
    """The first cells of windows that cover an axis and overlap by about half."""
    count = math.ceil((cells - window) / math.ceil(window / 2)) + 1
    return [round(start) for start in np.linspace(0, cells - window, count)]


def _interpolation(cells: int, pixels: int) -> np.ndarray:
    """The weights of cells in the pixels that are interpolated from them along one axis: float32 (cells, pixels)."""
    positions = ((np.arange(pixels) + 0.5) * cells / pixels - 0.5).clip(0, cells - 1)
    return (1 - np.abs(positions - np.arange(cells)[:, None])).clip(0).astype(np.float32)


_towers: WeakKeyDictionary[ClipModel, Tower] = WeakKeyDictionary()


def tower_of(clip: ClipModel) -> Tower:
    """The parts of a model's image tower; raises `ModelError` if it has no dense features."""
    if clip not in _towers:
        visual = clip.module.visual
        tower = _transformer(visual) if isinstance(visual, VisionTransformer) else None
        if isinstance(visual, TimmModel):
            tower = _convolutional(visual, clip)
        if isinstance(visual, TwoTrunks):
            tower = Tower(partial(_photograph_map, visual), visual.photograph_head, visual.cell, None)
        if tower is None:
            kind = type(visual.trunk if isinstance(visual, TimmModel) else visual).__name__
            raise ModelError(
                f"the image tower of {clip.spec.name} ({kind}) has no dense features; choose regions='crops', or a "
                "CLIP with open_clip's vision transformer (pooled by class token or mean) or a timm network that "
                "averages its last feature map"
            )
        _towers[clip] = tower
    return _towers[clip]


def _transformer(visual: VisionTransformer) -> Tower | None:
    """open_clip's vision transformers, unless attention pools their tokens."""
    if visual.attn_pool is not None or visual.pool_type not in ("tok", "avg"):
        return None
    return Tower(partial(_patches, visual), partial(_project, visual), visual.patch_size, visual.grid_size)


def _patches(visual: VisionTransformer, images: Tensor) -> Tensor:
    """Features of patches, (N, rows, columns, channels)."""
    blocks, by_class = visual.transformer.resblocks, visual.pool_type == "tok"
    index, options = len(blocks) - (2 if by_class else 1), {"stop_early": True, "intermediates_only": True}
    outputs = visual.forward_intermediates(images, indices=[index], output_fmt="NLC", **options)
    (patches,) = outputs["image_intermediates"]  # N, rows*columns, channels, without the class token
    if by_class:
        itself = patches.new_full((patches.shape[1],) * 2, -math.inf).fill_diagonal_(0)
        patches = blocks[-1](patches, attn_mask=itself)
    if not visual.final_ln_after_pool:
        patches = visual.ln_post(patches)
    return patches.unflatten(1, visual.grid_size)


def _photograph_map(visual: TwoTrunks, images: Tensor) -> Tensor:
    return visual.photograph_map(images).permute(0, 2, 3, 1)


def _project(visual: VisionTransformer, means: Tensor) -> Tensor:
    if visual.final_ln_after_pool:
        means = visual.ln_post(means)
    return means @ visual.proj


@torch.inference_mode()
def _convolutional(visual: TimmModel, clip: ClipModel) -> Tower | None:
    """timm's convolutional networks, if their head needs only the mean of the last map, which noise shows."""
    size = clip.preprocessing.size
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(clip.device, clip.dtype)
    features = visual.trunk.forward_features(noise)
    if features.ndim != 4 or features.shape[1] != visual.trunk.num_features or hasattr(visual.head, "pool"):
        return None
    ours, reference = _head(visual, features.mean((2, 3))), visual(noise)
    if F.cosine_similarity(ours.float(), reference.float()) < MIN_SIMILARITY:
        return None
    cell = size[0] // features.shape[2], size[1] // features.shape[3]
    return Tower(partial(_last_map, visual), partial(_head, visual), cell, None)


def _last_map(visual: TimmModel, images: Tensor) -> Tensor:
    return visual.trunk.forward_features(images).permute(0, 2, 3, 1)


def _head(visual: TimmModel, means: Tensor) -> Tensor:
    """The rest of the network on maps of one cell, whose mean is that cell."""
    return visual.head(visual.trunk.forward_head(means[..., None, None]))

"""What CLIP's image tower sees in each part of a picture, from one pass over it; masks are named by the mean of theirs.

For a vision transformer these are the value-path features of MaskCLIP (Zhou, Loy & Dai 2022, "Extract free dense labels
from CLIP"): in the last block each patch attends to itself alone. A tower that averages its last map needs no such
change: there the mean over all of the picture is the picture's own feature.
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

from segzs.clip.build import ClipModel
from segzs.clip.networks.tiny import TwoTrunks
from segzs.clip.preprocess import normalise, scale, tensor
from segzs.errors import ModelError
from segzs.masks import RLE

VERSION = 1
"""Of what `dense_features` answers, for whoever remembers it."""
SPAN = 2
"""How many of the tower's own inputs the short side of a picture is scaled to ..."""
FEWEST_CELLS = 12
"""... unless that makes fewer cells than these."""
LONGEST = 8
"""A picture longer than so many times its short side is squashed."""
BATCH = 16
SAME = 0.99


@dataclass(frozen=True, eq=False)
class Tower:
    """An image tower taken apart: what it sees in each cell of a picture, and what it makes of a mean of cells.

    ``see`` takes normalised pictures (N, 3, H, W) to (N, rows, columns, channels), a cell for ``cell`` (height, width)
    pixels; ``head`` takes (N, channels) to image features (N, width). ``window`` is the (rows, columns) that pictures
    must have, None where any will do.
    """

    see: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
    cell: tuple[int, int]
    window: tuple[int, int] | None


@torch.inference_mode()
def dense_features(clip: ClipModel, pixels: np.ndarray) -> Tensor:
    """What the image tower sees in each cell of a grid that covers a picture.

    The picture is scaled so that its short side is twice what the model was trained on. Transformers see it through
    windows of their own input, which overlap by about half; where they do, the mean counts.

    Args:
        pixels: uint8 RGB (height, width, 3).

    Returns:
        float32 (rows, columns, channels), for `pool`.

    Raises:
        ModelError: the model's image tower has no dense path.
    """
    tower = tower_of(clip)
    rows, columns = _grid(tower, clip.preprocessing.size, pixels.shape[:2])
    (y, x), (high, wide) = tower.cell, tower.window or (rows, columns)
    picture = scale(tensor(pixels), (rows * y, columns * x), clip.preprocessing)
    picture = normalise(picture.to(clip.device), clip.preprocessing).to(clip.dtype)
    corners = [(top, left) for top in _starts(rows, high) for left in _starts(columns, wide)]
    windows = [picture[:, top * y : (top + high) * y, left * x : (left + wide) * x] for top, left in corners]
    seen = torch.cat([tower.see(torch.stack(windows[i : i + BATCH])) for i in range(0, len(windows), BATCH)]).float()
    total, count = seen.new_zeros(rows, columns, seen.shape[-1]), seen.new_zeros(rows, columns, 1)
    for (top, left), cells in zip(corners, seen, strict=True):
        total[top : top + high, left : left + wide] += cells
        count[top : top + high, left : left + wide] += 1
    return total / count


@torch.inference_mode()
def pool(clip: ClipModel, dense: Tensor, masks: Sequence[RLE]) -> Tensor:
    """Normalised image features of masks, from what `dense_features` saw of their picture.

    A mask's feature is the mean, over its pixels, of the cells interpolated bilinearly to every pixel, so that a single
    pixel has one as well. An empty mask has none: zeros, which resemble nothing.

    Returns:
        float32 (masks, width).
    """
    features = F.normalize(tower_of(clip).head(means_of(dense, masks).to(clip.dtype)).float(), dim=-1)
    features[[mask.area == 0 for mask in masks]] = 0
    return features


def means_of(dense: Tensor, masks: Sequence[RLE]) -> Tensor:
    """The mean over each mask of a picture's interpolated cells (rows, columns, channels): (masks, channels)."""
    rows, columns, channels = dense.shape
    weights = np.zeros((len(masks), rows, columns), np.float32)
    for weight, mask in zip(weights, masks, strict=True):
        x1, y1, x2, y2 = mask.box
        inside = mask.decode()[y1:y2, x1:x2].astype(np.float32)
        down, across = _interpolation(rows, mask.height)[:, y1:y2], _interpolation(columns, mask.width)[:, x1:x2]
        weight[:] = down @ inside @ across.T / max(mask.area, 1)
    return torch.from_numpy(weights).flatten(1).to(dense.device) @ dense.reshape(-1, channels)


@torch.inference_mode()
def cell_features(clip: ClipModel, dense: Tensor) -> Tensor:
    """Normalised image features of each cell that `dense_features` saw: float32 (rows, columns, width)."""
    features = tower_of(clip).head(dense.flatten(0, 1).to(clip.dtype)).float()
    return F.normalize(features, dim=-1).unflatten(0, dense.shape[:2])


def _grid(tower: Tower, trained: Sequence[int], size: Sequence[int]) -> tuple[int, int]:
    """How many rows and columns of cells a picture of a (height, width) is scaled to."""
    wanted = max(SPAN * min(trained), FEWEST_CELLS * min(tower.cell))
    sides = (min(side * wanted / min(size), LONGEST * wanted) for side in size)
    least = tower.window or (1, 1)
    rows, columns = (max(round(s / cell), few) for s, cell, few in zip(sides, tower.cell, least, strict=True))
    return rows, columns


def _starts(cells: int, window: int) -> list[int]:
    """Where windows begin that cover an axis and overlap by about half."""
    count = math.ceil((cells - window) / math.ceil(window / 2)) + 1
    return [round(start) for start in np.linspace(0, cells - window, count)]


def _interpolation(cells: int, pixels: int) -> np.ndarray:
    """The weights of cells in pixels interpolated from them, along one axis: float32 (cells, pixels)."""
    places = ((np.arange(pixels) + 0.5) * cells / pixels - 0.5).clip(0, cells - 1)
    return (1 - np.abs(places - np.arange(cells)[:, None])).clip(0).astype(np.float32)


_towers: WeakKeyDictionary[ClipModel, Tower] = WeakKeyDictionary()


def tower_of(clip: ClipModel) -> Tower:
    """The image tower of a model, taken apart.

    Raises:
        ModelError: it cannot be: it has no dense path.
    """
    if clip not in _towers:
        visual = clip.module.visual
        tower = _transformer(visual) if isinstance(visual, VisionTransformer) else None
        if isinstance(visual, TimmModel):
            tower = _averaging(visual, clip)
        if isinstance(visual, TwoTrunks):
            tower = Tower(partial(_see_photograph, visual), visual.photograph_head, visual.cell, None)
        if tower is None:
            kind = type(visual.trunk if isinstance(visual, TimmModel) else visual).__name__
            raise ModelError(
                f"the image tower of {clip.row.name} ({kind}) has no dense path: open_clip's own vision transformers "
                "that pool by their class token or by the mean have one, and timm's networks that average their last "
                "map; name with naming='crops', or take another CLIP"
            )
        _towers[clip] = tower
    return _towers[clip]


def _transformer(visual: VisionTransformer) -> Tower | None:
    """open_clip's own transformers, unless attention pools their tokens."""
    if visual.attn_pool is not None or visual.pool_type not in ("tok", "avg"):
        return None
    return Tower(partial(_see_patches, visual), partial(_project, visual), visual.patch_size, visual.grid_size)


def _see_patches(visual: VisionTransformer, pictures: Tensor) -> Tensor:
    blocks, by_class = visual.transformer.resblocks, visual.pool_type == "tok"
    seen = visual.forward_intermediates(
        pictures,
        indices=[len(blocks) - (2 if by_class else 1)],
        stop_early=True,
        intermediates_only=True,
        output_fmt="NLC",
    )
    (patches,) = seen["image_intermediates"]  # N rows*columns channels, without the class token
    if by_class:
        alone = patches.new_full((patches.shape[1],) * 2, -math.inf).fill_diagonal_(0)
        patches = blocks[-1](patches, attn_mask=alone)
    if not visual.final_ln_after_pool:
        patches = visual.ln_post(patches)
    return patches.unflatten(1, visual.grid_size)


def _see_photograph(visual: TwoTrunks, pictures: Tensor) -> Tensor:
    return visual.see(pictures).permute(0, 2, 3, 1)


def _project(visual: VisionTransformer, means: Tensor) -> Tensor:
    if visual.final_ln_after_pool:
        means = visual.ln_post(means)
    return means @ visual.proj


@torch.inference_mode()
def _averaging(visual: TimmModel, clip: ClipModel) -> Tower | None:
    """timm's convolutional networks, if the mean of the last map shows itself to be all that their head sees."""
    size = clip.preprocessing.size
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(clip.device, clip.dtype)
    seen = visual.trunk.forward_features(noise)
    if seen.ndim != 4 or seen.shape[1] != visual.trunk.num_features or hasattr(visual.head, "pool"):
        return None
    ours, theirs = _head(visual, seen.mean((2, 3))), visual(noise)
    if F.cosine_similarity(ours.float(), theirs.float()) < SAME:
        return None
    cell = size[0] // seen.shape[2], size[1] // seen.shape[3]
    return Tower(partial(_see_map, visual), partial(_head, visual), cell, None)


def _see_map(visual: TimmModel, pictures: Tensor) -> Tensor:
    return visual.trunk.forward_features(pictures).permute(0, 2, 3, 1)


def _head(visual: TimmModel, means: Tensor) -> Tensor:
    """The rest of the network, on maps of a single cell: their average is that cell."""
    return visual.head(visual.trunk.forward_head(means[..., None, None]))

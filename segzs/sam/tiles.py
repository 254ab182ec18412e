"""Everything mode on tiles of a large image: small objects at the model's full resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, product

import cv2
import numpy as np

from segzs.image import Image
from segzs.masks import RLE, Box, Mask, iou, nms
from segzs.sam.encode import EncodedImage, input_size
from segzs.sam.mask_generator import GeneratorOptions, Progress, check_progress, generate_masks
from segzs.sam.model import SamModel

OVERLAP = 0.25
"""As a share of a tile's side. A smaller object lies completely inside one of the tiles."""
MIN_AGREEMENT = 0.7
LOGIT = 10.0


@dataclass(frozen=True, eq=False)
class Part:
    """A mask of one tile, in the tile's own pixels, and the tile's box in the image."""

    tile: Box
    mask: Mask

    @property
    def box(self) -> Box:
        """The mask's box in the image."""
        left, top = self.tile[:2]
        x1, y1, x2, y2 = self.mask.rle.box
        return x1 + left, y1 + top, x2 + left, y2 + top

    def within(self, box: Box) -> np.ndarray:
        """The mask inside a box of the image that lies in the tile: bool (height, width)."""
        left, top = self.tile[:2]
        x1, y1, x2, y2 = box
        return self.mask.rle.decode()[y1 - top : y2 - top, x1 - left : x2 - left]

    def is_cut(self, image: Image) -> bool:
        """Whether the mask ends at a side of the tile that is not a side of the image."""
        near = 2 * -(-max(self.tile[2] - self.tile[0], self.tile[3] - self.tile[1]) // 256)  # cells of SAM's grid
        ends = (0, 0, image.width, image.height)
        return any(
            abs(side - edge) <= near and edge != end for side, edge, end in zip(self.box, self.tile, ends, strict=True)
        )


def generate_masks_in_tiles(
    sam: SamModel,
    encode: Callable[[Image], EncodedImage],
    encoded: EncodedImage,
    options: GeneratorOptions = GeneratorOptions(),
    progress: Progress | None = None,
    *,
    lenient: bool = False,
) -> list[Mask]:
    """`generate_masks` on the whole image and on ``options.tiles`` squared overlapping tiles of it, largest first.

    Parts of an object that a seam cuts are joined if they agree where the tiles overlap. Of duplicates, the mask with
    the higher predicted IoU is kept.

    Args:
        sam: the model that encoded the image.
        encode: encodes a tile.
        encoded: the image.
        options: see `GeneratorOptions`.
        progress: called with the share done, from 0 to 1; an exception that it raises cancels the search.
        lenient: see `generate_masks`.

    Raises:
        ModelMismatchError: another model encoded the image.
    """
    check_progress(progress)
    image = encoded.image
    boxes = tile_boxes(image.width, image.height, options.tiles) if options.tiles > 1 else []
    steps = _split_progress(progress, 1 + len(boxes))
    masks = generate_masks(sam, encoded, options, next(steps), lenient=lenient)
    parts: list[Part] = []
    for box in boxes:
        tile = encode(crop_image(image, box))
        parts += [Part(box, mask) for mask in generate_masks(sam, tile, options, next(steps), lenient=lenient)]
    whole = [[part] for part in parts if not part.is_cut(image)]
    joined = [group for group in group_parts([part for part in parts if part.is_cut(image)]) if len(group) > 1]
    masks += [_joined(sam, encoded, group) for group in whole + joined]
    masks.sort(key=lambda mask: -mask.predicted_iou)
    rles = [mask.rle for mask in masks]
    kept = nms(range(len(rles)), iou(rles, rles), options.nms_threshold)[: options.max_masks]
    return sorted((masks[index] for index in kept), key=lambda mask: -mask.rle.area)


def tile_boxes(width: int, height: int, per_side: int) -> list[Box]:
    """The boxes of overlapping tiles that cover an image, row by row.

    >>> tile_boxes(700, 350, 2)
    [(0, 0, 400, 200), (300, 0, 700, 200), (0, 150, 400, 350), (300, 150, 700, 350)]
    """
    per_side = min(per_side, width, height)  # no tile is empty
    columns, rows = _spans(width, per_side), _spans(height, per_side)
    return [(x1, y1, x2, y2) for (y1, y2), (x1, x2) in product(rows, columns)]


def group_parts(parts: Sequence[Part]) -> list[list[Part]]:
    """Group parts of neighbouring tiles that agree where the tiles overlap: each group is one object."""
    groups: list[list[Part]] = []
    for part in parts:
        same = [group for group in groups if any(_agree(part, other) for other in group)]
        groups = [group for group in groups if group not in same] + [[*chain(*same), part]]
    return groups


def crop_image(image: Image, box: Box) -> Image:
    """The part of an image inside a box."""
    x1, y1, x2, y2 = box
    return Image(image.pixels[y1:y2, x1:x2])


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    side = length / (count - (count - 1) * OVERLAP)
    starts = [round(index * side * (1 - OVERLAP)) for index in range(count)]
    return [(start, min(round(start + side), length)) for start in starts[:-1]] + [(starts[-1], length)]


def _agree(one: Part, other: Part) -> bool:
    overlap = _common(one.tile, other.tile)
    if one.tile == other.tile or _is_empty(overlap):
        return False
    if _is_empty(_common(_common(one.box, other.box), overlap)):
        return False
    ours, theirs = one.within(overlap), other.within(overlap)
    return bool((ours & theirs).sum() > MIN_AGREEMENT * (ours | theirs).sum())


def _common(one: Box, other: Box) -> Box:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


def _is_empty(box: Box) -> bool:
    return box[0] >= box[2] or box[1] >= box[3]


def _joined(sam: SamModel, encoded: EncodedImage, group: Sequence[Part]) -> Mask:
    """One mask of the image from the parts of an object, with the lowest scores of the parts."""
    pixels = np.zeros((encoded.image.height, encoded.image.width), bool)
    for part in group:
        x1, y1, x2, y2 = part.tile
        pixels[y1:y2, x1:x2] |= part.mask.rle.decode()
    return Mask(
        RLE.encode(pixels),
        min(part.mask.predicted_iou for part in group),
        min(part.mask.stability_score for part in group),
        low_res_logits(sam, encoded, pixels),
    )


def low_res_logits(sam: SamModel, encoded: EncodedImage, mask: np.ndarray) -> np.ndarray:
    """Logits on the whole image's grid that stand for a mask, so that a later prompt can refine it."""
    height, width = sam.mask_size
    side = sam.module.side
    input_height, input_width = input_size(sam, encoded.image)
    inner = (max(1, round(width * input_width / side)), max(1, round(height * input_height / side)))
    share = cv2.resize(mask.astype(np.float32), inner, interpolation=cv2.INTER_AREA)
    logits = np.full((height, width), -LOGIT, np.float32)
    logits[: share.shape[0], : share.shape[1]] = (2 * share - 1) * LOGIT
    return logits


def _split_progress(progress: Progress | None, count: int) -> Iterator[Progress | None]:
    """A progress callback for each of ``count`` equal steps of the whole."""
    for step in range(count):
        yield None if progress is None else partial(_advance, progress, step, count)


def _advance(progress: Progress, step: int, count: int, share: float) -> None:
    progress((step + share) / count)

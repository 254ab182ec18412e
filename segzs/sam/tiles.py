"""Everything mode on tiles of a large image: small objects at the model's resolution, cut ones joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, product

import cv2
import numpy as np

from segzs.image import Image
from segzs.masks import RLE, Box, Masks, iou
from segzs.sam.encode import EncodedImage, input_size
from segzs.sam.mask_generator import EverythingOptions, check_progress, everything, nms
from segzs.sam.model import SamModel

Progress = Callable[[float], object]

OVERLAP = 0.25
"""Of a tile's side: objects smaller than that are whole in one of the tiles."""
AGREEMENT = 0.7
CERTAINTY = 10.0


@dataclass(frozen=True, eq=False)
class Part:
    """What everything mode found in a tile: one mask in the tile's own pixels, and the tile's box in the image."""

    tile: Box
    masks: Masks

    @property
    def box(self) -> Box:
        """The mask's box in the image."""
        left, top = self.tile[:2]
        x1, y1, x2, y2 = self.masks.rles[0].box
        return x1 + left, y1 + top, x2 + left, y2 + top

    def within(self, box: Box) -> np.ndarray:
        """The mask inside a box of the image that lies in the tile."""
        left, top = self.tile[:2]
        x1, y1, x2, y2 = box
        return self.masks.rles[0].decode()[y1 - top : y2 - top, x1 - left : x2 - left]

    def is_cut(self, image: Image) -> bool:
        """Whether it ends at a side of the tile that is no side of the image."""
        near = 2 * -(-max(self.tile[2] - self.tile[0], self.tile[3] - self.tile[1]) // 256)  # cells of SAM's grid
        ends = (0, 0, image.width, image.height)
        return any(
            abs(side - edge) <= near and edge != end for side, edge, end in zip(self.box, self.tile, ends, strict=True)
        )


def everything_in_tiles(
    sam: SamModel,
    encode: Callable[[Image], EncodedImage],
    encoded: EncodedImage,
    options: EverythingOptions = EverythingOptions(),
    progress: Progress | None = None,
    *,
    lenient: bool = False,
) -> list[Masks]:
    """`everything` on the whole image and on ``options.tiles`` squared overlapping tiles of it, largest first.

    What a seam cuts is joined where the parts agree in what both tiles show; of duplicates the better one stays.
    ``encode`` looks at a tile, as `EmbeddingCache.encode` does; the rest is as for `everything`.

    Raises:
        ModelMismatchError: another model encoded the image.
    """
    check_progress(progress)
    image = encoded.image
    boxes = tile_boxes(image.width, image.height, options.tiles) if options.tiles > 1 else []
    done = _shares(progress, 1 + len(boxes))
    found = everything(sam, encoded, options, next(done), lenient=lenient)
    parts: list[Part] = []
    for box in boxes:
        there = everything(sam, encode(cut(image, box)), options, next(done), lenient=lenient)
        parts += [Part(box, masks) for masks in there]
    whole = [[part] for part in parts if not part.is_cut(image)]
    groups = [group for group in joined([part for part in parts if part.is_cut(image)]) if len(group) > 1]
    found += [_placed(sam, encoded, group) for group in whole + groups]
    found = _without_duplicates(found, options.duplicate_iou)[: options.max_masks]
    return sorted(found, key=lambda masks: -masks.rles[0].area)


def tile_boxes(width: int, height: int, per_side: int) -> list[Box]:
    """The boxes of overlapping tiles, row by row; together they are the image.

    >>> tile_boxes(700, 350, 2)
    [(0, 0, 400, 200), (300, 0, 700, 200), (0, 150, 400, 350), (300, 150, 700, 350)]
    """
    per_side = min(per_side, width, height)  # so that every tile has pixels
    columns, rows = _spans(width, per_side), _spans(height, per_side)
    return [(x1, y1, x2, y2) for (y1, y2), (x1, x2) in product(rows, columns)]


def joined(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts in groups that are one object: parts of neighbouring tiles that agree in what both tiles show."""
    groups: list[list[Part]] = []
    for part in parts:
        fitting = [group for group in groups if any(_agree(part, other) for other in group)]
        groups = [group for group in groups if group not in fitting] + [[*chain(*fitting), part]]
    return groups


def cut(image: Image, box: Box) -> Image:
    """The pixels of an image in a box."""
    x1, y1, x2, y2 = box
    return Image(image.pixels[y1:y2, x1:x2])


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    side = length / (count - (count - 1) * OVERLAP)
    starts = [round(index * side * (1 - OVERLAP)) for index in range(count)]
    return [(start, min(round(start + side), length)) for start in starts[:-1]] + [(starts[-1], length)]


def _agree(one: Part, other: Part) -> bool:
    shared = _common(one.tile, other.tile)
    if one.tile == other.tile or _is_empty(shared):
        return False
    if _is_empty(_common(_common(one.box, other.box), shared)):
        return False
    ours, theirs = one.within(shared), other.within(shared)
    return bool((ours & theirs).sum() > AGREEMENT * (ours | theirs).sum())


def _common(one: Box, other: Box) -> Box:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


def _is_empty(box: Box) -> bool:
    return box[0] >= box[2] or box[1] >= box[3]


def _placed(sam: SamModel, encoded: EncodedImage, group: Sequence[Part]) -> Masks:
    """One mask of the image from the parts of an object."""
    mask = np.zeros((encoded.image.height, encoded.image.width), bool)
    for part in group:
        x1, y1, x2, y2 = part.tile
        mask[y1:y2, x1:x2] |= part.masks.rles[0].decode()
    return Masks(
        (RLE.encode(mask),),
        np.min([part.masks.predicted_iou for part in group], axis=0),
        np.min([part.masks.stability for part in group], axis=0),
        _low_res_logits(sam, encoded, mask)[None],
    )


def _low_res_logits(sam: SamModel, encoded: EncodedImage, mask: np.ndarray) -> np.ndarray:
    """Logits on the whole image's grid that stand for a mask, so that it can be refined as any other."""
    height, width = sam.mask_size
    side = sam.module.image_encoder.img_size
    input_height, input_width = input_size(sam, encoded.image)
    inner = (max(1, round(width * input_width / side)), max(1, round(height * input_height / side)))
    share = cv2.resize(mask.astype(np.float32), inner, interpolation=cv2.INTER_AREA)
    logits = np.full((height, width), -CERTAINTY, np.float32)
    logits[: share.shape[0], : share.shape[1]] = (2 * share - 1) * CERTAINTY
    return logits


def _without_duplicates(found: Sequence[Masks], largest_iou: float) -> list[Masks]:
    """Masks, best first, without those that overlap a better one by more."""
    ranked = sorted(found, key=lambda masks: -float(masks.predicted_iou[0]))
    rles = [masks.rles[0] for masks in ranked]
    return [ranked[index] for index in nms(range(len(ranked)), iou(rles, rles), largest_iou)]


def _shares(progress: Progress | None, count: int) -> Iterator[Progress | None]:
    """A progress callback for each of ``count`` equal steps of the whole."""
    for step in range(count):
        yield None if progress is None else partial(_advance, progress, step, count)


def _advance(progress: Progress, step: int, count: int, share: float) -> None:
    progress((step + share) / count)

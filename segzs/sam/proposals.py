"""Cheap masks at points of an encoded image, and everything mode's candidates from a grid of them.

For SAMs that have a `PointHead`: it answers hundreds of points in the time that the mask decoder takes for a few, and
the decoder then draws only what is left of those answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from segzs.prompts import Prompt
from segzs.sam.bitmaps import nms_bitmaps
from segzs.sam.decode import chunk, decode_low_res
from segzs.sam.decode import stability_score as stability_of
from segzs.sam.encode import EncodedImage
from segzs.sam.model import SamModel
from segzs.sam.networks.network import LowResMasks
from segzs.sam.networks.point_head import STRIDE as POINT_STRIDE
from segzs.sam.networks.point_head import PointFeatures, PointHead
from segzs.sam.networks.tiny import STRIDE, unpack

POINTS = 64
"""Points answered at once, so that what they need stays in a CPU's cache."""
MAX_COMPARED = 400
MAX_PROPOSALS = 80
"""Proposals that are compared with each other, and those that the decoder draws."""
NMS_THRESHOLD = 0.75
LENIENT = 0.7
"""Proposals are taken from this share of everything mode's own thresholds on: the decoder may think better of them."""


def has_point_head(sam: SamModel) -> bool:
    """Whether a SAM has a head for cheap masks."""
    return isinstance(getattr(sam.module, "point_head", None), PointHead)


@dataclass(frozen=True, eq=False)
class PointMasks:
    """Cheap masks of an encoded image, three a point; the image's part of the work is done once.

    >>> import segzs
    >>> segmenter = segzs.load("tiny", device="cpu", cache=False)
    >>> photo = segmenter.encode(np.zeros((48, 64, 3), np.uint8))
    >>> PointMasks(segmenter.sam, photo).at(np.array([[32.0, 24.0]])).predicted_iou.shape
    torch.Size([1, 3])
    """

    sam: SamModel
    encoded: EncodedImage

    @property
    def head(self) -> PointHead:
        """The head that answers."""
        return cast(PointHead, self.sam.module.point_head)

    @cached_property
    def features(self) -> PointFeatures:
        """The head's features of the part of the input that shows the image."""
        height, width = (-(-side // STRIDE) for side in self.encoded.input_size)
        embedding = self.encoded.read_by(self.sam)[..., :height, :width].float()
        x16, x8, _ = unpack(embedding)
        return self.head.prepare(x16, x8)

    @torch.inference_mode()
    def at(self, points: np.ndarray) -> LowResMasks:
        """Logits N 3 h w at stride 8 and predicted IoU N 3 of points N 2, in image pixels."""
        image = self.encoded.image
        inside = points * np.divide(self.encoded.input_size[::-1], (image.width, image.height))
        tensor = torch.from_numpy(inside.astype(np.float32)).to(self.sam.device)
        logits, predicted_iou = self.head(self.features, tensor[None])
        return LowResMasks(logits[0], predicted_iou[0])


class Proposals(NamedTuple):
    """Cheap masks: logits N h w at stride 8 and predicted IoU N."""

    logits: Tensor
    predicted_iou: Tensor


@torch.inference_mode()
def propose(
    sam: SamModel, encoded: EncodedImage, points: np.ndarray, predicted_iou: float, stability_score: float
) -> Proposals:
    """Masks at points N 2, in image pixels, that reach the thresholds, without duplicates, best first.

    Both thresholds are multiplied by `LENIENT`, because the decoder scores the masks again.
    """
    masks = PointMasks(sam, encoded)
    batches: list[Proposals] = []
    for start in range(0, len(points), POINTS):
        low_res = masks.at(points[start : start + POINTS])
        likely = low_res.predicted_iou >= LENIENT * predicted_iou
        logits = low_res.logits[likely]
        stable = stability_of(logits, sam.module.mask_threshold) >= LENIENT * stability_score
        batches.append(Proposals(logits[stable], low_res.predicted_iou[likely][stable]))
    logits, scores = (torch.cat(parts) for parts in zip(*batches, strict=True))
    order = scores.argsort(descending=True)[:MAX_COMPARED]
    logits, scores = logits[order], scores[order]
    kept = nms_bitmaps(logits > sam.module.mask_threshold, scores, NMS_THRESHOLD)[:MAX_PROPOSALS]
    return Proposals(logits[kept], scores[kept])


def decode_proposals(sam: SamModel, encoded: EncodedImage, proposals: Proposals) -> Iterator[LowResMasks]:
    """Decode the boxes of proposals, a few at a time: logits n 1 h w and predicted IoU n 1.

    The predicted IoU is the mean of the proposal's and the decoder's: the decoder is good at telling how well a mask
    fills a box, and the head at telling whether there is an object.
    """
    boxes = _boxes(proposals.logits > sam.module.mask_threshold, encoded)
    size = chunk(sam)
    for start in range(0, len(boxes), size):
        part = slice(start, start + size)
        low_res = decode_low_res(sam, encoded, [Prompt.box(*box) for box in boxes[part].tolist()])
        scores = (low_res.predicted_iou[:, :1] + proposals.predicted_iou[part, None]) / 2
        yield LowResMasks(low_res.logits[:, :1], scores)


def _boxes(masks: Tensor, encoded: EncodedImage) -> np.ndarray:
    """x1 y1 x2 y2 in image pixels of stride-8 masks N h w that are not empty: float (N, 4)."""
    bounds = np.empty((len(masks), 4))
    for axis, first, last in ((1, 0, 2), (2, 1, 3)):
        covered = masks.any(axis)
        bounds[:, first] = covered.int().argmax(1).cpu().numpy()
        bounds[:, last] = covered.shape[1] - covered.flip(1).int().argmax(1).cpu().numpy()
    height, width = encoded.input_size
    image = encoded.image
    scale = np.array([image.width / width, image.height / height] * 2) * POINT_STRIDE
    return np.minimum(bounds * scale, [image.width, image.height] * 2)

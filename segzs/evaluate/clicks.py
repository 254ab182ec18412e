"""Masks from simulated clicks, the usual protocol of interactive segmentation, and from boxes.

Nearly all of the time goes into the decoder: each click on each object is a prompt. So the objects of an image are
decoded together, and an object that reached the goal is not clicked again.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from segzs.masks import RLE, Mask, iou
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.encode import EncodedImage
from segzs.sam.model import SamModel
from segzs.segmenter import Segmenter

Click = tuple[int, int, bool]
"""x, y, and whether the pixel is on the object."""


def next_click(truth: np.ndarray, mask: np.ndarray, earlier: Sequence[Click] = ()) -> Click | None:
    """The next click, where the error of a mask is largest: the pixel deepest inside what is missing or too much.

    Args:
        truth: the right mask, bool (height, width).
        mask: the current mask, bool (height, width).
        earlier: clicks that are not repeated.

    Returns:
        x, y and whether the pixel is on the object; None where no error is left that was not clicked on.

    Source: Sofiiuk et al. 2021, https://arxiv.org/abs/2102.06583 (RITM), and Kirillov et al. 2023 (SAM).

    >>> truth = np.zeros((5, 9), bool)
    >>> truth[1:4, 2:7] = True
    >>> next_click(truth, np.zeros_like(truth))
    (3, 2, True)
    """
    missing, surplus = _deepest(truth & ~mask, earlier), _deepest(mask & ~truth, earlier)
    depth, x, y = max(missing, surplus, key=lambda error: error[0])
    return (x, y, depth == missing[0]) if depth else None


def _deepest(error: np.ndarray, earlier: Sequence[Click]) -> tuple[float, int, int]:
    """The pixel of an error that is farthest from its edge and the image's border: distance, x, y."""
    left, top, width, height = cv2.boundingRect(error.astype(np.uint8))
    if not width:
        return 0.0, 0, 0
    part = np.pad(error[top : top + height, left : left + width], 1).astype(np.uint8)
    depths = cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    for x, y, _ in earlier:
        if 0 <= x - left < width and 0 <= y - top < height:
            depths[y - top, x - left] = 0
    row, column = np.unravel_index(depths.argmax(), depths.shape)
    return float(depths[row, column]), left + int(column), top + int(row)


def iou_of_clicks(
    sam: SamModel,
    encoded: EncodedImage,
    truths: Sequence[RLE],
    *,
    clicks: int = 10,
    goal: float = 0.9,
    minimum: int = 5,
) -> np.ndarray:
    """The IoU of each object with its right mask after each click, float (objects, clicks).

    A prompt consists of all clicks on the object so far and the logits of its last mask. After ``minimum`` clicks, an
    object that reached the ``goal`` is not clicked again; its IoU stays for the remaining clicks.
    """
    result = np.zeros((len(truths), clicks))
    made: list[list[Click]] = [[] for _ in truths]
    masks: list[Mask | None] = [None] * len(truths)
    open_ = list(range(len(truths)))
    for step in range(clicks):
        result[:, step:] = result[:, step - 1 : step] if step else 0
        clicked = []
        for index in open_:
            truth, mask = truths[index].decode(), masks[index]
            click = next_click(truth, np.zeros_like(truth) if mask is None else mask.rle.decode(), made[index])
            if click is not None:
                made[index].append(click)
                clicked.append(index)
        if not clicked:
            break
        prompts = []
        for index in clicked:
            *points, signs = zip(*made[index], strict=True)
            last = masks[index]
            prompts.append(
                Prompt(list(zip(*points, strict=True)), signs, mask=None if last is None else last.low_res_logits)
            )
        for index, (mask,) in zip(clicked, decode(sam, encoded, prompts), strict=True):
            result[index, step] = iou([mask.rle], [truths[index]])[0, 0]
            masks[index] = mask
        open_ = [index for index in clicked if step + 1 < minimum or result[index, step] < goal]
    return result


def clicks_to(ious: np.ndarray, goal: float) -> np.ndarray:
    """The number of clicks until each object reaches an IoU, (objects,), from IoUs (objects, clicks).

    An object that does not reach it counts with all clicks.

    >>> clicks_to(np.array([[0.5, 0.9, 0.9], [0.1, 0.2, 0.3]]), 0.85)
    array([2, 3])
    """
    reached = ious >= goal
    return np.where(reached.any(1), reached.argmax(1) + 1, ious.shape[1])


def iou_of_boxes(segmenter: Segmenter, encoded: EncodedImage, truths: Sequence[RLE]) -> np.ndarray:
    """The IoU of the masks of the objects' exact boxes, float (objects,)."""
    masks = segmenter.decode(encoded, [Prompt.box(*truth.box) for truth in truths])
    return np.array([iou([mask.rle], [truth])[0, 0] for (mask,), truth in zip(masks, truths, strict=True)])

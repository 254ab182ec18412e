"""Masks from clicks where the error is largest, the field's usual protocol, and from boxes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from segzs.masks import RLE, iou
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.encode import EncodedImage
from segzs.sam.model import SamModel

Click = tuple[int, int, bool]


def next_click(truth: np.ndarray, answer: np.ndarray, earlier: Sequence[Click] = ()) -> Click | None:
    """The next click on an answer, where its error is largest: the pixel deepest inside what is missing or too much.

    Args:
        truth: the right mask, bool (height, width).
        answer: what was found so far, bool (height, width).
        earlier: clicks that are not made again.

    Returns:
        x, y and whether the pixel is on the object; None where there is no error that was not clicked on.

    Source: Sofiiuk et al. 2021, https://arxiv.org/abs/2102.06583 (RITM), and Kirillov et al. 2023 (SAM).

    >>> truth = np.zeros((5, 9), bool)
    >>> truth[1:4, 2:7] = True
    >>> next_click(truth, np.zeros_like(truth))
    (3, 2, True)
    """
    missing, surplus = _deepest(truth & ~answer, earlier), _deepest(answer & ~truth, earlier)
    depth, x, y = max(missing, surplus, key=lambda error: error[0])
    return (x, y, depth == missing[0]) if depth else None


def _deepest(error: np.ndarray, earlier: Sequence[Click]) -> tuple[float, int, int]:
    """How deep the pixel of an error is that is farthest from its edge, the picture's border being edge, and where."""
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
    sam: SamModel, photo: EncodedImage, truths: Sequence[RLE], *, clicks: int = 20, enough: float = 0.9, least: int = 5
) -> np.ndarray:
    """The IoU of each object after each click, float (objects, clicks).

    Objects of a picture are decoded together, each with all its clicks so far and the logits of its last answer. From
    click ``least`` on, an object that reached ``enough`` is left alone, and keeps its IoU.
    """
    result = np.zeros((len(truths), clicks))
    made: list[list[Click]] = [[] for _ in truths]
    answers: list[RLE | None] = [None] * len(truths)
    logits: list[np.ndarray | None] = [None] * len(truths)
    wanted = list(range(len(truths)))
    for step in range(clicks):
        result[:, step:] = result[:, step - 1 : step] if step else 0
        asked = []
        for index in wanted:
            truth = truths[index].decode()
            answer = answers[index]
            click = next_click(truth, np.zeros_like(truth) if answer is None else answer.decode(), made[index])
            if click is not None:
                made[index].append(click)
                asked.append(index)
        if not asked:
            break
        prompts = [
            Prompt([(x, y) for x, y, _ in made[i]], [sign for *_, sign in made[i]], mask=logits[i]) for i in asked
        ]
        for index, (mask,) in zip(asked, decode(sam, photo, prompts), strict=True):
            result[index, step] = iou([mask.rle], truths[index : index + 1])[0, 0]
            answers[index], logits[index] = mask.rle, mask.low_res_logits
        wanted = [index for index in asked if step + 1 < least or result[index, step] < enough]
    return result


def clicks_to(ious: np.ndarray, wanted: float) -> np.ndarray:
    """How many clicks each object took to an IoU, (objects,), from IoUs (objects, clicks); never is all of them.

    >>> clicks_to(np.array([[0.5, 0.9, 0.9], [0.1, 0.2, 0.3]]), 0.85)
    array([2, 3])
    """
    reached = ious >= wanted
    return np.where(reached.any(1), reached.argmax(1) + 1, ious.shape[1])


def iou_of_boxes(sam: SamModel, photo: EncodedImage, truths: Sequence[RLE]) -> np.ndarray:
    """The IoU of the answers to the objects' exact boxes, float (objects,)."""
    answers = decode(sam, photo, [Prompt.box(*truth.box) for truth in truths])
    return np.array([iou([mask.rle], [t])[0, 0] for (mask,), t in zip(answers, truths, strict=True)])

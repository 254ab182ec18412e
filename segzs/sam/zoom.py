"""Small boxes answered on a closer look: the part of the image around a box, encoded for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from segzs.image import Image
from segzs.masks import RLE, Box, Mask
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.encode import EncodedImage
from segzs.sam.model import SamModel
from segzs.sam.tiles import crop_image, low_res_logits

SMALL = 0.1
"""Boxes whose longer side is a smaller share of the image's are looked at closely; see `training.zoom`."""
CONTEXT = 4.0
"""The part of the image is so many times as large as the box: objects are recognised by what is around them."""
SMALLEST = 64
"""Pixels of a side of that part: fewer are mostly what the resizing makes of them."""


def decode_zoomed(
    sam: SamModel,
    encode: Callable[[Image], EncodedImage],
    encoded: EncodedImage,
    prompts: Sequence[Prompt],
    *,
    multimask: bool = False,
    small: float = SMALL,
) -> list[tuple[Mask, ...]]:
    """As `decode`, but prompts with a small box see the image around it at a higher resolution.

    Args:
        sam: the model that encoded the image.
        encode: encodes a part of the image; it runs once for each small box.
        encoded: the image.
        prompts: each asks for one object; those with an earlier mask are answered by `decode`.
        multimask: return three masks for each prompt, ranked by predicted IoU, instead of the best one.
        small: the share of the image's longer side below which the longer side of a box is small.

    Raises:
        PromptError: a prompt lies outside the image, or its mask is of another model's size.
        ModelMismatchError: another model encoded the image.
    """
    image = encoded.image
    prompts = [prompt.inside(image.width, image.height) for prompt in prompts]
    parts = [part_around(prompt, image, small) for prompt in prompts]
    whole = [prompt for prompt, part in zip(prompts, parts, strict=True) if part is None]
    answers = iter(decode(sam, encoded, whole, multimask=multimask) if whole else ())
    return [
        next(answers) if part is None else _decode_part(sam, encode, encoded, prompt, part, multimask)
        for prompt, part in zip(prompts, parts, strict=True)
    ]


def part_around(prompt: Prompt, image: Image, small: float = SMALL) -> Box | None:
    """The part of an image, x1 y1 x2 y2, on which a prompt is answered better than on the whole; None is the whole.

    >>> image = Image(np.zeros((480, 640, 3), np.uint8))
    >>> part_around(Prompt.box(300, 200, 330, 220), image)
    (255, 150, 375, 270)
    >>> part_around(Prompt.box(100, 100, 300, 300), image) is None
    True
    """
    if prompt.box is None or prompt.mask is not None:
        return None
    x1, y1, x2, y2 = prompt.box
    longest = max(x2 - x1, y2 - y1)
    side = max(CONTEXT * longest, SMALLEST)
    if longest >= small * max(image.width, image.height) or side >= max(image.width, image.height):
        return None
    left, right = _span((x1 + x2) / 2, side, image.width)
    top, bottom = _span((y1 + y2) / 2, side, image.height)
    if not all(left <= x < right and top <= y < bottom for x, y in prompt.points):
        return None
    return left, top, right, bottom


def _span(middle: float, side: float, length: int) -> tuple[int, int]:
    """Where a part of ``side`` pixels begins and ends that keeps inside ``length`` pixels."""
    side = min(round(side), length)
    start = min(max(round(middle - side / 2), 0), length - side)
    return start, start + side


def _decode_part(
    sam: SamModel,
    encode: Callable[[Image], EncodedImage],
    encoded: EncodedImage,
    prompt: Prompt,
    part: Box,
    multimask: bool,
) -> tuple[Mask, ...]:
    left, top = part[:2]
    x1, y1, x2, y2 = prompt.box or (0, 0, 0, 0)
    moved = Prompt(
        [(x - left, y - top) for x, y in prompt.points], prompt.positive, (x1 - left, y1 - top, x2 - left, y2 - top)
    )
    (masks,) = decode(sam, encode(crop_image(encoded.image, part)), [moved], multimask=multimask)
    placed = [_placed(mask.rle, part, encoded.image) for mask in masks]
    return tuple(
        replace(mask, rle=RLE.encode(pixels), low_res_logits=low_res_logits(sam, encoded, pixels))
        for mask, pixels in zip(masks, placed, strict=True)
    )


def _placed(rle: RLE, part: Box, image: Image) -> np.ndarray:
    """A mask of a part of an image as one of the whole."""
    x1, y1, x2, y2 = part
    whole = np.zeros((image.height, image.width), bool)
    whole[y1:y2, x1:x2] = rle.decode()
    return whole

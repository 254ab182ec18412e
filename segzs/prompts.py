"""Prompt: points, a box, or an earlier mask of one object."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from segzs.checks import counted, short
from segzs.errors import PromptError, PromptWarning, warn
from segzs.values import Value, read_only

Point = tuple[float, float]
Box = tuple[float, float, float, float]


class _BoxAttribute:
    """``Prompt.box(x1, y1, x2, y2)`` makes a prompt; ``prompt.box`` is the box of a prompt."""

    @overload
    def __get__(self, prompt: None, owner: type[Prompt]) -> Callable[..., Prompt]: ...
    @overload
    def __get__(self, prompt: Prompt, owner: type[Prompt]) -> Box | None: ...
    def __get__(self, prompt: Prompt | None, owner: type[Prompt]) -> Callable[..., Prompt] | Box | None:
        if prompt is None:
            return lambda *box: owner(box=box[0] if len(box) == 1 else box)
        return prompt.corners


@dataclass(frozen=True, init=False, eq=False)
class Prompt(Value):
    """A prompt for one object, in image pixels: x to the right, y down, from the upper left corner.

    Args:
        points: (x, y) pairs.
        positive: a bool for each point: True is on the object, False is not; None means all are.
        box: x1, y1, x2, y2 around the object.
        mask: the low-res logits of an earlier mask (`Segment.low_res_logits`), float (h, w), to refine it. SAM needs a
            point or a box as well.

    Raises:
        PromptError: there is no positive point, box or mask, numbers are missing or not finite, or the box is empty.

    >>> Prompt(points=[(420, 310), (10, 20)], positive=[True, False], box=(400, 300, 500, 400)).positive
    (True, False)
    >>> Prompt.box(10, 10, 90, 90) == Prompt.box([10, 10, 90, 90])
    True
    >>> Prompt.point((5, 7)).points
    ((5.0, 7.0),)
    """

    points: tuple[Point, ...]
    positive: tuple[bool, ...]
    corners: Box | None
    mask: np.ndarray | None = field(repr=False)
    box = _BoxAttribute()

    def __init__(
        self,
        points: Sequence[Sequence[float]] = (),
        positive: Sequence[bool] | None = None,
        box: Sequence[float] | None = None,
        mask: np.ndarray | None = None,
    ) -> None:
        pairs = tuple(_numbers(point, 2, "a point (x, y)") for point in _tuple(points, "points"))
        signs = (True,) * len(pairs) if positive is None else tuple(map(_sign, _tuple(positive, "signs")))
        if len(signs) != len(pairs):
            raise PromptError(f"{len(pairs)} points have {len(signs)} positive/negative signs; give one for each point")
        corners: Box | None = None
        if box is not None:
            x1, y1, x2, y2 = _numbers(box, 4, "a box (x1, y1, x2, y2)")
            if x1 >= x2 or y1 >= y2:
                raise PromptError(f"the box {(x1, y1, x2, y2)} is empty; x1 < x2 and y1 < y2 are expected")
            corners = (x1, y1, x2, y2)
        if corners is None and mask is None and not any(signs):
            raise PromptError("the prompt is empty; give a positive point, a box, or an earlier mask")
        object.__setattr__(self, "points", pairs)
        object.__setattr__(self, "positive", signs)
        object.__setattr__(self, "corners", corners)
        object.__setattr__(self, "mask", None if mask is None else _logits(mask))

    def _key(self) -> tuple[Any, ...]:
        mask = None if self.mask is None else (self.mask.shape, self.mask.tobytes())
        return self.points, self.positive, self.corners, mask

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prompt) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @classmethod
    def point(cls, *point: Any) -> Prompt:
        """A prompt with one positive point: ``Prompt.point(x, y)`` or ``Prompt.point((x, y))``."""
        return cls(points=[point[0] if len(point) == 1 else point])

    def inside(self, width: int, height: int) -> Prompt:
        """The same prompt with its box clipped to an image of width x height pixels.

        Raises:
            PromptError: a point or the whole box lies outside the image.
        """
        for x, y in self.points:
            if not (0 <= x < width and 0 <= y < height):
                raise PromptError(f"the point ({x:g}, {y:g}) is outside the image of {width}x{height} pixels")
        if self.corners is None:
            return self
        x1, y1, x2, y2 = self.corners
        cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        if cut[0] >= cut[2] or cut[1] >= cut[3]:
            raise PromptError(f"the box {self.corners} is outside the image of {width}x{height} pixels")
        return Prompt(self.points, self.positive, cut, self.mask)


def check_prompts(prompts: object) -> list[Prompt]:
    """A list of prompts from one prompt or several; raises `PromptError` for other values and for a mask alone."""
    if not isinstance(prompts, Prompt | Iterable):
        raise PromptError(f"{short(prompts)} is not a Prompt or a list of prompts")
    checked = [prompts] if isinstance(prompts, Prompt) else list(prompts)
    for prompt in checked:
        if not isinstance(prompt, Prompt):
            raise PromptError(
                f"{short(prompt)} is not a Prompt; use Prompt.point(x, y), Prompt.box(x1, y1, x2, y2) or Prompt(...)"
            )
        if not prompt.points and prompt.box is None:
            raise PromptError(
                "the prompt is a mask alone, which SAM was not trained for; add a point or a box of the same object: "
                "Prompt(box=segment.box, mask=segment.low_res_logits)"
            )
    return checked


def warn_about_units(prompts: Iterable[Prompt], width: int, height: int) -> None:
    """Warn about points and boxes that were probably given in shares of the image, and boxes smaller than a pixel."""
    for prompt in prompts:
        for x, y in prompt.points:
            if 0 < x < 1 and 0 < y < 1:
                _warn_about_shares(f"the point ({x:g}, {y:g})", f"({x * width:.0f}, {y * height:.0f})")
        if prompt.box is not None:
            x1, y1, x2, y2 = prompt.box
            if x1 >= 0 and y1 >= 0 and x2 <= 1 and y2 <= 1:
                corners = f"({x1 * width:.0f}, {y1 * height:.0f}, {x2 * width:.0f}, {y2 * height:.0f})"
                _warn_about_shares(f"the box {prompt.box}", corners)
            elif x2 - x1 < 1 or y2 - y1 < 1:
                warn(f"the box {prompt.box} is smaller than a pixel; x1, y1, x2, y2 are in pixels", PromptWarning)


def _warn_about_shares(what: str, pixels: str) -> None:
    warn(f"{what} lies in the first pixel; if it is in shares of the image, give pixels: {pixels}", PromptWarning)


def warn_about_empty(prompts: Sequence[Prompt], areas: Sequence[int]) -> None:
    """Warn if there are prompts whose masks have no pixels; ``areas`` are the pixels of the largest mask of each."""
    if empty := [prompt for prompt, area in zip(prompts, areas, strict=True) if not area]:
        warn(
            f"the mask of {counted(len(empty), 'prompt')} is empty, the first is {short(empty[0])}; add a point on the "
            "object or a box around it",
            PromptWarning,
        )


def _tuple(values: Any, what: str) -> tuple[Any, ...]:
    try:
        return tuple(values)
    except TypeError as error:
        raise PromptError(f"{short(values)} is not a list of {what}") from error


def _sign(sign: Any) -> bool:
    if sign not in (0, 1):  # True and False are equal to 1 and 0
        raise PromptError(f"the sign of a point is {short(sign)}; True (on the object) or False is expected")
    return bool(sign)


def _numbers(values: Sequence[float], count: int, what: str) -> tuple[Any, ...]:
    _check_unmasked(values, what)
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError) as error:
        raise PromptError(f"{short(values)} is not {what}") from error
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise PromptError(f"{short(values)} is not {what}: {count} finite numbers are expected")
    return numbers


def _logits(mask: np.ndarray) -> np.ndarray:
    expected = "give low-res logits, float (h, w)"
    _check_unmasked(mask, "low-res logits")
    try:
        logits = np.asarray(mask, np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"the prompt's mask is not an array of numbers ({error}); {expected}") from error
    if logits.ndim != 2 or not np.isfinite(logits).all():
        raise PromptError(f"the prompt's mask has shape {logits.shape} or is not finite; {expected}")
    return read_only(logits)


def _check_unmasked(values: Any, what: str) -> None:
    if np.ma.is_masked(values):
        raise PromptError(f"some numbers of {what} are masked; give numbers")

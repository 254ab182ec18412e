"""Check numbers that callers give, and write numbers in messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from segzs.errors import SegzsError

MAX_TEXT = 100


def check_number(
    name: str,
    value: Any,
    expected: str,
    low: float,
    high: float = float("inf"),
    *,
    whole: bool = False,
    error: type[SegzsError] = SegzsError,
) -> None:
    """Raise ``error`` unless ``value`` is a number from ``low`` to ``high``, and an integer if ``whole``.

    >>> check_number("margin", "wide", "a number such as 0.1", 0, 10)
    Traceback (most recent call last):
    segzs.errors.SegzsError: margin is 'wide'; a number such as 0.1 is expected
    """
    numeric = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if not (numeric and low <= value <= high):
        raise error(f"{name} is {short(value)}; {expected} is expected")


def short(value: object) -> str:
    """A value as Python writes it, on one line of at most 100 characters.

    >>> short("a" * 200)[-5:], short([1, 2])
    ('aa...', '[1, 2]')
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun, in the singular or plural.

    >>> counted(1, "image"), counted(2, "entry", "entries")
    ('1 image', '2 entries')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def clean_texts(values: Any, what: str, *, error: type[SegzsError] = SegzsError) -> tuple[str, ...]:
    """A tuple of texts with single spaces; one text stands for a tuple of one, and raises ``error`` for other values.

    >>> clean_texts([" coffee  mug "], "labels"), clean_texts("cat", "labels")
    (('coffee mug',), ('cat',))
    """
    if isinstance(values, str):
        values = (values,)
    if isinstance(values, bytes | Mapping) or not isinstance(values, Iterable):
        raise error(f"the {what} are {short(values)}; a list of words or sentences is expected")
    values = tuple(values)
    for value in values:
        if not isinstance(value, str) or not value.strip():
            raise error(f"{short(value)} is among the {what}; words or a sentence are expected")
    return tuple(" ".join(value.split()) for value in values)

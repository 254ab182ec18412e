"""Numbers that callers give: of the right kind, and in range; and numbers in what is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from segzs.errors import SegzsError


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
    """Raise ``error`` unless ``value`` is a number, a whole one where asked, from ``low`` to ``high``.

    >>> check_number("margin", "wide", "a share such as 0.1", 0, 10)
    Traceback (most recent call last):
    segzs.errors.SegzsError: margin is 'wide'; a share such as 0.1 is expected
    """
    numeric = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if not (numeric and low <= value <= high):
        raise error(f"{name} is {value!r}; {expected} is expected")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and what it counts.

    >>> counted(1, "picture"), counted(2, "entry", "entries")
    ('1 picture', '2 entries')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def clean_texts(values: Any, what: str, *, error: type[SegzsError] = SegzsError) -> tuple[str, ...]:
    """A tuple of texts with single spaces; one text stands for a tuple of one.

    Raises:
        SegzsError: ``error``, if a value is not a text or is empty; ``what`` says what the values are.

    >>> clean_texts([" coffee  mug "], "labels"), clean_texts("cat", "labels")
    (('coffee mug',), ('cat',))
    """
    if isinstance(values, str):
        values = (values,)
    if isinstance(values, bytes | Mapping) or not isinstance(values, Iterable):
        raise error(f"the {what} are {values!r}; a list of words or sentences is expected")
    values = tuple(values)
    for value in values:
        if not isinstance(value, str) or not value.strip():
            raise error(f"{value!r} is among the {what}; words or a sentence are expected")
    return tuple(" ".join(value.split()) for value in values)

"""Mutations of files: at random bytes, and at random values of JSON; and what a refusal must be."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

MAX_MESSAGE = 1500
HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 0.5, -0.0, 7.0, 10**6, 2**31, 2**63, 10**400, 1e308, float("nan"), float("inf")),
    *("", " ", "7", "\x00", "\ud800", "../../etc/passwd", "x" * 10_000, "0" * 5_000, "é☃", "unknown"),
    *([], {}, [[]], [None], {"": None}, [1e9] * 6, [[0] * 7], [2**62] * 4),
)


def mutated_bytes(data: bytes, chance: Random) -> bytes:
    """The data with one to three faults: flipped bits, a cut end, a part that is missing, doubled, zero or noise."""
    for _ in range(chance.randint(1, 3)):
        if not data:
            return data
        start = chance.randrange(len(data))
        stop = min(len(data), start + chance.choice((1, 4, 64, len(data))))
        noise = {"zero": bytes(stop - start), "noise": chance.randbytes(stop - start)}
        match chance.choice(("flip", "flip", "flip", "end", "cut", "double", "zero", "noise")):
            case "flip":
                flipped = bytearray(data)
                for _ in range(chance.randint(1, 8)):
                    flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                data = bytes(flipped)
            case "end":
                data = data[:start]
            case "cut":
                data = data[:start] + data[stop:]
            case "double":
                data = data[:stop] + data[start:]
            case kind:
                data = data[:start] + noise[kind] + data[stop:]
    return data


def mutated_json(content: Any, chance: Random) -> Any:
    """A copy of plain values in which one to three are missing, repeated or replaced by hostile ones."""
    content = copy.deepcopy(content)
    for _ in range(chance.randint(1, 3)):
        entries = list(_entries(content))
        if not entries:
            return content
        inside, key = chance.choice(entries)
        match chance.choice(("replace", "replace", "drop", "repeat", "nest")):
            case "drop":
                del inside[key]
            case "repeat" if isinstance(inside, list):
                inside += [copy.deepcopy(inside[key])] * chance.choice((1, 50))
            case "nest":
                for _ in range(chance.choice((1, 30))):
                    inside[key] = [inside[key]]
            case _:
                inside[key] = copy.deepcopy(chance.choice(HOSTILE))
    return content


def refusal(what: str, error: Exception, is_valid: bool) -> str:
    """The outcome of a file that was refused; raises `AssertionError` if it is valid or the message is unclear."""
    assert not is_valid, f"{what} is refused: {error}"
    assert 10 < len(str(error)) < MAX_MESSAGE, f"{what}: a message of {len(str(error))} characters"
    assert "MemoryError" not in str(error), f"{what}: too much memory"
    return f"{what}: refused"


def _entries(content: Any) -> Any:
    """Each container with each of its keys."""
    keys = content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from _entries(content[key])

"""Griffe extension: show the doctests of docstrings as blocks of code."""

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^(>>> .*(?:\n(?!\s*$).*)*)", re.M)


class FenceDoctests(griffe.Extension):
    """Put each paragraph that starts with ``>>>`` into a fence."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = DOCTEST.sub(r"```pycon\n\1\n```", obj.docstring.value)

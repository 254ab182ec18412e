"""Configurations to compare: YAML files that hold `segzs.load`'s options."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from segzs.clip.regions import Naming
from segzs.errors import SegzsError, UsageError
from segzs.loading import load

NAMING = tuple(Naming.__dataclass_fields__)
OPTIONS = (*(name for name in inspect.signature(load).parameters if name != "naming"), *NAMING)


def read_options(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a YAML file says of `segzs.load`'s arguments, under their names.

    Raises:
        UsageError: the file says something else.
        SegzsError: it cannot be read.
    """
    try:
        known = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SegzsError(f"the options cannot be read from {path}: {error}") from error
    if known is None:
        return {}
    if not isinstance(known, Mapping):
        raise UsageError(f"{path} holds no options; lines such as 'background: grey' are expected")
    if strange := [str(key) for key in known if key not in OPTIONS]:
        raise UsageError(f"{path}: {', '.join(map(repr, strange))} is no option; there are {', '.join(OPTIONS)}")
    naming = Naming(**{name: known[name] for name in NAMING if name in known})
    return {**{name: value for name, value in known.items() if name not in NAMING}, "naming": naming}

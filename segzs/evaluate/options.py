"""Configurations to compare: YAML files with arguments of `segzs.load`, those of `Naming` among them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from segzs.clip.regions import Naming
from segzs.errors import SegzsError, UsageError
from segzs.loading import load

NAMING = tuple(field.name for field in fields(Naming))
OPTIONS = (*(name for name in inspect.signature(load).parameters if name != "naming"), *NAMING)


def read_options(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arguments of `segzs.load` in a YAML file with lines such as ``model: vit_b`` and ``background: grey``.

    Raises:
        UsageError: an option is unknown.
        SegzsError: the file cannot be read.
    """
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SegzsError(f"the options cannot be read from {path}: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise UsageError(f"{path} has no options; lines such as 'background: grey' are expected")
    if unknown := [str(key) for key in content if key not in OPTIONS]:
        raise UsageError(f"{path}: unknown option {', '.join(map(repr, unknown))}; choose from {', '.join(OPTIONS)}")
    naming = {name: content[name] for name in NAMING if name in content}
    return {**{name: value for name, value in content.items() if name not in NAMING}, "naming": Naming(**naming)}

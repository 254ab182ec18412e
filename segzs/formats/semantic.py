"""Semantic maps: an indexed PNG whose values are the numbers of labels, the labels as JSON, and the overlay."""

from __future__ import annotations

import json
from pathlib import Path

from segzs.errors import OutputError
from segzs.files import atomic_write
from segzs.postprocess.maps import SemanticMap

SUFFIXES = (".map.png", ".map.json", ".overlay.png")


def write(semantic: SemanticMap, path: Path) -> None:
    """Write one of the three, depending on the suffix.

    Raises:
        OutputError: the suffix is none of `SUFFIXES`.
    """
    name = path.name.lower()
    if name.endswith(".map.json"):
        with atomic_write(path) as file:
            json.dump(semantic.to_dict(), file, indent=1, ensure_ascii=False)
    elif name.endswith((".map.png", ".overlay.png")):
        with atomic_write(path, "wb") as file:
            image = semantic.indexed() if name.endswith(".map.png") else semantic.overlay()
            image.save(file, "PNG")
    else:
        raise OutputError(f"{path}: the suffix of a map must be {', '.join(SUFFIXES)}")

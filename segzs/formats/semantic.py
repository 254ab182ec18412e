"""Semantic maps: an indexed PNG whose values are the numbers of labels, what they mean as JSON, and the overlay."""

from __future__ import annotations

import json
from pathlib import Path

from segzs.errors import OutputError
from segzs.formats.files import atomic_write
from segzs.postprocess.maps import SemanticMap

ENDINGS = (".map.png", ".map.json", ".overlay.png")


def write(semantic: SemanticMap, path: Path) -> None:
    """Write the file; its ending says which of the three.

    Raises:
        OutputError: it has none of `ENDINGS`.
    """
    name = path.name.lower()
    if name.endswith(".map.json"):
        with atomic_write(path) as file:
            json.dump(semantic.to_dict(), file, indent=1, ensure_ascii=False)
    elif name.endswith((".map.png", ".overlay.png")):
        with atomic_write(path, "wb") as file:
            picture = semantic.indexed() if name.endswith(".map.png") else semantic.overlay()
            picture.save(file, "PNG")
    else:
        raise OutputError(f"{path}: the ending of a map must be {', '.join(ENDINGS)}")

"""Files that other tools read: one small module each, and `save`, which picks one by the file's name."""

from __future__ import annotations

import os
from pathlib import Path

from segzs.errors import OutputError
from segzs.outputs import coco
from segzs.segments import Segments


def save(segments: Segments, file: str | os.PathLike[str], *, image_name: str | None = None) -> Path:
    """Write segments to a file whose ending says how.

    ``.coco.json`` is a COCO instance file, ``.json`` segzs' own, ``.txt`` the table; ``.png``, ``.jpg``, ``.jpeg``
    and ``.webp`` are the overlay. Folders are made. ``image_name`` is the file name that a COCO file states.

    Raises:
        OutputError: the ending means nothing, or the file cannot be written.
    """
    path = Path(file)
    name = path.name.lower()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".coco.json"):
            path.write_text(coco.dumps(segments, image_name or path.name[: -len(".coco.json")] + ".png"), "utf-8")
        elif name.endswith(".json"):
            path.write_text(segments.to_json(), "utf-8")
        elif name.endswith(".txt"):
            path.write_text(segments.table() + "\n", "utf-8")
        elif name.endswith((".png", ".jpg", ".jpeg", ".webp")):
            segments.overlay().save(path)
        else:
            raise OutputError(f"{path}: the ending must be .coco.json, .json, .txt, .png, .jpg or .webp")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    return path

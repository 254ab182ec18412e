"""Files that other tools read: one small module each, and `save`, which picks one by the file's name."""

from __future__ import annotations

import os
from pathlib import Path

from segzs.errors import OutputError
from segzs.outputs import coco
from segzs.segments import Segments

TEXTS = (".json", ".txt")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def save(segments: Segments, file: str | os.PathLike[str], *, image_name: str | None = None) -> Path:
    """Write segments to a file whose ending says how.

    ``.coco.json`` is a COCO instance file, ``.json`` segzs' own, ``.txt`` the table; ``.png``, ``.jpg``, ``.jpeg``
    and ``.webp`` are the overlay. Folders are made. ``image_name`` is the file name that a COCO file states; left
    out, it is that of ``file`` with the ending ``.png``.

    Raises:
        OutputError: the ending means nothing, or the file cannot be written.
    """
    if not isinstance(segments, Segments):
        raise OutputError(f"{type(segments).__name__} cannot be saved alone; segment(photo, [prompt]) gives Segments")
    path = Path(file)
    name = path.name.lower()
    if not name.endswith((*TEXTS, *PICTURES)):
        raise OutputError(f"{path}: the ending must be .coco.json, {', '.join((*TEXTS, *PICTURES))}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(PICTURES):
            segments.overlay().save(path)
        elif name.endswith(".coco.json"):
            _write(path, coco.dumps(segments, image_name or path.name[: -len(".coco.json")] + ".png"))
        elif name.endswith(".json"):
            _write(path, segments.to_json())
        else:
            _write(path, segments.table() + "\n")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", errors="backslashreplace")  # file names that are no UTF-8 become JSON's escapes

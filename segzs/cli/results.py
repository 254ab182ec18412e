"""Print and write the result of an image, for ``segzs label`` and ``segzs find``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from segzs.cli.terminal import message, print_line

if TYPE_CHECKING:
    from segzs.postprocess.maps import SemanticMap
    from segzs.segments import Segments

ENDINGS = ("overlay.png", "segzs.json", "coco.json")
MAP_ENDINGS = ("map.overlay.png", "map.png", "map.json")


def output_files(
    out: str, images: Sequence[str], endings: Iterable[str], inputs: Iterable[str | None]
) -> list[list[Path]]:
    """The files that are written for each image; makes the folder.

    Images of the same stem (a/1.jpg, b/1.jpg) get numbers, in the order of ``images``.

    Raises:
        UsageError: a file would overwrite one of ``images`` or ``inputs``.
        OutputError: the folder cannot be made.
    """
    from segzs.files import check_apart, make_folder

    stems: list[str] = []
    for image in images:
        stem = Path(image).stem
        used = {earlier.casefold() for earlier in stems}  # some file systems ignore case
        candidates = chain([stem], (f"{stem}-{number}" for number in count(2)))
        stems.append(next(candidate for candidate in candidates if candidate.casefold() not in used))
    files = [[Path(out) / f"{stem}.{ending}" for ending in endings] for stem in stems]
    check_apart(chain.from_iterable(files), [Path(file) for file in (*images, *inputs) if file])
    make_folder(Path(out))
    return files


def report(
    result: Segments | SemanticMap,
    image: str,
    files: Sequence[Path],
    *,
    as_json: bool,
    title: bool = False,
    quiet: bool = False,
) -> None:
    """Write a result to each of these files, and print it as a line of JSON or as a table.

    It is printed although a file could not be written. Where there are files, a closed stdout is no error.
    """
    from segzs.formats import save

    try:
        for file in files:
            save(result, file, image_name=Path(image).name)
            message(f"{image}: wrote {file}", quiet=quiet)
    finally:
        print_line(_text(result, image, as_json, title), keep_going=bool(files))


def _text(result: Segments | SemanticMap, image: str, as_json: bool, title: bool) -> str:
    if as_json:
        return json.dumps({"file": image, **result.to_dict()})
    table = result.table()
    return (f"{image}\n" if title else "") + (table if "\n" in table else "no objects found")

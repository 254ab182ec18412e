"""Files that other tools read and write: a small module a format, one table of them, and `read`, `write` and `save`."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segzs.errors import AnnotationError, OutputError, UsageError, warn
from segzs.formats import coco, cvat, label_studio, labelme, native, panoptic, parquet, semantic, voc, yolo
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.files import FormatWarning, atomic_write, load_json, reading
from segzs.postprocess.maps import SemanticMap
from segzs.segments import Segments

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Format:
    """A format: ``write(annotated, destination, **options)`` makes a file, or a folder, ``read(path)`` reads it.

    ``ending`` is how names of such files, or by custom of such folders, end. ``loses`` is what it has no room for.
    """

    name: str
    write: Callable[..., None]
    ending: str
    read: Callable[[Path], Iterator[ImageAnnotations]] | None = None
    folder: bool = False
    loses: str = ""

    @property
    def options(self) -> list[str]:
        """The names of what `write` may be told besides."""
        return [name for name, of in inspect.signature(self.write).parameters.items() if of.kind is of.KEYWORD_ONLY]


SCORES = "scores, runner-up names and models"
FORMATS = {
    known.name: known
    for known in (
        Format("segzs", native.write, ".jsonl", native.read),
        Format("coco", coco.write, ".coco.json", coco.read),
        Format(
            "coco-results", coco.write_results, ".coco-results.json", loses="file names, labels and runner-up names"
        ),
        Format(
            "coco-panoptic", panoptic.write, ".panoptic", folder=True, loses=f"{SCORES}, and what smaller masks hide"
        ),
        Format("yolo", yolo.write, ".yolo", folder=True, loses=f"{SCORES}, and that several parts are one object"),
        Format("labelme", labelme.write, ".labelme", labelme.read, folder=True),
        Format("label-studio", label_studio.write, ".label-studio", folder=True),
        Format("cvat", cvat.write, ".cvat.xml", loses="runner-up names, SAM's scores and models"),
        Format("voc", voc.write, ".voc", folder=True, loses=f"{SCORES}, and what smaller masks hide"),
        Format("parquet", parquet.write, ".parquet", parquet.read),
    )
}


def find_format(name: str) -> Format:
    """The format of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in FORMATS:
        raise UsageError(f"the format {name!r} is unknown; {', '.join(FORMATS)} are known")
    return FORMATS[name]


def write(
    annotated: Iterable[ImageAnnotations], destination: str | os.PathLike[str], format: str, **options: Any
) -> Path:
    """Write annotated images, one after the other as they come, in the format of that name.

    Files and folders are made, and replaced where they are there. The module of the format says which ``options`` it
    takes: of several, ``categories`` (labels in the order of their ids), ``base`` (the first id), ``polygons``.

    >>> from tempfile import mkdtemp
    >>> nothing_found = ImageAnnotations("desk.png", 768, 576)
    >>> [one.file for one in read(write([nothing_found], mkdtemp() + "/all.coco.json", "coco"))]
    ['desk.png']

    Raises:
        UsageError: there is no such format or option, or the file's ending is not that of the format.
        OutputError: it cannot be written.

    Warns:
        FormatWarning: the format has no room for something.
    """
    known, path = find_format(format), Path(destination)
    if strange := [name for name in options if name not in known.options]:
        takes = ", ".join(known.options) or "no options"
        raise UsageError(f"{format} does not take {', '.join(strange)}; it takes {takes}")
    if not known.folder and not path.name.lower().endswith(suffix := f".{known.ending.rpartition('.')[2]}"):
        raise UsageError(f"{path}: the name of a file of {format} ends with {suffix}")
    if known.folder and path.is_file():
        raise OutputError(f"{path} is a file; {format} writes a folder")
    if known.loses:
        warn(f"{format} has no room for {known.loses}", FormatWarning)
    try:
        known.write(annotated, path, **options)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def read(path: str | os.PathLike[str], format: str | None = None) -> Iterator[ImageAnnotations]:
    """Read annotated images, one after the other: segzs' own files, COCO instances, labelme's files, Parquet.

    Left out, ``format`` is found out from the name and what is inside. A folder is one of labelme's files, or of
    those that ``segzs label --out`` wrote, on a cluster or not.

    Raises:
        AnnotationError: it is none of these, or damaged; says where and what is missing.
        UsageError: there is no such format.
    """
    place = Path(path)
    reader = find_format(format or _sniffed(place)).read
    if reader is None:
        readable = ", ".join(known.name for known in FORMATS.values() if known.read)
        raise AnnotationError(f"{place}: {format} is written only; {readable} are read as well")
    return reader(place)


def save(
    segments: Segments | SemanticMap,
    file: str | os.PathLike[str],
    *,
    image_name: str | None = None,
    format: str | None = None,
    **options: Any,
) -> Path:
    """Write the segments of one image to a file whose ending says how, or in a `format`.

    ``.json`` is segzs' own, ``.txt`` the table; ``.png``, ``.jpg``, ``.jpeg`` and ``.webp`` are the overlay;
    ``.coco.json``, ``.coco-results.json``, ``.cvat.xml``, ``.jsonl`` and ``.parquet`` are formats. Other formats are
    folders, and want ``format``: "coco-panoptic", "yolo", "labelme", "label-studio" or "voc". Folders are made.
    ``image_name`` is the file name that is stated of the picture; left out, it is that of ``file`` with the ending
    ``.png``. `segzs.formats.write` writes many images together, and tells of ``options``.

    A `SemanticMap` goes to ``.map.png``, whose values are the numbers of labels, ``.map.json``, which says what they
    mean, or ``.overlay.png``.

    Raises:
        UsageError: the ending is not that of ``format``.
        OutputError: the ending means nothing, or the file cannot be written.
    """
    if isinstance(segments, SemanticMap):
        return _saved_map(segments, Path(file))
    if not isinstance(segments, Segments):
        raise OutputError(f"{type(segments).__name__} cannot be saved alone; segment(photo, [prompt]) gives Segments")
    path = Path(file)
    name = path.name.lower()
    files = {known.ending: known.name for known in FORMATS.values() if not known.folder}
    ending = next((ending for ending in (*files, ".json", ".txt", *PICTURES) if name.endswith(ending)), "")
    format = format or files.get(ending)
    if format is None and not ending:
        raise OutputError(f"{path}: the ending must be {', '.join((*files, '.json', '.txt', *PICTURES))}")
    if name == ending:
        raise OutputError(f"{path} is an ending without a name")
    if format and find_format(format).folder and not image_name:
        raise OutputError(f"files of {format} are named after the picture; say its name: image_name='photo.jpg'")
    if format:
        stated = image_name or path.name[: len(name) - len(ending)] + ".png"
        return write([ImageAnnotations.of(segments, stated)], path, format, **options)
    if options:
        raise OutputError(f"{ending} takes no options, not {', '.join(options)}")
    try:
        if ending in PICTURES:
            path.parent.mkdir(parents=True, exist_ok=True)
            segments.overlay().save(path)
        else:
            with atomic_write(path) as text:
                text.write(_text(segments, ending, image_name))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _saved_map(of_pixels: SemanticMap, path: Path) -> Path:
    try:
        semantic.write(of_pixels, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _text(segments: Segments, ending: str, image_name: str | None) -> str:
    if ending == ".txt":
        return segments.table() + "\n"
    known = {"file": image_name} if image_name else {}
    return json.dumps(known | segments.to_dict(), indent=1, ensure_ascii=False)


def _sniffed(path: Path) -> str:
    """The name of the format that a file or folder seems to be of."""
    what = "a COCO instance file, a file of labelme or segzs, or Parquet"
    if path.is_dir():
        if any((path / "segments").glob("*.parquet")):
            return "parquet"
        ours = (path / "segments.jsonl").is_file() or any(path.rglob("*.segzs.json"))
        if not ours and not any(path.rglob("*.json")):
            raise AnnotationError(f"the folder {path} has no .json file inside; {what} is expected")
        return "segzs" if ours else "labelme"
    for ending, name in {".jsonl": "segzs", ".parquet": "parquet"}.items():
        if path.name.lower().endswith(ending):
            return name
    with reading(path, what):
        known = load_json(path)
        for key, name in {"annotations": "coco", "shapes": "labelme", "format": "segzs"}.items():
            if isinstance(known, dict) and key in known:
                return name
        raise ValueError("it has neither annotations nor shapes nor a format")

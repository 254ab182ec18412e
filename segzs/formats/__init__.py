"""Files that other tools read and write: a small module a format, one table of them, and `read`, `write` and `save`."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from segzs.errors import AnnotationError, FormatWarning, OutputError, UsageError, warn
from segzs.files import atomic_write
from segzs.formats import coco, cvat, label_studio, labelme, native, panoptic, parquet, voc, yolo
from segzs.formats.annotations import Digests, ImageAnnotations
from segzs.formats.files import load_json, reading
from segzs.postprocess.maps import SemanticMap
from segzs.segments import Segments

__all__ = ["FORMATS", "IMAGE_SUFFIXES", "Digests", "Format", "ImageAnnotations", "find_format", "read", "save", "write"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Format:
    """A format: ``write(annotations, destination, **options)`` makes a file or a folder, ``read(path)`` reads it.

    ``suffix`` ends the names of such files, or by custom of such folders. ``loses`` is what the format cannot hold.
    """

    name: str
    write: Callable[..., None]
    suffix: str
    read: Callable[[Path], Iterator[ImageAnnotations]] | None = None
    folder: bool = False
    loses: str = ""

    @property
    def options(self) -> list[str]:
        """The names of the options of `write`."""
        parameters = inspect.signature(self.write).parameters.items()
        return [name for name, parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


SCORES = "scores, runner-up names and models"
_ALL = (
    Format("segzs", native.write, ".jsonl", native.read),
    Format("coco", coco.write, ".coco.json", coco.read),
    Format("coco-panoptic", panoptic.write, ".panoptic", folder=True, loses=f"{SCORES}, and what smaller masks hide"),
    Format("yolo", yolo.write, ".yolo", folder=True, loses=f"{SCORES}, and that several parts are one object"),
    Format("labelme", labelme.write, ".labelme", labelme.read, folder=True),
    Format("label-studio", label_studio.write, ".label-studio", folder=True),
    Format("cvat", cvat.write, ".cvat.xml", loses="runner-up names, mask scores and models"),
    Format("voc", voc.write, ".voc", folder=True, loses=f"{SCORES}, and what smaller masks hide"),
    Format("parquet", parquet.write, ".parquet", parquet.read),
)
FORMATS = {one.name: one for one in _ALL}


def find_format(name: str) -> Format:
    """The format of a name; raises `UsageError` for an unknown one."""
    if name not in FORMATS:
        raise UsageError(f"unknown format {name!r}; choose from {', '.join(FORMATS)}")
    return FORMATS[name]


def write(
    annotations: Iterable[ImageAnnotations], destination: str | os.PathLike[str], format: str, **options: Any
) -> Path:
    """Write annotated images one after the other, as they come, and return the file or folder.

    Missing folders are created, existing files are replaced.

    Args:
        annotations: the images.
        destination: the file or folder; a file must have the suffix of the format.
        format: the name of the format, as "coco".
        **options: those of the format's module; several take ``categories`` (labels in the order of their ids),
            ``base`` (the first id) and ``polygons``.

    Raises:
        UsageError: the format or an option is unknown, or the suffix is not that of the format.
        OutputError: the file or folder cannot be written.

    Warns:
        FormatWarning: the format cannot hold something.

    >>> from tempfile import mkdtemp
    >>> empty = ImageAnnotations("desk.png", 768, 576)
    >>> [one.file for one in read(write([empty], mkdtemp() + "/all.coco.json", "coco"))]
    ['desk.png']
    """
    chosen, path = find_format(format), Path(destination)
    if unknown := [name for name in options if name not in chosen.options]:
        raise UsageError(
            f"unknown option {', '.join(unknown)} of {format}; choose from {', '.join(chosen.options) or 'none'}"
        )
    if not chosen.folder and not path.name.lower().endswith(suffix := f".{chosen.suffix.rpartition('.')[2]}"):
        raise UsageError(f"{path}: the name of a {format} file ends with {suffix}")
    if chosen.folder and path.is_file():
        raise OutputError(f"{path} is a file; {format} writes a folder")
    if chosen.loses:
        warn(f"{format} cannot hold {chosen.loses}", FormatWarning)
    with _writing(path):
        chosen.write(annotations, path, **options)
    return path


def read(path: str | os.PathLike[str], format: str | None = None) -> Iterator[ImageAnnotations]:
    """Read annotated images one after the other: segzs/1, COCO instances, labelme or Parquet.

    A row of a COCO or labelme file that cannot be used is left out with a warning, and so is a bad file of a folder. A
    damaged file that segzs wrote is an error.

    Args:
        path: a file; or a folder of labelme files, or one that ``segzs label --out`` wrote, on a cluster or not.
        format: the name of the format; None recognises it by the name and the content.

    Raises:
        AnnotationError: the format is not recognised, or the file is damaged; says where and what is missing.
        UsageError: the format is unknown.

    Warns:
        FormatWarning: something is left out; names the file, the ids and why.
    """
    path = Path(path)
    reader = find_format(format or _format_of(path)).read
    if reader is None:
        readable = ", ".join(name for name, one in FORMATS.items() if one.read)
        raise AnnotationError(f"{path}: segzs cannot read {format}; choose from {readable}")
    return reader(path)


def save(
    segments: Segments | SemanticMap,
    file: str | os.PathLike[str],
    *,
    image_name: str | None = None,
    format: str | None = None,
    **options: Any,
) -> Path:
    """Write the segments of one image, or a map, and return the file or folder.

    Args:
        segments: the segments, or a `SemanticMap`.
        file: the suffix determines what is written. ``.json`` is segzs/1, ``.txt`` the table, ``.png``, ``.jpg``,
            ``.jpeg`` and ``.webp`` are the overlay, ``.coco.json``, ``.cvat.xml``, ``.jsonl`` and ``.parquet`` are
            formats. A map is written to ``.map.png``, whose values are the numbers of labels, ``.map.json``, which has
            the labels, or ``.overlay.png``. Missing folders are created.
        image_name: the file name of the image; None is the name of ``file`` with the suffix ``.png``.
        format: a format instead of what the suffix determines. "coco-panoptic", "yolo", "labelme", "label-studio" and
            "voc" are folders.
        **options: those of `write`.

    Raises:
        UsageError: the suffix is not that of ``format``.
        OutputError: the suffix is unknown, or the file cannot be written.
    """
    path = Path(file)
    if isinstance(segments, SemanticMap):
        with _writing(path):
            _save_map(segments, path)
        return path
    if not isinstance(segments, Segments):
        raise OutputError(f"{type(segments).__name__} cannot be saved alone; segment(photo, [prompt]) gives Segments")
    name = path.name.lower()
    formats = {one.suffix: one.name for one in FORMATS.values() if not one.folder}
    suffixes = (*formats, ".json", ".txt", *IMAGE_SUFFIXES)
    suffix = next((suffix for suffix in suffixes if name.endswith(suffix)), "")
    format = format or formats.get(suffix)
    if format is None and not suffix:
        raise OutputError(f"{path}: the suffix is unknown; choose from {', '.join(suffixes)}")
    if name == suffix:
        raise OutputError(f"{path} has no name before the suffix")
    if format and find_format(format).folder and not image_name:
        raise OutputError(f"{format} files are named after the image; give its name: image_name='photo.jpg'")
    annotations = ImageAnnotations.of(segments, image_name or path.name[: len(name) - len(suffix)] + ".png")
    if format:
        return write([annotations], path, format, **options)
    if options:
        raise OutputError(f"unknown option {', '.join(options)} of {suffix}; choose from none")
    with _writing(path):
        if suffix in IMAGE_SUFFIXES:
            with atomic_write(path, "wb") as image:
                segments.overlay().save(image, PIL.Image.registered_extensions()[suffix])
            return path
        with atomic_write(path) as text:
            if suffix == ".txt":
                text.write(segments.table() + "\n")
            else:
                json.dump(native.to_dict(annotations), text, indent=1, ensure_ascii=False)
    return path


def _save_map(semantic: SemanticMap, path: Path) -> None:
    """Write an indexed PNG whose values are the numbers of labels, the labels as JSON, or the overlay."""
    name = path.name.lower()
    if name.endswith(".map.json"):
        with atomic_write(path) as file:
            json.dump(semantic.to_dict(), file, indent=1, ensure_ascii=False)
    elif name.endswith((".map.png", ".overlay.png")):
        with atomic_write(path, "wb") as file:
            (semantic.indexed() if name.endswith(".map.png") else semantic.overlay()).save(file, "PNG")
    else:
        raise OutputError(f"{path}: the suffix of a map must be .map.png, .map.json, .overlay.png")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _format_of(path: Path) -> str:
    """The name of the format that a file or folder seems to have."""
    expected = "a COCO instance file, a labelme or segzs file, or Parquet"
    if path.is_dir():
        if any((path / "segments").glob("*.parquet")):
            return "parquet"
        native_files = (path / "segments.jsonl").is_file() or any(path.rglob("*.segzs.json"))
        if not native_files and not any(path.rglob("*.json")):
            raise AnnotationError(f"the folder {path} has no .json file; {expected} is expected")
        return "segzs" if native_files else "labelme"
    for suffix, name in {".jsonl": "segzs", ".parquet": "parquet"}.items():
        if path.name.lower().endswith(suffix):
            return name
    with reading(path, expected):
        content = load_json(path)
        for key, name in {"annotations": "coco", "shapes": "labelme", "format": "segzs"}.items():
            if isinstance(content, dict) and key in content:
                return name
        raise ValueError("it has neither annotations nor shapes nor a format")

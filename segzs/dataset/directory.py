"""Label a directory: records, failures, one COCO file and overlays; a run that was stopped is resumed.

The output folder holds:

- ``segzs-run.json``: the settings, written first;
- ``segments.jsonl``: one record per line, appended image by image; see `segzs.formats.native`;
- ``failures.jsonl``: the images that failed in the latest run, with path and reason;
- ``annotations.json``: COCO, written at the end;
- ``overlays/``: drawings of the segments, on request.

The same images and settings give byte-identical files, however often the run was interrupted.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Generator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path, PurePosixPath

from segzs.checks import check_number
from segzs.dataset.journal import Journal, write_all
from segzs.dataset.listing import OVERLAYS, RUN_FILE, ImageList, list_images
from segzs.dataset.pipeline import Failure, ImageLabeller, label_files
from segzs.dataset.run import check_run, lock_folder
from segzs.dataset.storage import check_size, output_errors
from segzs.errors import ImageError, UsageError
from segzs.files import atomic_write, leftovers
from segzs.formats import coco
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.native import read_lines
from segzs.image import Image, read_image

THREADS = 4
RESULTS = ("segments.jsonl", "failures.jsonl", "annotations.json")
LONGEST_NAME = 50


def label_directory(
    labeller: ImageLabeller,
    images: ImageList | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overlays: bool = False,
    threads: int = THREADS,
) -> Generator[ImageAnnotations | Failure, None, None]:
    """Label all images of a directory; yields a result per image, in the order of paths.

    Results that ``out`` already holds for the same content and settings are reused, so the same call resumes a run
    that was stopped at any point. ``annotations.json`` is written after the last image.

    Args:
        labeller: models and settings: `Labeller.of(segmenter)`.
        images: a directory, or the result of `list_images`.
        out: the folder for results; made if it does not exist.
        overlays: draw the segments of each image into ``out/overlays``.
        threads: the number of images that are read, decoded and resized ahead.

    Raises:
        ImageError: the directory holds no image.
        SegzsError: ``threads`` is less than 1.
        UsageError: ``out`` is the directory itself, holds results of another directory or other settings, or holds
            files of these names that no run wrote.
        OutputError: another run is writing to ``out``, or it cannot be written.

    >>> from segzs.dataset.labeller import Labeller
    >>> for result in label_directory(Labeller.of(segzs.load()), "photos", "out"):  # doctest: +SKIP
    ...     print(result.file)
    """
    if not isinstance(images, ImageList):
        images = list_images(images)
    check_number("threads", threads, "a whole number from 1 on", 1, whole=True)
    root, folder = Path(images.root), Path(out)
    _check_separate(root, folder)
    with ExitStack() as stack:
        stack.enter_context(lock_folder(folder))
        with output_errors(folder):
            for part in (*leftovers(folder), *leftovers(folder / OVERLAYS, recursive=True)):
                part.unlink(missing_ok=True)
        _check_run(folder, labeller, images)
        journal = stack.enter_context(Journal(folder / "segments.jsonl"))
        with output_errors(folder / "failures.jsonl"):
            failures = stack.enter_context((folder / "failures.jsonl").open("wb", buffering=0))
        results = label_files(labeller, images.names, partial(_read, images), threads=threads, completed=journal)
        done = []
        for result, image in stack.enter_context(closing(results)):
            if isinstance(result, Failure):
                with output_errors(folder / "failures.jsonl"):
                    write_all(failures, result.to_line())
            else:
                key = (result.file, result.digests.file)
                journal.append(result)
                done.append(key)
                if overlays:
                    _draw(result, image, root / result.file, _overlay(folder, *key))
            yield result
        for key in journal.stale(done):
            _overlay(folder, *key).unlink(missing_ok=True)
        journal.finish(done)
        with output_errors(folder / "annotations.json"):
            coco.write(read_lines(folder / "segments.jsonl", verify=False), folder / "annotations.json")


def _read(images: ImageList, name: str) -> bytes:
    if name in images.unreadable:
        raise ImageError(images.unreadable[name])
    path = Path(images.root, name)
    check_size(path.stat().st_size)
    return path.read_bytes()


def _check_separate(root: Path, folder: Path) -> None:
    source, target = root.resolve(), folder.resolve()
    if source == target:
        raise UsageError(f"{folder} is the directory of the images; choose another folder for the results")
    if source.is_relative_to(target / OVERLAYS):
        raise UsageError(f"{root} holds overlays of the results in {folder}; choose another folder for the results")


def _check_run(folder: Path, labeller: ImageLabeller, images: ImageList) -> None:
    path, source = folder / RUN_FILE, str(Path(images.root).resolve())
    foreign = [name for name in RESULTS if (folder / name).exists()]
    if foreign and not path.exists():
        raise UsageError(
            f"{folder} holds {foreign[0]} but no {RUN_FILE}, so segzs may not have written it; choose another folder"
        )

    def write(data: bytes) -> None:
        with output_errors(path), atomic_write(path, "wb", durable=True) as file:
            file.write(data)

    run = {"format": "segzs-run/1", "folder": source, "glob": images.glob, "images": len(images)}
    check_run(str(path), {**run, "settings": labeller.settings}, path.read_bytes, write, may_grow=True)


def _overlay(folder: Path, name: str, sha256: str) -> Path:
    """The path of an overlay: the path of the image with a part of a digest.

    The digest separates images whose names differ only in their endings, or in upper and lower case.
    """
    path = PurePosixPath(name)
    mark = hashlib.sha256(f"{name}\n{sha256}".encode(errors="surrogateescape")).hexdigest()[:8]
    return folder / OVERLAYS / path.parent / f"{path.name[:LONGEST_NAME]}.{mark}.png"


def _draw(record: ImageAnnotations, image: Image | None, source: Path, target: Path) -> None:
    if not target.exists():
        buffer = io.BytesIO()
        record.on(read_image(source) if image is None else image).overlay().save(buffer, "PNG")
        with output_errors(target), atomic_write(target, "wb", durable=True) as file:
            file.write(buffer.getbuffer())

"""What is measured against: a COCO file with its images, or a folder with a folder of images for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from segzs.errors import AnnotationError, VocabularyError
from segzs.formats.annotations import ImageAnnotations
from segzs.formats.coco import CocoFile
from segzs.image import Image
from segzs.segments import UNKNOWN, Name

T = TypeVar("T")


@dataclass(frozen=True)
class Truth:
    """Annotated images in a folder, and all labels that the annotations might use.

    The objects of an image are its segments; or the whole image, where it has no segments but a label.
    """

    images: tuple[ImageAnnotations, ...] = field(repr=False)
    labels: tuple[str, ...]
    folder: Path = Path()

    @property
    def objects(self) -> int:
        """The number of objects on all images."""
        return sum(len(names_of(one)) for one in self.images)

    @property
    def paths(self) -> list[Path]:
        """The image files."""
        return [self.folder / one.file for one in self.images]

    def read(self, annotations: ImageAnnotations) -> Image:
        """The pixels of one of the images; `ImageAnnotations.on` says what is raised."""
        return annotations.on(self.folder / annotations.file).image

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise `VocabularyError` unless the labels contain the right name of an object."""
        names = sorted({name for one in self.images for name in names_of(one)})
        if set(names).isdisjoint(labels):
            raise VocabularyError(
                f"none of the annotated names ({_listed(names)}) is among the labels ({_listed(labels)}); "
                "use the words of the annotations, or give no labels"
            )

    def renamed(self, labels: Sequence[str]) -> Truth:
        """The same with as many other labels in the same order, for folders whose names are ids."""
        words = dict(zip(self.labels, labels, strict=True))
        return replace(self, images=tuple(_renamed(one, words) for one in self.images), labels=tuple(labels))

    def sample(self, images: int | None = None, objects: int | None = None, seed: int = 0) -> Truth:
        """At most so many images, and at most so many objects of each, chosen at random; the order stays."""
        rng = np.random.default_rng(seed)
        chosen = _choose(self.images, images, rng)
        return replace(self, images=tuple(replace(one, segments=_choose(one.segments, objects, rng)) for one in chosen))


def names_of(annotations: ImageAnnotations) -> tuple[str, ...]:
    """The right names of the objects of an image: of its segments, or of the whole image."""
    return tuple(segment.name for segment in annotations.segments) or (annotations.label,)


def read_coco(annotations: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> Truth:
    """The truth of a COCO instance file, with masks as run lengths or polygons.

    Crowds, stuff (``isthing`` 0), objects of a category "unknown", and images without objects are left out. ``source``
    or ``dataset`` of an image, or of the file, is the data set that an image is from.

    Args:
        annotations: the file.
        images: the folder of the images; None is ``images`` beside the file, or else the file's own folder.

    Raises:
        AnnotationError: the file cannot be read, has nothing to measure, or images are missing.

    Warns:
        FormatWarning: rows are left out because they cannot be used.

    Source: https://cocodataset.org/#format-data
    """
    path = Path(annotations)
    file = CocoFile.load(path)
    words = {name: " ".join(name.split()) for name in file.labels.values()}
    labels = tuple(dict.fromkeys(word for word in words.values() if word != UNKNOWN))
    if not labels:
        raise AnnotationError(f"{path} has no categories; a COCO instance file with names is expected")
    kept = []
    for one in file.images(things_only=True):
        if segments := tuple(segment for segment in one.segments if segment.name not in ("", UNKNOWN)):
            kept.append(_renamed(replace(one, segments=segments), words))
    if not kept:
        raise AnnotationError(f"{path} has no object with a mask on any of its images; there is nothing to measure")
    beside = path.parent / "images"
    folder = Path(images) if images is not None else beside if beside.is_dir() else path.parent
    if not folder.is_dir():
        raise AnnotationError(f"the folder of images {folder} does not exist; give it with --images")
    truth = Truth(tuple(kept), labels, folder)
    if missing := [path for path in truth.paths if not path.is_file()]:
        raise AnnotationError(
            f"{len(missing)} of {len(kept)} annotated images are not in {folder}, the first is {missing[0]}; give the "
            "folder of the images with --images"
        )
    return truth


def read_classes(folder: str | os.PathLike[str]) -> Truth:
    """The truth of a folder with a folder of images for each class, named after it; "_" counts as a space.

    Raises:
        AnnotationError: there are no such folders, or no images in them.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    root = Path(folder)
    try:
        classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        if not classes:
            raise AnnotationError(f"{root} has no folders in it; a folder of images for each class is expected")
        numbers = {name: number for number, name in enumerate(classes)}
        files = make_dataset(root, numbers, IMG_EXTENSIONS, allow_empty=True)
    except OSError as error:
        raise AnnotationError(f"the folder {root} cannot be read: {error.strerror or error}") from error
    if not files:
        raise AnnotationError(f"no folder in {root} has an image ({', '.join(IMG_EXTENSIONS)}) in it")
    labels = [" ".join(name.replace("_", " ").split()) for name in classes]
    images = tuple(
        ImageAnnotations(Path(file).relative_to(root).as_posix(), label=labels[number]) for file, number in files
    )
    return Truth(images, tuple(dict.fromkeys(labels)), root)


def _renamed(one: ImageAnnotations, words: dict[str, str]) -> ImageAnnotations:
    return replace(
        one,
        label=words.get(one.label, one.label),
        segments=tuple(replace(segment, names=(Name(words[segment.name], 1.0),)) for segment in one.segments),
    )


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def _choose(items: tuple[T, ...], limit: int | None, rng: np.random.Generator) -> tuple[T, ...]:
    return items if limit is None else tuple(items[index] for index in sorted(rng.permutation(len(items))[:limit]))

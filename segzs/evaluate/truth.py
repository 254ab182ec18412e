"""What is known of pictures: a COCO file with its images, or a folder with a folder of pictures for each class."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segzs.checks import check_number
from segzs.errors import AnnotationError, VocabularyError
from segzs.formats.annotations import blank
from segzs.formats.coco import WHAT, mask_of
from segzs.formats.files import load_json, reading
from segzs.image import Image, read_image
from segzs.masks import RLE


@dataclass(frozen=True)
class Picture:
    """A picture file and its objects: a name for each, and a mask unless the picture as a whole has the name."""

    path: Path
    names: tuple[str, ...]
    masks: tuple[RLE, ...] = ()
    source: str = ""

    def read(self) -> Image:
        """Its pixels.

        Raises:
            ImageError: the file cannot be read.
            AnnotationError: it has another size than its masks.
        """
        image = read_image(self.path)
        for mask in self.masks[:1]:
            if (image.width, image.height) != (mask.width, mask.height):
                raise AnnotationError(
                    f"{self.path} has {image.width}x{image.height} pixels, and was annotated at "
                    f"{mask.width}x{mask.height}; give the pictures that belong to the annotations"
                )
        return image


@dataclass(frozen=True)
class Truth:
    """Annotated pictures, and all the names that their annotations might have used."""

    pictures: tuple[Picture, ...] = field(repr=False)
    labels: tuple[str, ...]

    @property
    def objects(self) -> int:
        """How many objects there are in all pictures."""
        return sum(len(picture.names) for picture in self.pictures)

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise `VocabularyError` if no object can get its right name from these."""
        names = sorted({name for picture in self.pictures for name in picture.names})
        if set(names).isdisjoint(labels):
            raise VocabularyError(
                f"none of the annotated names ({_listed(names)}) is among the labels ({_listed(labels)}); "
                "use the words of the annotations, or give no labels"
            )

    def renamed(self, labels: Sequence[str]) -> Truth:
        """The same with other words for its labels, in their order: for folders that have ids for names.

        Raises:
            VocabularyError: there are more or fewer of them.
        """
        if len(labels) != len(self.labels):
            raise VocabularyError(
                f"{len(labels)} labels cannot stand for {len(self.labels)} classes; give one for each"
            )
        words = dict(zip(self.labels, labels, strict=True))
        pictures = (replace(one, names=tuple(words[name] for name in one.names)) for one in self.pictures)
        return Truth(tuple(pictures), tuple(labels))

    def some(self, pictures: int | None = None, objects: int | None = None, seed: int = 0) -> Truth:
        """At most so many pictures, chosen at random, and at most so many objects of each; in their order.

        Raises:
            SegzsError: a number is none from 1 on.
        """
        for name, number in (("limit", pictures), ("objects_per_image", objects)):
            if number is not None:
                check_number(name, number, "a whole number from 1 on, or None for all,", 1, whole=True)
        rng = np.random.default_rng(seed)
        chosen = [self.pictures[i] for i in _some(len(self.pictures), pictures, rng)]
        return replace(self, pictures=tuple(_with_some(picture, objects, rng) for picture in chosen))


def read_coco(annotations: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> Truth:
    """The truth of a COCO instance file; masks may be run lengths or polygons.

    Crowds, annotations that a file calls stuff (``isthing`` 0) and those without a mask are left out, and pictures
    without objects. ``source`` or ``dataset`` of an image, or of the file, says where a picture is from.

    Args:
        annotations: the file.
        images: the folder of its pictures; left out, ``images`` beside the file, or the file's own folder.

    Raises:
        AnnotationError: it is no such file, nothing in it can be measured, or pictures are missing.

    Source: https://cocodataset.org/#format-data
    """
    path = Path(annotations)
    with reading(path, WHAT):
        known = load_json(path)
        if isinstance(known, list):
            raise ValueError("it is a list, as COCO results are")
        names = {category["id"]: _name(category["name"]) for category in known["categories"]}
        of_image: dict[Any, list[Mapping]] = defaultdict(list)
        for row in known["annotations"]:
            if row.get("segmentation") and not row.get("iscrowd", 0) and row.get("isthing", 1):
                of_image[row["image_id"]].append(row)
        folder = _folder(path, images)
        pictures = [
            _picture(image, of_image[image["id"]], names, folder, _source(image) or _source(known))
            for image in known["images"]
            if image["id"] in of_image
        ]
        pictures = [picture for picture in pictures if picture.names]
    if not names:
        raise AnnotationError(f"{path} has no categories; {WHAT} with names is expected")
    if not pictures:
        raise AnnotationError(f"{path} has no object with a mask on any of its images; there is nothing to measure")
    _check_files([picture.path for picture in pictures], folder)
    return Truth(tuple(pictures), tuple(dict.fromkeys(names.values())))


def read_classes(folder: str | os.PathLike[str]) -> Truth:
    """The truth of a folder with a folder of pictures for each class, named after it; "_" counts as a space.

    Raises:
        AnnotationError: it is no such folder.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    root = Path(folder)
    try:
        classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        if not classes:
            raise AnnotationError(f"{root} has no folders in it; a folder of pictures for each class is expected")
        numbers = {name: number for number, name in enumerate(classes)}
        files = make_dataset(root, numbers, IMG_EXTENSIONS, allow_empty=True)
    except OSError as error:
        raise AnnotationError(f"the folder {root} cannot be read: {error.strerror or error}") from error
    if not files:
        raise AnnotationError(f"no folder in {root} has a picture ({', '.join(IMG_EXTENSIONS)}) in it")
    labels = [_name(name.replace("_", " ")) for name in classes]
    pictures = tuple(Picture(Path(file), (labels[number],)) for file, number in files)
    return Truth(pictures, tuple(dict.fromkeys(labels)))


def _picture(image: Mapping, rows: Iterable[Mapping], names: Mapping[Any, str], folder: Path, source: str) -> Picture:
    size = blank(image["file_name"], image["width"], image["height"])
    found = [(names[row["category_id"]], mask_of(row["segmentation"], size)) for row in rows]
    found = [(name, mask) for name, mask in found if mask.area]
    return Picture(
        folder / size.file, tuple(name for name, _ in found), tuple(mask for _, mask in found), source=source
    )


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"the name of a category is {name!r}")
    return " ".join(name.split())


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def _source(known: Mapping) -> str:
    return str(known.get("source") or known.get("dataset") or "")


def _folder(annotations: Path, images: str | os.PathLike[str] | None) -> Path:
    beside = annotations.parent / "images"
    return Path(images) if images is not None else beside if beside.is_dir() else annotations.parent


def _check_files(paths: Sequence[Path], folder: Path) -> None:
    if not folder.is_dir():
        raise AnnotationError(f"the folder of images {folder} is not there; say with --images in which folder they are")
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise AnnotationError(
            f"{len(missing)} of {len(paths)} annotated images are not in {folder}, the first is {missing[0]}; "
            "say with --images in which folder they are"
        )


def _some(count: int, most: int | None, rng: np.random.Generator) -> list[int]:
    return list(range(count)) if most is None else sorted(rng.permutation(count)[:most].tolist())


def _with_some(picture: Picture, objects: int | None, rng: np.random.Generator) -> Picture:
    kept = _some(len(picture.names), objects, rng)
    return replace(
        picture,
        names=tuple(picture.names[i] for i in kept),
        masks=tuple(picture.masks[i] for i in kept) if picture.masks else (),
    )

"""Pascal VOC style: PNGs with a palette in ``SegmentationClass/`` and ``SegmentationObject/``, and ``labelmap.txt``.

0 is background. In ``SegmentationClass/`` a value is the row of the label in ``labelmap.txt``, in
``SegmentationObject/`` the number of the segment, from 1. Where masks overlap, the smallest lies on top. 255 is VOC's
"void": the 255th label or object and all that follow.

Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 4; ``labelmap.txt`` is as CVAT writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from segzs.files import atomic_write
from segzs.formats.annotations import ImageAnnotations, category_ids, label_of
from segzs.formats.files import Stems
from segzs.formats.rasters import flattened

VOID = 255


def palette() -> np.ndarray:
    """VOC's colours, uint8 (256, 3): the bits of an index, in threes, are the highest bits of its colour.

    >>> palette()[1].tolist(), palette()[VOID].tolist()
    ([128, 0, 0], [224, 224, 192])
    """
    index = np.arange(256)[:, None] >> np.arange(3)
    return sum((index >> 3 * level & 1) << 7 - level for level in range(3)).astype(np.uint8)  # type: ignore[union-attr]


def write(annotations: Iterable[ImageAnnotations], destination: Path, *, categories: Sequence[str] = ()) -> None:
    """Write the folder; ``categories`` are labels in the order of their values, further labels follow as they occur."""
    ids, stems = category_ids(categories, 1), Stems()
    for one in annotations:
        name = f"{stems(one.file)}.png"
        labels = [ids[label_of(segment)] for segment in one.segments]
        for folder, values in [("SegmentationClass", labels), ("SegmentationObject", range(1, len(labels) + 1))]:
            drawn = PIL.Image.fromarray(flattened(one, [min(value, VOID) for value in values]).astype(np.uint8))
            drawn.putpalette(palette().tobytes())
            with atomic_write(destination / folder / name, "wb") as file:
                drawn.save(file, "PNG")
    rows = [("background", 0), *((name, number) for name, number in ids.items() if number < VOID)]
    with atomic_write(destination / "labelmap.txt") as file:
        file.write("# label:color_rgb:parts:actions\n")
        file.writelines(
            f"{name.replace(':', ' ')}:{','.join(map(str, palette()[number]))}::\n" for name, number in rows
        )

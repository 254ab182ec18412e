"""Boxes and masks of any detector, and what is none."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import segzs
from segzs import AnnotationError, PromptError
from segzs.detections import Regions
from segzs.image import Image
from segzs.masks import RLE, iou

IMAGE = Image(np.zeros((60, 100, 3), np.uint8))


def mask() -> np.ndarray:
    array = np.zeros((60, 100), bool)
    array[10:20, 30:50] = True
    return array


@pytest.mark.parametrize(
    "given",
    [
        [[30, 10, 50, 20]],
        np.array([[30, 10, 50, 20]], np.float32),
        [{"bbox": [30, 10, 20, 10], "score": 0.3, "category_id": 3}],
        SimpleNamespace(xyxy=np.array([[30, 10, 50, 20]]), mask=None),
    ],
)
def test_boxes_of_every_kind(given: object) -> None:
    assert [prompt.box for prompt in Regions.of(given, IMAGE).boxes] == [(30, 10, 50, 20)]


@pytest.mark.parametrize(
    "given",
    [
        mask()[None],
        mask()[None].astype(np.uint8),
        [{"bbox": [0, 0, 1, 1], "segmentation": RLE.encode(mask()).coco()}],
        [{"segmentation": [[30, 10, 50, 10, 50, 20, 30, 20]]}],
        SimpleNamespace(xyxy=np.array([[0, 0, 5, 5]]), mask=mask()[None]),
    ],
)
def test_masks_of_every_kind(given: object) -> None:
    (kept,) = Regions.of(given, IMAGE).items
    assert isinstance(kept, RLE)
    assert (kept.decode() == mask()).all()


@pytest.mark.parametrize("given", [[], np.zeros((0, 4)), SimpleNamespace(xyxy=np.zeros((0, 4)), mask=None)])
def test_no_regions(given: object) -> None:
    assert Regions.of(given, IMAGE).items == ()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([10, 10, 90, 50], r"int64 of shape \(4,\); boxes \(N, 4\)"),
        ([[1, 2, 3], [1, 2, 3, 4]], "no array"),
        ([[0, 0, float("nan"), 9]], "region 0: .*finite"),
        ([[1, 1, 5, 5], [50, 50, 20, 20]], "region 1: .*x1 < x2"),
        ([[200, 0, 300, 50]], "region 0: .*outside the image of 100x60"),
        ([["a", "b", "c", "d"]], "boxes"),
        (np.zeros((2, 60, 60), bool), r"\(2, 60, 60\); \(N, 60, 100\) is expected"),
        (np.zeros((1, 60, 100), bool), "region 0 is an empty mask"),
        (np.full((1, 60, 100), 0.5), "float64"),
        ([{"bbox": [30, 10, 90, 50]}], "region 0: .*leaves the image of 100x60"),
        ([{"bbox": [30, 10, 90]}], "x, y, width, height"),
        ([{"bbox": None}], "x, y, width, height"),
        ([{"score": 1}], "neither a bbox nor a segmentation"),
        ([{"segmentation": {"size": [5, 5], "counts": [25]}}], "region 0: the segmentation"),
        ({"images": []}, "one mapping"),
        ([{"image_id": 1, "bbox": [0, 0, 9, 9]}, {"image_id": 2, "bbox": [0, 0, 9, 9]}], "results of 2 images"),
        (None, "object"),
    ],
)
def test_what_is_no_region_is_said(given: object, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        Regions.of(given, IMAGE)


def test_a_file_of_results(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"image_id": 1, "bbox": [30, 10, 20, 10]}]))
    assert len(Regions.of(path, IMAGE).boxes) == 1
    for content, says in [
        ('{"images": []}', "no list"),
        ("[", "no JSON"),
    ]:
        path.write_text(content)
        with pytest.raises(AnnotationError, match=says):
            Regions.of(path, IMAGE)
    with pytest.raises(AnnotationError, match="cannot be read"):
        Regions.of(str(tmp_path / "absent.json"), IMAGE)


@pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")
def test_segmented_and_named_in_the_order_given(segmenter: segzs.Segmenter, scene) -> None:
    known = scene("desk")
    photo, index = segmenter.encode(known.path), known.names.index("laptop")
    x1, y1, x2, y2 = known.masks[index].box
    mixed = [
        {"segmentation": known.masks[0].coco()},
        {"bbox": [x1, y1, x2 - x1, y2 - y1]},
        {"segmentation": known.masks[1].coco()},
    ]
    kept, laptop, last = segmenter.with_labels(known.names).regions(photo, mixed)
    assert (kept.rle.decode() == known.masks[0].decode()).all()
    assert (last.rle.decode() == known.masks[1].decode()).all()
    assert laptop.name == "laptop"
    assert iou([laptop.rle], [known.masks[index]])[0, 0] > 0.8
    assert len(segmenter.regions(photo, [])) == 0


@pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")
def test_supervision_there_and_back(segmenter: segzs.Segmenter, scene) -> None:
    pytest.importorskip("supervision", reason="needs the extra segzs[supervision]")
    known = scene("desk")
    photo = segmenter.encode(known.path)
    items = tuple(segzs.Segment(mask, 1, 1) for mask in known.masks[:2])
    detections = segzs.Segments(photo.image, items).to_supervision()
    assert [segment.rle for segment in segmenter.regions(photo, detections)] == [segment.rle for segment in items]

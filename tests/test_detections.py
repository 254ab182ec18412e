"""read_detections: boxes and masks of detectors, and errors about anything else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from segment_anything.utils.amg import coco_encode_rle, mask_to_rle_pytorch

import segzs
from segzs import AnnotationError, PromptError
from segzs.detections import read_detections
from segzs.image import Image
from segzs.masks import RLE, iou

IMAGE = Image(np.zeros((60, 100, 3), np.uint8))
GENERATED = {
    "bbox": [30, 10, 20, 10],
    "area": 200,
    "predicted_iou": 0.9,
    "point_coords": [[40, 15]],
    "crop_box": [0, 0, 100, 60],
}
"""What `SamAutomaticMaskGenerator` returns beside the mask, which is an array or one of two run-length encodings."""


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
        [{"bbox": np.array([30, 10, 20, 10])}],
        SimpleNamespace(xyxy=np.array([[30, 10, 50, 20]]), mask=None),
    ],
)
def test_boxes_become_prompts(given: object) -> None:
    assert [prompt.box for prompt in read_detections(given, IMAGE)] == [(30, 10, 50, 20)]


@pytest.mark.parametrize(
    "given",
    [
        mask()[None],
        mask()[None].astype(np.uint8),
        [{"bbox": [0, 0, 1, 1], "segmentation": RLE.encode(mask()).coco()}],
        [{"segmentation": [[30, 10, 50, 10, 50, 20, 30, 20]]}],
        SimpleNamespace(xyxy=np.array([[0, 0, 5, 5]]), mask=mask()[None]),
        [{"segmentation": mask(), **GENERATED}],
        [{"segmentation": mask().astype(np.uint8), **GENERATED}],
        [{"segmentation": mask_to_rle_pytorch(torch.from_numpy(mask())[None])[0], **GENERATED}],
        [{"segmentation": coco_encode_rle(mask_to_rle_pytorch(torch.from_numpy(mask())[None])[0]), **GENERATED}],
    ],
)
def test_masks_are_kept(given: object) -> None:
    (kept,) = read_detections(given, IMAGE)
    assert isinstance(kept, RLE)
    assert (kept.decode() == mask()).all()


@pytest.mark.parametrize("given", [[], np.zeros((0, 4)), SimpleNamespace(xyxy=np.zeros((0, 4)), mask=None)])
def test_no_detections(given: object) -> None:
    assert read_detections(given, IMAGE) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([10, 10, 90, 50], r"int64 of shape \(4,\); boxes \(N, 4\)"),
        ([[1, 2, 3], [1, 2, 3, 4]], "are not an array"),
        ([[0, 0, float("nan"), 9]], "detection 0: .*finite"),
        ([[1, 1, 5, 5], [50, 50, 20, 20]], "detection 1: .*x1 < x2"),
        ([[200, 0, 300, 50]], "detection 0: .*outside the image of 100x60"),
        ([["a", "b", "c", "d"]], "boxes"),
        (np.zeros((2, 60, 60), bool), r"\(2, 60, 60\); \(N, 60, 100\) is expected"),
        (np.zeros((1, 60, 100), bool), "detection 0 is an empty mask"),
        (np.full((1, 60, 100), 0.5), "float64"),
        ([{"bbox": [30, 10, 90, 50]}], "detection 0: .*leaves the image of 100x60"),
        ([{"bbox": [30, 10, 90]}], "x, y, width, height"),
        ([{"bbox": np.array([30, 10, 90])}], "x, y, width, height"),
        ([{"bbox": None}], "x, y, width, height"),
        ([{"score": 1}], "neither a bbox nor a segmentation"),
        ([{"segmentation": {"size": [5, 5], "counts": [25]}}], "detection 0: the segmentation"),
        ({"images": []}, "one mapping"),
        ([{"image_id": 1, "bbox": [0, 0, 9, 9]}, {"image_id": 2, "bbox": [0, 0, 9, 9]}], "results are of 2 images"),
        (None, "object"),
        (np.ma.masked_equal([[0, 0, 9, 9]], 9), "masked"),
    ],
)
def test_other_values_are_refused(given: object, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        read_detections(given, IMAGE)


def test_a_file_of_results_is_read(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"image_id": 1, "bbox": [30, 10, 20, 10]}]))
    assert len(read_detections(path, IMAGE)) == 1
    for content, message in [
        ('{"images": []}', "does not hold a list"),
        ("[", "JSON"),
    ]:
        path.write_text(content)
        with pytest.raises(AnnotationError, match=message):
            read_detections(path, IMAGE)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_detections(str(tmp_path / "absent.json"), IMAGE)


@pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")
def test_detections_are_segmented_and_named_in_their_order(segmenter: segzs.Segmenter, scene) -> None:
    content = scene("desk")
    image, index = segmenter.encode(content.path), content.names.index("laptop")
    x1, y1, x2, y2 = content.masks[index].box
    mixed = [
        {"segmentation": content.masks[0].coco()},
        {"bbox": [x1, y1, x2 - x1, y2 - y1]},
        {"segmentation": content.masks[1].coco()},
    ]
    kept, laptop, last = segmenter.with_labels(content.names).regions(image, mixed)
    assert (kept.rle.decode() == content.masks[0].decode()).all()
    assert (last.rle.decode() == content.masks[1].decode()).all()
    assert laptop.name == "laptop"
    assert iou([laptop.rle], [content.masks[index]])[0, 0] > 0.8
    assert len(segmenter.regions(image, [])) == 0


@pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")
def test_supervision_detections_are_read(segmenter: segzs.Segmenter, scene) -> None:
    pytest.importorskip("supervision", reason="needs the extra segzs[supervision]")
    content = scene("desk")
    image = segmenter.encode(content.path)
    items = tuple(segzs.Segment(mask, 1, 1) for mask in content.masks[:2])
    detections = segzs.Segments(image.image, items).to_supervision()
    assert [segment.rle for segment in segmenter.regions(image, detections)] == [segment.rle for segment in items]

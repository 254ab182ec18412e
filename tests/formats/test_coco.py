"""COCO files load in pycocotools with the masks and names of the segments; `save` writes, or explains why not."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import segzs
from segzs import Name, OutputError, Segment, Segments, read_image
from segzs.formats.coco import CocoFile
from segzs.masks import RLE


@pytest.fixture
def desk(scene) -> Segments:
    content = scene("desk")
    ring = np.zeros((576, 768), bool)
    ring[100:300, 100:300] = True
    ring[150:250, 150:250] = False
    ring[400:410, 700:710] = True
    items = [
        Segment(mask, 0.9, 0.8, (Name(name, 0.5 + index / 100),))
        for index, (name, mask) in enumerate(zip(content.names, content.masks, strict=True))
    ]
    items.append(Segment(RLE.encode(ring), 0.7, 0.8, (Name("laptop", 0.25),)))
    return Segments(read_image(content.path), tuple(items), "tiny+tiny")


def load(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_pycocotools_reads_the_segments(desk: Segments, tmp_path: Path) -> None:
    coco = load(segzs.save(desk, tmp_path / "desk.coco.json", image_name="photos/desk.png"))
    (image,) = coco.loadImgs(coco.getImgIds())
    assert (image["file_name"], image["width"], image["height"]) == ("photos/desk.png", 768, 576)
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"], iscrowd=False))
    assert len(annotations) == len(desk)
    for annotation, segment in zip(annotations, desk, strict=True):
        x1, y1, x2, y2 = segment.box
        assert coco.loadCats(annotation["category_id"])[0]["name"] == segment.name
        assert np.array_equal(coco.annToMask(annotation).astype(bool), segment.mask)
        assert annotation["area"] == segment.mask.sum()
        assert annotation["bbox"] == [x1, y1, x2 - x1, y2 - y1]
        assert annotation["score"] == pytest.approx(segment.probability)


def test_ids_start_at_one_and_categories_occur_once(desk: Segments, tmp_path: Path) -> None:
    coco = load(segzs.save(desk, tmp_path / "desk.coco.json"))
    assert sorted(coco.getAnnIds()) == list(range(1, 12))
    assert sorted(coco.getCatIds()) == list(range(1, 11))
    assert coco.getImgIds() == [1]


def test_evaluation_against_itself_is_perfect(desk: Segments, tmp_path: Path) -> None:
    path = segzs.save(desk, tmp_path / "desk.coco.json")
    truth = load(path)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(json.loads(path.read_text())["annotations"]), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_segments_without_names_and_none_at_all(desk: Segments, tmp_path: Path) -> None:
    bare = Segments(desk.image, (Segment(desk[0].rle, 0.875, 0.8),))
    coco = load(segzs.save(bare, tmp_path / "bare.coco.json"))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["unknown"]
    assert coco.loadAnns([1])[0]["score"] == 0.875
    empty = load(segzs.save(desk[:0], tmp_path / "empty.coco.json"))
    assert (empty.getAnnIds(), empty.getImgIds()) == ([], [1])


def test_the_suffix_determines_the_format(desk: Segments, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "on demand"
    assert json.loads(segzs.save(desk, folder / "a.json").read_text("utf-8"))["format"] == "segzs/1"
    assert "annotations" in json.loads(segzs.save(desk, folder / "a.COCO.json").read_text("utf-8"))
    assert segzs.save(desk, str(folder / "a.txt")).read_text("utf-8").splitlines() == desk.table().splitlines()
    for ending, kind in {"png": "PNG", "jpg": "JPEG", "JPEG": "JPEG", "webp": "WEBP"}.items():
        with PIL.Image.open(segzs.save(desk, folder / f"a.{ending}")) as image:
            assert (image.format, image.size) == (kind, (768, 576))


def test_names_of_any_script_are_kept(desk: Segments, tmp_path: Path) -> None:
    named = Segments(desk.image, (Segment(desk[0].rle, 0.9, 0.8, (Name("猫 & Öl", 0.5),)),))
    coco = load(segzs.save(named, tmp_path / "ä.coco.json"))
    assert coco.loadCats([1])[0]["name"] == "猫 & Öl"
    assert coco.loadImgs([1])[0]["file_name"] == "ä.png"
    assert "猫 & Öl" in segzs.save(named, tmp_path / "ä.txt").read_text("utf-8")


def test_a_file_name_that_is_not_utf8(desk: Segments, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    path = segzs.save(desk, tmp_path / "desk.coco.json", image_name=name)
    assert json.loads(path.read_text("utf-8"))["images"][0]["file_name"] == name


@pytest.mark.parametrize("name", ["a.xml", "a", "a.json.gz", ".gitignore"])
def test_unknown_suffixes_are_refused_and_nothing_is_written(desk: Segments, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"\.coco\.json, .*\.json, \.txt, \.png"):
        segzs.save(desk, tmp_path / "new" / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".png", ".COCO.json", ".json", ".txt"])
def test_a_suffix_without_a_name_is_refused(desk: Segments, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="has no name before the suffix"):
        segzs.save(desk, tmp_path / "new" / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.json", "a.coco.json", "a.txt", "a.png"])
def test_an_unwritable_file_is_an_output_error(desk: Segments, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / name).mkdir()
    for index in (tmp_path / "file" / name, tmp_path / name):
        with pytest.raises(OutputError, match="cannot be written"):
            segzs.save(desk, index)
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(desk: Segments, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="denied"):
        segzs.save(desk, tmp_path / "a.json")


def test_saving_again_replaces_the_file(desk: Segments, tmp_path: Path) -> None:
    path = segzs.save(desk, tmp_path / "desk.json")
    segzs.save(desk[:2], path)
    assert len(json.loads(path.read_text("utf-8"))["segments"]) == 2


def test_triangles_are_read_and_stuff_is_not_measured(tmp_path: Path) -> None:
    row = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 8, 0, 0, 8]]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
        "categories": [{"id": 1, "name": "sky"}],
        "annotations": [row, row | {"isthing": 0}, row | {"isthing": 1}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    file = CocoFile.load(tmp_path / "a.json")
    assert [[len(one.segments) for one in file.images(things_only=only)] for only in (False, True)] == [[3], [2]]

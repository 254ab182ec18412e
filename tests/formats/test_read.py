"""A bad row costs that row, a bad file of a folder that file; other errors name the file, the fault and the remedy."""

from __future__ import annotations

import copy
import json
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segzs import AnnotationError, SegzsError
from segzs.detections import read_detections
from segzs.errors import FormatWarning
from segzs.evaluate.truth import read_coco
from segzs.formats import read
from segzs.formats.coco import CocoFile
from segzs.image import read_image
from tests.formats.conftest import difficult_masks, segments_of

SQUARE = [1, 1, 3, 1, 3, 3, 1, 3]
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 5, "height": 4}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE], "score": 0.5},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": {"size": [4, 5], "counts": [4, 8, 8]}},
        {"id": 3, "image_id": 1, "category_id": 1, "segmentation": {"size": [4, 5], "counts": "48X0"}},
    ],
}
LABELME = {
    "imagePath": "a.jpg",
    "imageHeight": 4,
    "imageWidth": 5,
    "shapes": [
        {"label": "cat", "points": [[1, 1], [3, 1], [3, 3]], "shape_type": "polygon", "group_id": 1},
        {"label": "dog", "points": [[1, 1], [2, 2]], "shape_type": "circle", "names": []},
    ],
}
SEGZS = {
    "file": "a.jpg",
    "format": "segzs/1",
    "model": "tiny+tiny",
    "image": {"width": 40, "height": 24, "sha256": ""},
    "segments": [segment.to_dict() for segment in segments_of(difficult_masks(40, 24))],
}


def write(folder: Path, content: object, name: str = "people.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def folder_of(folder: Path, *names: str) -> Path:
    """The folder, with a file of each name."""
    for name in names:
        (folder / name).touch()
    return folder


def changed(content: dict, *path: Any, to: object = None, drop: bool = False) -> dict:
    content = copy.deepcopy(content)
    inner: Any = content
    for key in path[:-1]:
        inner = inner[key]
    if drop:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return content


@pytest.mark.parametrize("content", [COCO, LABELME, SEGZS])
def test_valid_files(tmp_path: Path, content: dict) -> None:
    (one,) = read(write(tmp_path, content))
    assert one.file == "a.jpg"
    assert len(one.segments) == len(content.get("annotations", content.get("shapes", content.get("segments"))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(COCO, "images", drop=True), "'images' is missing; a COCO instance file"),
        (changed(COCO, "images", to={}), "'images' is dict; a list"),
        (changed(COCO, "images", 0, "file_name", drop=True), r"image 1 \('file_name' is missing\)"),
        (changed(COCO, "images", 0, "width", to="5"), r"image 1 \(the width of 'a.jpg' is '5'"),
        (changed(COCO, "images", 0, "width", to=0), r"image 1 \(the width of 'a.jpg' is 0"),
        (changed(LABELME, "imageWidth", drop=True), "'imageWidth' is missing; a labelme file"),
        (changed(LABELME, "imageWidth", to=10**9), "1000000000x4 pixels; at most"),
        (changed(LABELME, "shapes", to=3), "a labelme file"),
        (changed(SEGZS, "format", to="segzs/2"), "the format is 'segzs/2'; a file that `segzs label --json`"),
        (changed(SEGZS, "image", drop=True), "'image' is missing"),
        (
            {"some": "thing"},
            "neither annotations nor shapes nor a format; a COCO instance file, a labelme",
        ),
        ([1, 2], "neither annotations nor shapes"),
    ],
)
def test_errors_name_the_file_and_what_is_wrong(tmp_path: Path, content: object, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(AnnotationError, match=message) as caught:
        list(read(path))
    assert str(path) in str(caught.value)


ROW = {"id": 4711, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]}
BAD_ROWS = {
    "no segmentation": {key: value for key, value in ROW.items() if key != "segmentation"},
    "null": ROW | {"segmentation": None},
    "empty list": ROW | {"segmentation": []},
    "empty polygon": ROW | {"segmentation": [[]]},
    "two points": ROW | {"segmentation": [[1, 1, 2, 2]]},
    "an empty polygon beside a good one": ROW | {"segmentation": [SQUARE, []]},
    "flat list": ROW | {"segmentation": SQUARE},
    "text": ROW | {"segmentation": "cat"},
    "odd number of coordinates": ROW | {"segmentation": [SQUARE[:-1]]},
    "null coordinate": ROW | {"segmentation": [[*SQUARE[:-1], None]]},
    "far outside": ROW | {"segmentation": [[*SQUARE[:-1], 1e9]]},
    "without pixels": ROW | {"segmentation": [[-9, -9, -8, -9, -8, -8]]},
    "other size": ROW | {"segmentation": {"size": [5, 4], "counts": [4, 8, 8]}},
    "wrong sum": ROW | {"segmentation": {"size": [4, 5], "counts": [4, 8]}},
    "fractions": ROW | {"segmentation": {"size": [4, 5], "counts": [4.5, 15.5]}},
    "invalid RLE": ROW | {"segmentation": {"size": [4, 5], "counts": "48X0000"}},
    "unknown category": ROW | {"category_id": 9},
    "null category": ROW | {"category_id": None},
    "unknown image": ROW | {"image_id": 9},
    "null image": ROW | {"image_id": None},
    "score as text": ROW | {"score": "high"},
    "infinite score": ROW | {"score": float("inf")},
}


@pytest.mark.parametrize("row", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_coco_row_costs_that_row(tmp_path: Path, row: dict) -> None:
    path = write(tmp_path, COCO | {"annotations": [*COCO["annotations"], row]})
    with pytest.warns(FormatWarning, match=r"people\.json: left out annotation 4711 \(") as caught:
        (one,) = read(path)
    assert [warning.category for warning in caught].count(FormatWarning) == 1
    assert len(one.segments) == len(COCO["annotations"])
    with pytest.warns(FormatWarning, match="left out annotation 4711"):
        truth = read_coco(path, folder_of(tmp_path, "a.jpg"))  # evaluation reads the same rows
    assert [segment.rle for segment in truth.images[0].segments] == [segment.rle for segment in one.segments]


BAD_MASKS = {name: row for name, row in BAD_ROWS.items() if name.partition(" ")[2] not in ("category", "image")}


@pytest.mark.parametrize("row", [BAD_MASKS[name] for name in BAD_MASKS if "score" not in name])
def test_detections_leave_out_the_same_rows(tmp_path: Path, row: dict) -> None:
    path = write(tmp_path, [ROW | {"id": 1}, row])
    with pytest.warns(FormatWarning, match=r"people\.json: left out result 4711 \("):
        (mask,) = read_detections(path, read_image(np.zeros((4, 5, 3), np.uint8)))
    assert mask.area == 4


@pytest.mark.parametrize("row", [None, [], "cat", 3])
def test_rows_of_a_wrong_kind_are_called_by_their_index(tmp_path: Path, row: object) -> None:
    with pytest.warns(FormatWarning, match=r"people\.json: left out annotation at index 1 \("):
        (one,) = read(write(tmp_path, COCO | {"annotations": [ROW, row]}))
    assert len(one.segments) == 1
    with pytest.warns(FormatWarning, match=r"people\.json: left out result at index 1 \("):
        assert len(read_detections(write(tmp_path, [ROW, row]), read_image(np.zeros((4, 5, 3), np.uint8)))) == 1


@pytest.mark.parametrize("image_id", [None, "1", 1.0, [1]])
def test_detections_are_of_one_image_however_its_id_is_written(tmp_path: Path, image_id: object) -> None:
    path = write(tmp_path, [ROW, ROW | {"image_id": image_id}])
    assert len(read_detections(path, read_image(np.zeros((4, 5, 3), np.uint8)))) == 2


@pytest.mark.parametrize(("iscrowd", "count"), [(0, 1), ("0", 1), (False, 1), (None, 1), (1, 0), ("1", 0), (True, 0)])
def test_crowds_are_not_measured(tmp_path: Path, iscrowd: object, count: int) -> None:
    file = CocoFile.load(write(tmp_path, COCO | {"annotations": [ROW | {"iscrowd": iscrowd}]}))
    (one,) = file.images(things_only=True)
    assert len(one.segments) == count


def test_many_bad_rows_are_one_warning(tmp_path: Path) -> None:
    rows = [ROW | {"id": number, "segmentation": None} for number in range(10_000)]
    with pytest.warns(FormatWarning) as caught:
        list(read(write(tmp_path, COCO | {"annotations": [ROW, *rows]})))
    assert len(caught) == 1
    assert "annotation 2 (no segmentation) and 9997 more" in str(caught[0].message)
    assert len(str(caught[0].message)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("row", [ROW | {"score": None, "predicted_iou": None, "iscrowd": None, "names": None}])
def test_null_is_a_value_that_is_not_given(tmp_path: Path, row: dict) -> None:
    (one,) = read(write(tmp_path, COCO | {"annotations": [row]}))
    assert [(s.name, s.probability, s.predicted_iou) for s in one.segments] == [("cat", 1, 1)]


@pytest.mark.parametrize(("image_id", "row_id"), [("x", "x"), ("1", 1), (1, "1"), (1.0, 1)])
def test_ids_are_numbers_or_text(tmp_path: Path, image_id: object, row_id: object) -> None:
    content = changed(COCO, "images", 0, "id", to=image_id) | {"annotations": [ROW | {"image_id": row_id}]}
    content["categories"] = [{"id": str(ROW["category_id"]), "name": "cat"}]
    (one,) = read(write(tmp_path, content))
    assert [segment.name for segment in one.segments] == ["cat"]


def test_a_bad_coco_category_or_image_costs_its_rows(tmp_path: Path) -> None:
    content = copy.deepcopy(COCO)
    content["categories"].append({"id": 2, "name": None})
    content["images"].append({"id": 2, "file_name": None, "width": 5, "height": 4})
    content["annotations"] += [ROW | {"category_id": 2}, ROW | {"id": 4712, "image_id": 2}]
    with pytest.warns(FormatWarning) as caught:
        (one,) = read(write(tmp_path, content))
    assert len(one.segments) == 3
    for name in ("category 2", "image 2", "annotation 4711", "annotation 4712"):
        assert any(name in str(warning.message) for warning in caught)


def test_changed_categories_win_over_stale_names(tmp_path: Path) -> None:
    """Annotation tools rename categories, and keep keys that they do not know."""
    row = ROW | {"names": [{"label": "dog", "probability": 0.5}], "score": 0.5}
    (one,) = read(write(tmp_path, COCO | {"annotations": [row]}))
    assert [name.label for name in one.segments[0].names] == ["cat"]


CORNERS = [[1, 1], [3, 1], [3, 2], [1, 2]]


@pytest.mark.parametrize(
    "shape",
    [
        {"shape_type": "polygon", "points": CORNERS, "score": None},
        {"shape_type": "rectangle", "points": CORNERS, "score": None, "attributes": {}, "kie_linking": []},
        {"shape_type": "rectangle", "points": CORNERS[::2]},
        {"shape_type": "rotation", "points": CORNERS, "direction": 0.3},
        {"shape_type": "oriented_rectangle", "points": CORNERS},
        {"shape_type": "quadrilateral", "points": CORNERS},
    ],
)
def test_labelme_files_of_x_anylabeling(tmp_path: Path, shape: dict) -> None:
    (one,) = read(write(tmp_path, LABELME | {"shapes": [{"label": "cat", "group_id": None, "flags": {}, **shape}]}))
    assert [(segment.area, segment.probability) for segment in one.segments] == [(6, 1)]


@pytest.mark.parametrize(
    "change",
    [
        {"label": None},
        {"points": [[1, 2, 3]]},
        {"points": None},
        {"points": CORNERS[:2]},
        {"points": [[1, 1], [2, 2], [1, 1e308]]},
        {"points": [[1, 1], [2, 2], [1, float("nan")]]},
        {"shape_type": "mask"},
        {"shape_type": "mask", "mask": "bm8gcGljdHVyZQ=="},
        {"shape_type": "linestrip"},
        {"score": "high"},
    ],
)
def test_a_bad_labelme_shape_costs_that_shape(tmp_path: Path, change: dict) -> None:
    good = {"label": "dog", "points": CORNERS, "shape_type": "polygon"}
    path = write(tmp_path, LABELME | {"shapes": [good | {"label": "cat"} | change, good]})
    with pytest.warns(FormatWarning, match=r"people\.json: left out"):
        (one,) = read(path)
    assert [segment.name for segment in one.segments] == ["dog"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("content", [COCO, LABELME, SEGZS])
def test_byte_order_marks(tmp_path: Path, content: dict, encoding: str) -> None:
    (expected,) = read(write(tmp_path, content))
    (tmp_path / "people.json").write_text(json.dumps(content), encoding)
    assert list(read(tmp_path / "people.json")) == [expected]


@pytest.mark.parametrize(("content", "suffix"), [(LABELME, ".json"), (SEGZS, ".segzs.json")])
def test_a_bad_file_of_a_folder_costs_that_file(tmp_path: Path, content: dict, suffix: str) -> None:
    write(tmp_path, content, f"good{suffix}")
    (tmp_path / f"bad{suffix}").write_text("{")
    with pytest.warns(FormatWarning, match=rf"bad{suffix} is not JSON: .*; the file is left out"):
        assert [one.file for one in read(tmp_path)] == ["a.jpg"]
    (tmp_path / f"good{suffix}").unlink()
    with pytest.warns(FormatWarning), pytest.raises(AnnotationError, match="is not JSON"):
        list(read(tmp_path))


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"images": [')
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    (tmp_path / "a.parquet").write_text("no")
    (tmp_path / "lines.jsonl").write_text("{\n" + json.dumps(SEGZS) + "\n")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "broken.json": "is not JSON",
        "image.png": "is not JSON",
        "a.parquet": "a Parquet file that segzs wrote is expected",
        "lines.jsonl": "line 1: not a line of segzs/1",
        "empty": "has no .json file",
        "absent.json": "cannot be read: No such file",
    }.items():
        with pytest.raises(AnnotationError, match=message) as caught:
            list(read(tmp_path / name))
        assert name in str(caught.value)


def test_parquet_with_types_that_arrow_cannot_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra segzs[parquet]")

    def refuse(_: object) -> None:
        raise pyarrow.lib.ArrowNotImplementedError("Integers with less than 8 bits not implemented")

    monkeypatch.setattr("pyarrow.parquet.ParquetFile", refuse)
    with pytest.raises(AnnotationError, match=r"less than 8 bits.*a Parquet file that segzs wrote"):
        list(read(tmp_path / "a.parquet"))


def test_parquet_of_other_tools_is_an_error_with_the_missing_column(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"file": ["a.png"]}), tmp_path / "other.parquet")
    with pytest.raises(AnnotationError, match=r"other.parquet: '\w+' is missing; a Parquet file that segzs wrote"):
        list(read(tmp_path / "other.parquet"))


def paths_in(content: Any, path: tuple = ()) -> list[tuple]:
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [one for key, value in pairs for one in [(*path, key), *paths_in(value, (*path, key))]]


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})


@pytest.mark.slow
@given(
    st.sampled_from([COCO, LABELME, SEGZS]).flatmap(lambda k: st.tuples(st.just(k), st.sampled_from(paths_in(k)))), JSON
)
def test_any_value_anywhere_is_read_or_a_segzs_error(case: tuple[dict, tuple], value: object) -> None:
    content, index = case
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for broken in (changed(content, *index, to=value), changed(content, *index, drop=True)):
            with suppress(SegzsError):
                list(read(write(Path(folder), broken)))

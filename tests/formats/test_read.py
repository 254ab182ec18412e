"""A file that cannot be read is an error that names the file, what is wrong with it and what is expected."""

from __future__ import annotations

import copy
import json
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segzs import AnnotationError, SegzsError
from segzs.formats import read
from tests.formats.conftest import difficult_masks, segments_of

SQUARE = [1, 1, 3, 1, 3, 3, 1, 3]
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 5, "height": 4}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE], "score": 0.5},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": {"size": [4, 5], "counts": [4, 8, 8]}},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": {"size": [4, 5], "counts": "48X0"}},
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


def write(folder: Path, known: object, name: str = "people.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(known))
    return path


def changed(known: dict, *path: Any, to: object = None, drop: bool = False) -> dict:
    known = copy.deepcopy(known)
    inner: Any = known
    for key in path[:-1]:
        inner = inner[key]
    if drop:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return known


@pytest.mark.parametrize("known", [COCO, LABELME, SEGZS])
def test_these_files_are_well(tmp_path: Path, known: dict) -> None:
    (one,) = read(write(tmp_path, known))
    assert one.file == "a.jpg"
    assert len(one.segments) == len(known.get("annotations", known.get("shapes", known.get("segments"))))


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (changed(COCO, "images", drop=True), "'images' is missing; a COCO instance file"),
        (changed(COCO, "images", 0, "file_name", drop=True), "'file_name' is missing"),
        (changed(COCO, "images", 0, "width", to="5"), "a side of '5' pixels"),
        (changed(COCO, "images", 0, "width", to=0), "a side of 0 pixels"),
        (changed(COCO, "annotations", 0, "category_id", to=9), "9 is missing"),
        (changed(COCO, "annotations", 0, "segmentation", drop=True), "'segmentation' is missing"),
        (changed(COCO, "annotations", 0, "segmentation", to=[[1, 1, 2, 2]]), "a polygon has 4 numbers"),
        (changed(COCO, "annotations", 0, "segmentation", to=[[*SQUARE[:-1], 1e9]]), "far outside"),
        (changed(COCO, "annotations", 1, "segmentation", "size", to=[5, 4]), r"the size \[5, 4\]"),
        (changed(COCO, "annotations", 1, "segmentation", "counts", to=[4, 8]), "do not|not whole numbers that add up"),
        (changed(COCO, "annotations", 1, "segmentation", "counts", to=[4.5, 15.5]), "not whole numbers"),
        (changed(COCO, "annotations", 2, "segmentation", "counts", to="48X0000"), "Invalid RLE"),
        (changed(COCO, "categories", 0, "name", to=7), "the label is 7; text"),
        (changed(LABELME, "imageWidth", drop=True), "'imageWidth' is missing; a file that labelme wrote"),
        (changed(LABELME, "imageWidth", to=10**9), "1000000000x4 pixels, more than"),
        (changed(LABELME, "shapes", 0, "label", drop=True), "'label' is missing"),
        (changed(LABELME, "shapes", 0, "points", to=[[1, 2, 3]]), "labelme"),
        (changed(LABELME, "shapes", 0, "shape_type", to="mask"), "'mask' is missing"),
        (changed(SEGZS, "format", to="segzs/2"), "its format is 'segzs/2'; what `segzs label --json` prints"),
        (changed(SEGZS, "image", drop=True), "'image' is missing"),
        ({"some": "thing"}, "neither annotations nor shapes nor a format; a COCO instance file, a file of labelme"),
        ([1, 2], "neither annotations nor shapes"),
    ],
)
def test_what_is_wrong_is_said_with_the_files_name(tmp_path: Path, known: object, says: str) -> None:
    path = write(tmp_path, known)
    with pytest.raises(AnnotationError, match=says) as caught:
        list(read(path))
    assert str(path) in str(caught.value)


def test_no_file_no_json_and_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"images": [')
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    (tmp_path / "a.parquet").write_text("no")
    (tmp_path / "lines.jsonl").write_text(json.dumps(SEGZS) + "\n{")
    (tmp_path / "empty").mkdir()
    for name, says in {
        "broken.json": "is no JSON",
        "picture.png": "is no JSON",
        "a.parquet": "a Parquet file that segzs wrote is expected",
        "lines.jsonl": "is no JSON",
        "empty": "has no .json file inside",
        "absent.json": "cannot be read: No such file",
    }.items():
        with pytest.raises(AnnotationError, match=says) as caught:
            list(read(tmp_path / name))
        assert name in str(caught.value)


def test_parquet_of_others_says_which_column_is_missing(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"file": ["a.png"]}), tmp_path / "other.parquet")
    with pytest.raises(AnnotationError, match=r"other.parquet: '\w+' is missing; a Parquet file that segzs wrote"):
        list(read(tmp_path / "other.parquet"))


def places(known: Any, path: tuple = ()) -> list[tuple]:
    pairs = known.items() if isinstance(known, dict) else enumerate(known) if isinstance(known, list) else ()
    return [found for key, value in pairs for found in [(*path, key), *places(value, (*path, key))]]


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})


@given(
    st.sampled_from([COCO, LABELME, SEGZS]).flatmap(lambda k: st.tuples(st.just(k), st.sampled_from(places(k)))), JSON
)
def test_whatever_stands_somewhere_it_is_read_or_a_segzs_error(case: tuple[dict, tuple], value: object) -> None:
    known, place = case
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for broken in (changed(known, *place, to=value), changed(known, *place, drop=True)):
            with suppress(SegzsError):
                list(read(write(Path(folder), broken)))


def test_shapes_that_would_be_drawn_forever_are_refused(tmp_path: Path) -> None:
    for number in (1e308, -1e9, float("nan"), float("inf")):
        known = changed(LABELME, "shapes", 1, "points", to=[[1, 1], [2, number]])
        with pytest.raises(AnnotationError, match="far outside of an image of 5x4"):
            list(read(write(tmp_path, known)))

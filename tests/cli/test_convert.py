"""``segzs convert``: annotations in other formats."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import yaml

import segzs
from segzs import Name, Segment, Segments
from segzs.cli.convert import READABLE, WRITABLE
from segzs.formats import FORMATS, read
from tests.cli.conftest import Run


@pytest.fixture
def run(run: Run) -> Run:
    """Run ``segzs convert``; returns the exit status, stdout and stderr."""
    return partial(run, "convert")


@pytest.fixture
def labelled(tmp_path: Path, scene) -> Path:
    """An output folder of ``segzs label desk.png picnic.png --out``."""
    for name in ("desk", "picnic"):
        expected = scene(name)
        pairs = zip(expected.names, expected.masks, strict=True)
        items = tuple(Segment(mask, 0.9, 0.8, (Name(label, 0.5),)) for label, mask in pairs)
        segments = Segments(segzs.read_image(expected.path), items, "tiny+tiny")
        for ending in ("segzs.json", "coco.json"):
            segzs.save(segments, tmp_path / "out" / f"{name}.{ending}", image_name=f"{name}.png")
    return tmp_path / "out"


def test_names_with_dots_stay_apart(labelled: Path, run: Run) -> None:
    content = (labelled / "desk.segzs.json").read_bytes()
    for number in (1, 2):
        file = labelled / f"desk.{number}.segzs.json"
        file.write_bytes(content)
        assert run(file, "--to", "coco")[0] == 0
    assert {"desk.1.coco.json", "desk.2.coco.json"} <= {path.name for path in labelled.iterdir()}


def test_help_lists_all_formats() -> None:
    assert set(WRITABLE) == set(FORMATS)
    assert set(READABLE) == {format.name for format in FORMATS.values() if format.read}


def test_a_folder_becomes_one_data_set(run: Run, labelled: Path, tmp_path: Path) -> None:
    code, out, err = run(labelled, "--to", "yolo", "--out", tmp_path / "data", "--categories", "pencil, laptop")
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        f"segzs: note: yolo cannot hold {FORMATS['yolo'].loses}",
        f"segzs: wrote {tmp_path / 'data'}: 2 images",
    ]
    names = yaml.safe_load((tmp_path / "data" / "data.yaml").read_text("utf-8"))["names"]
    assert (names[0], names[1]) == ("pencil", "laptop")
    assert sorted(path.name for path in (tmp_path / "data" / "labels").iterdir()) == ["desk.txt", "picnic.txt"]


def test_several_inputs_are_joined_next_to_the_first(run: Run, labelled: Path) -> None:
    code, _, err = run(labelled / "desk.coco.json", labelled / "picnic.segzs.json", "--to", "parquet")
    assert (code, err) == (0, f"segzs: wrote {labelled / 'desk.parquet'}: 2 images\n")
    assert [one.file for one in read(labelled / "desk.parquet")] == ["desk.png", "picnic.png"]


def test_inputs_are_not_overwritten(run: Run, labelled: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in labelled.iterdir()}
    coco = labelled / "desk.coco.json"
    for arguments in (
        (coco, "--to", "coco", "--polygons"),
        (labelled, "--to", "coco", "--out", coco),
        (labelled, "--to", "labelme", "--out", labelled),
    ):
        code, _, err = run(*arguments)
        assert (code, "would overwrite an input" in err) == (2, True)
    assert {path: path.read_bytes() for path in labelled.iterdir()} == before


def test_a_file_of_another_format_is_not_overwritten(run: Run, labelled: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"precious")
    code, _, err = run(labelled, "--to", "cvat", "--out", photo)
    assert (code, "the name of a cvat file ends with .xml" in err) == (2, True)
    code, _, err = run(labelled, "--to", "yolo", "--out", photo)
    assert (code, "is a file; yolo writes a folder" in err) == (1, True)
    assert photo.read_bytes() == b"precious"


def test_repeated_images_are_reported(run: Run, labelled: Path, tmp_path: Path) -> None:
    code, _, err = run(labelled, labelled / "desk.coco.json", "--to", "coco", "--out", tmp_path / "all.json")
    assert code == 0
    assert "note: the inputs repeat 1 image, such as desk.png" in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--to", "yollo"), "unknown format 'yollo'; choose from segzs, coco"),
        (("--to", "yolo", "--polygons"), "unknown option polygons of yolo; choose from categories"),
        (("--to", "coco", "--base", "-5"), "base is -5"),
    ],
)
def test_wrong_use_has_status_2(run: Run, labelled: Path, options: tuple[str, ...], says: str) -> None:
    code, _, err = run(labelled, *options)
    assert (code, says in err) == (2, True)
    assert "wrote" not in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "coco", "--from", "labelme"], "'imagePath' is missing; a labelme file is expected"),
    ],
)
def test_a_failed_conversion_leaves_no_file(run: Run, labelled: Path, options: list[str], says: str) -> None:
    before = sorted(labelled.iterdir())
    code, out, err = run(labelled / "desk.segzs.json", *options)
    assert (code, out) == (1, "")
    assert says in err.splitlines()[-1]
    assert sorted(labelled.iterdir()) == before


def test_a_missing_format_is_wrong_use(run: Run, labelled: Path) -> None:
    code, _, err = run(labelled)
    assert code == 2
    assert "--to" in err

"""``segzs convert``: what was found, or drawn elsewhere, in other formats."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import yaml

import segzs
from segzs import Name, Segment, Segments
from segzs.cli.parser import READ, WRITTEN
from segzs.formats import FORMATS, read
from tests.cli.conftest import Run


@pytest.fixture
def run(run: Run) -> Run:
    """Run ``segzs convert`` here; gives the exit code, stdout and stderr."""
    return partial(run, "convert")


@pytest.fixture
def labeled(tmp_path: Path, scene) -> Path:
    """A folder like that of ``segzs label desk.png picnic.png --out``."""
    for name in ("desk", "picnic"):
        known = scene(name)
        pairs = zip(known.names, known.masks, strict=True)
        items = tuple(Segment(mask, 0.9, 0.8, (Name(label, 0.5),)) for label, mask in pairs)
        segments = Segments(segzs.read_image(known.path), items, "tiny+tiny")
        for ending in ("segzs.json", "coco.json"):
            segzs.save(segments, tmp_path / "out" / f"{name}.{ending}", image_name=f"{name}.png")
    return tmp_path / "out"


def test_help_lists_the_formats_that_there_are() -> None:
    assert set(WRITTEN) == set(FORMATS)
    assert set(READ) == {known.name for known in FORMATS.values() if known.read}


def test_a_folder_becomes_one_data_set(run: Run, labeled: Path, tmp_path: Path) -> None:
    code, out, err = run(labeled, "--to", "yolo", "--out", tmp_path / "data", "--categories", "pencil, laptop")
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        f"segzs: note: yolo has no room for {FORMATS['yolo'].loses}",
        f"segzs: wrote {tmp_path / 'data'}: 2 pictures",
    ]
    names = yaml.safe_load((tmp_path / "data" / "data.yaml").read_text("utf-8"))["names"]
    assert (names[0], names[1]) == ("pencil", "laptop")
    assert sorted(path.name for path in (tmp_path / "data" / "labels").iterdir()) == ["desk.txt", "picnic.txt"]


def test_several_files_become_one_and_stand_beside_the_first(run: Run, labeled: Path) -> None:
    code, _, err = run(labeled / "desk.coco.json", labeled / "picnic.segzs.json", "--to", "parquet")
    assert (code, err) == (0, f"segzs: wrote {labeled / 'desk.parquet'}: 2 pictures\n")
    assert [one.file for one in read(labeled / "desk.parquet")] == ["desk.png", "picnic.png"]


def test_results_take_the_ids_of_the_truth(run: Run, labeled: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    assert (
        run(labeled / "picnic.coco.json", labeled / "desk.coco.json", "--to", "coco", "--base", "5", "--out", truth)[0]
        == 0
    )
    assert run(labeled, "--to", "coco-results", "--like", truth, "--out", tmp_path / "found.json")[0] == 0
    known = json.loads(truth.read_text("utf-8"))
    assert min(category["id"] for category in known["categories"]) == 5
    pairs = {(row["image_id"], row["category_id"], str(row["segmentation"])) for row in known["annotations"]}
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert {(row["image_id"], row["category_id"], str(row["segmentation"])) for row in found} == pairs


def test_nothing_that_is_read_is_written_over(run: Run, labeled: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in labeled.iterdir()}
    coco = labeled / "desk.coco.json"
    for arguments in (
        (coco, "--to", "coco", "--polygons"),
        (labeled, "--to", "coco", "--out", coco),
        (labeled, "--to", "coco-results", "--like", coco, "--out", coco),
        (labeled, "--to", "labelme", "--out", labeled),
    ):
        code, _, said = run(*arguments)
        assert (code, "a part of what is read" in said) == (2, True)
    assert {path: path.read_bytes() for path in labeled.iterdir()} == before


def test_a_file_of_another_kind_is_not_written_over(run: Run, labeled: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"precious")
    code, _, said = run(labeled, "--to", "cvat", "--out", photo)
    assert (code, "the name of a file of cvat ends with .xml" in said) == (2, True)
    code, _, said = run(labeled, "--to", "yolo", "--out", photo)
    assert (code, "is a file; yolo writes a folder" in said) == (1, True)
    assert photo.read_bytes() == b"precious"


def test_pictures_that_come_twice_are_said(run: Run, labeled: Path, tmp_path: Path) -> None:
    code, _, said = run(labeled, labeled / "desk.coco.json", "--to", "coco", "--out", tmp_path / "all.json")
    assert code == 0
    assert "note: 1 picture came more than once, and so are written; the first: desk.png" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--to", "yollo"), "the format 'yollo' is unknown; segzs, coco"),
        (("--to", "yolo", "--polygons"), "yolo does not take polygons; it takes categories"),
        (("--to", "coco", "--base", "-5"), "base is -5"),
    ],
)
def test_wrong_use_has_a_status_of_its_own(run: Run, labeled: Path, options: tuple[str, ...], says: str) -> None:
    code, _, said = run(labeled, *options)
    assert (code, says in said) == (2, True)
    assert "wrote" not in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "coco", "--from", "labelme"], "'imagePath' is missing; a file that labelme wrote"),
        (["--to", "coco-results", "--like", "absent.json"], "absent.json cannot be read: No such file"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(run: Run, labeled: Path, options: list[str], says: str) -> None:
    before = sorted(labeled.iterdir())
    code, out, err = run(labeled / "desk.segzs.json", *options)
    assert (code, out) == (1, "")
    assert says in err.splitlines()[-1]
    assert sorted(labeled.iterdir()) == before


def test_a_missing_format_is_wrong_use(run: Run, labeled: Path) -> None:
    code, _, err = run(labeled)
    assert code == 2
    assert "--to" in err

"""``segzs find``, ``segzs classify``, ``--examples`` and ``--detections``."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest

import segzs
import segzs.loading
from segzs.clip.support_set import SupportSet
from tests.cli.conftest import Run
from tests.conftest import EXAMPLES

DESK = EXAMPLES / "desk.png"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A folder with a folder of images for each label."""
    with PIL.Image.open(DESK) as desk:
        for name, box in (("fern", (41, 22, 195, 224)), ("computer", (258, 45, 502, 258))):
            (tmp_path / "examples" / name).mkdir(parents=True)
            desk.crop(box).save(tmp_path / "examples" / name / "1.png")
    return tmp_path / "examples"


@pytest.mark.slow
def test_find_prints_matches_or_no_objects(run: Run, tmp_path: Path) -> None:
    few = ("--points-per-side", "6", "--no-cache")
    code, printed, err = run("find", DESK, "the laptop", *few, "--json", "--out", tmp_path)
    (best, *_) = json.loads(printed)["segments"]
    assert (code, best["name"]) == (0, "the laptop")
    assert best["probability"] > 0.5
    assert err.count("wrote") == 3
    assert (tmp_path / "desk.overlay.png").is_file()
    code, printed, _ = run("find", DESK, "zebra", *few)
    assert (code, printed) == (0, "no objects found\n")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "give what to look for: either words, or an image with --like FILE"),
        (["mug", "--like", "mug.png"], 2, "give what to look for"),
        (["mug", "--score-threshold", "3"], 2, "score_threshold is 3.0"),
        (["mug", "--tiles", "99"], 2, "tiles is 99"),
        (["mug", "--merge"], 2, "unrecognized arguments: --merge"),
        (["--like", "absent.png"], 1, "absent.png: no such file"),
    ],
)
def test_wrong_use_of_find(run: Run, arguments: list[str], code: int, says: str) -> None:
    ended, printed, err = run("find", DESK, *arguments, "--no-cache")
    assert (ended, printed) == (code, "")
    assert says in err


@pytest.mark.slow
def test_classify_files_and_folders_without_sam(run: Run, examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segzs.loading, "load_sam", None)
    labels = ("--labels", "laptop,cactus", "--no-cache")
    code, printed, err = run("classify", examples, examples / "fern" / "1.png", *labels)
    header, first, second = (line.split() for line in printed.strip().splitlines())  # each image once
    assert (code, err) == (0, "")
    assert header == ["file", "name", "probability"]
    assert first[:2] == [str(examples / "computer" / "1.png"), "laptop"]
    assert second[1] == "cactus"

    (examples / "fern" / "2.png").write_text("no image")
    code, printed, err = run("classify", examples, *labels, "--json")
    lines = [json.loads(line) for line in printed.splitlines()]
    assert (code, [line["label"] for line in lines]) == (1, ["laptop", "cactus"])
    assert set(lines[0]) == {"file", "label", "probability", "names"}
    assert f"error: {examples / 'fern' / '2.png'} is not an image" in err
    assert "1 of 3 images failed" in err
    assert run("classify", examples, *labels, "--glob", "computer/*")[0] == 0


@pytest.mark.slow
def test_examples_of_a_folder_and_of_a_file(
    run: Run, examples: Path, tmp_path: Path, segmenter: segzs.Segmenter
) -> None:
    for name, options in (("classify", ()), ("label", ("--box", "18,21,220,224"))):
        image = examples / "fern" / "1.png" if name == "classify" else DESK
        arguments = (name, image, "--labels", "mouse", "--examples", examples, "--json", "--no-cache", *options)
        code, printed, _ = run(*arguments)
        row = json.loads(printed)
        assert (code, row.get("label") or row["segments"][0]["name"]) == (0, "fern")
    with PIL.Image.open(examples / "fern" / "1.png") as fern:
        kept = segmenter.with_examples({"my fern": fern}).examples
    assert isinstance(kept, SupportSet)
    kept.save(tmp_path / "kept.safetensors")
    code, printed, _ = run(
        "classify", examples / "fern", "--labels", "mouse", "--examples", tmp_path / "kept.safetensors", "--json"
    )
    assert (code, json.loads(printed)["label"]) == (0, "my fern")


def test_wrong_examples(run: Run, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, says in (
        (tmp_path / "empty", "a folder of images for each label is expected"),
        (tmp_path / "absent.safetensors", "is not a file that SupportSet.save wrote"),
    ):
        code, _, err = run("classify", examples, "--examples", path)
        assert (code, err.startswith("segzs: error:")) == (1, True)
        assert says in err


@pytest.mark.slow
def test_detections_are_segmented_and_named(run: Run, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text(json.dumps([{"image_id": 1, "category_id": 1, "bbox": [258, 45, 244, 213], "score": 0.9}]))
    arguments = ("--detections", results, "--labels", "laptop,cactus", "--json", "--no-cache")
    code, printed, _ = run("label", DESK, *arguments)
    assert (code, [segment["name"] for segment in json.loads(printed)["segments"]]) == (0, ["laptop"])
    for images, wrong in (((DESK,), ("--point", "3,4")), ((DESK,), ("--tiles", "2")), ((DESK, DESK), ())):
        code, _, err = run("label", *images, *arguments, *wrong)
        assert (code, "--detections takes one image" in err) == (2, True)
    results.write_text("[")
    code, _, err = run("label", DESK, *arguments)
    assert (code, "is not JSON" in err) == (1, True)

"""``segzs evaluate`` on the example scenes."""

import json
from pathlib import Path

import PIL.Image
import pytest

from tests.cli.conftest import Run
from tests.conftest import EXAMPLES
from tests.evaluate.conftest import Write, write_coco  # noqa: F401


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_a_coco_file(run: Run, write_coco: Write, tmp_path: Path) -> None:  # noqa: F811
    options = ("--objects-per-image", "2", "--clicks", "5", "--points-per-side", "3", "--no-cache")
    code, out, err = run(
        "evaluate",
        write_coco("desk", "picnic"),
        "--images",
        EXAMPLES,
        *options,
        "--out",
        "report",
    )
    assert code == 0, err
    for title in ("IoU after 5 clicks", "clicks to 90 % IoU", "average recall", "top-1", '"unknown": AUROC'):
        assert title in out
    assert "desk (source)" in out
    content = json.loads(Path("report/report.json").read_text())
    assert (content["images"], content["objects"], content["model"]) == (2, 4, "tiny+tiny")
    assert 0.5 < content["figures"]["iou_box"]["value"] <= 1
    top_1 = content["figures"]["top_1"]
    assert top_1["low"] <= top_1["value"] <= top_1["high"]
    assert f"| {content['figures']['iou_1']['value']:.3f} |" in Path("report/report.md").read_text()


@pytest.mark.slow
def test_a_folder_of_classes(run: Run) -> None:
    for name in ("laptop", "key"):
        Path(f"classes/{name}").mkdir(parents=True)
        PIL.Image.open(EXAMPLES / "desk.png").crop((258, 45, 502, 258)).save(f"classes/{name}/1.png")
    code, out, err = run("evaluate", "classes", "--out", "report", "--no-cache", "--limit", "1")
    assert code == 0, err
    assert "segzs: 1 object in 1 image; loading models" in err
    assert not [line for line in out.splitlines() if line != line.rstrip() or not line]
    code, out, err = run("evaluate", "classes", "--out", "report", "--no-cache")
    assert code == 0, err
    assert "names: top-1" in out
    content = json.loads(Path("report/report.json").read_text())
    assert content["figures"]["top_1"]["value"] == 0.5  # the same image is both
    assert content["figures"]["top_5"]["value"] == 1


@pytest.mark.slow
def test_folders_with_ids_for_names(run: Run) -> None:
    for name in ("n01", "n02"):
        Path(f"classes/{name}").mkdir(parents=True)
        PIL.Image.open(EXAMPLES / "desk.png").crop((258, 45, 502, 258)).save(f"classes/{name}/1.png")
    code, _, err = run("evaluate", "classes", "--labels", "laptop,key", "--out", "report", "--no-cache")
    assert code == 0, err
    assert "n01 is 'laptop'" in err
    assert set(json.loads(Path("report/report.json").read_text())["by_category"]) == {"laptop", "key"}


def test_a_report_does_not_overwrite_inputs(run: Run, write_coco: Write) -> None:  # noqa: F811
    truth = write_coco("desk").rename("report.json")
    before = truth.read_bytes()
    code, _, err = run("evaluate", truth, "--images", EXAMPLES, "--what", "names", "--out", ".")
    assert (code, "would overwrite an input" in err, "loading" in err) == (2, True, False)
    assert truth.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("gone.json",), 1, "gone.json cannot be read"),
        (("empty",), 1, "has no folders in it"),
        (("results.json",), 1, "results.json: it is a list, as COCO results are; a COCO instance file is expected"),
        (("classes", "--out", "results.json"), 1, "results.json is a file; give a folder"),
        (("other.json",), 1, "is missing; a COCO instance file is expected"),
        (("classes", "--what", "masks"), 2, "use --what names"),
        (("other.json", "--what", "namse"), 2, "cannot measure namse; choose from masks, everything, names"),
        (("classes", "--labels", "cow,sheep"), 2, "none of the annotated names (cat) is among the labels (cow, sheep)"),
    ],
)
def test_wrong_use_is_one_clear_line(run: Run, arguments: tuple[str, ...], status: int, message: str) -> None:
    Path("empty").mkdir()
    Path("classes/cat").mkdir(parents=True)
    PIL.Image.new("RGB", (9, 9)).save("classes/cat/1.png")
    Path("other.json").write_text("{}")
    Path("results.json").write_text("[]")
    code, out, err = run("evaluate", *arguments, "--quiet", "--no-cache")
    assert (code, out) == (status, "")
    assert message in err
    assert err.count("\n") == 1

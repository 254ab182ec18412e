"""``segzs index`` and ``segzs search``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segzs.dataset.directory import label_directory
from tests.cli.conftest import Run
from tests.conftest import EXAMPLES
from tests.dataset.truth import TruthLabeller

pytest.importorskip("lancedb", reason="the search needs lancedb: pip install 'segzs[search]'")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output folder of a directory with one image."""
    (tmp_path / "photos").mkdir()
    shutil.copy(EXAMPLES / "desk.png", tmp_path / "photos")
    list(label_directory(TruthLabeller(), tmp_path / "photos", tmp_path / "out"))
    return tmp_path / "out"


@pytest.mark.slow
def test_index_then_search(run: Run, out: Path, tmp_path: Path) -> None:
    code, printed, err = run("search", out, "red apple")
    assert (code, printed) == (1, "")
    assert err == f"segzs: error: {out} has no index yet; run: segzs index {out}\n"

    code, printed, err = run("index", out)
    assert (code, printed) == (0, "")
    assert "segments in the index; 1 image added, 0 removed" in err

    code, printed, err = run("search", out, "red apple", "-n", "2")
    header, first, _second = printed.strip().splitlines()
    assert (code, err) == (0, "")
    assert header.split() == ["score", "file", "name", "box"]
    assert "desk.png" in first

    code, printed, err = run("search", out, "red apple", "-n", "2", "--json", "--sheet", tmp_path / "sheet.png")
    best, _ = map(json.loads, printed.splitlines())
    assert (code, err) == (0, f"segzs: wrote {tmp_path / 'sheet.png'}\n")
    assert set(best) == {"score", "file", "segment", "name", "probability", "box", "sha256"}
    assert not [line for line in printed.splitlines() if line != line.rstrip()]
    assert f"{best['score']:.3f}" == first.split()[0]
    x1, y1, x2, y2 = best["box"]
    assert x1 <= 92 <= x2  # the apple
    assert y1 <= 500 <= y2
    with PIL.Image.open(tmp_path / "sheet.png") as sheet:
        assert (
            len(np.unique(np.asarray(sheet.convert("RGB"))[8:208, 8:208].reshape(-1, 3), axis=0)) > 1000
        )  # a crop, not a grey square

    with PIL.Image.open(EXAMPLES / "desk.png") as image:
        image.crop((x1, y1, x2, y2)).save(tmp_path / "crop.png")
    _, printed, _ = run("search", out, "--like", tmp_path / "crop.png", "-n", "1", "--json")
    assert json.loads(printed)["box"] == best["box"]


@pytest.mark.slow
def test_a_removed_image_is_reported_once(run: Run, out: Path, tmp_path: Path) -> None:
    run("index", out, "--quiet")
    (tmp_path / "photos" / "desk.png").unlink()
    code, _, err = run("search", out, "key", "-n", "3", "--sheet", tmp_path / "sheet.png")
    assert code == 0
    assert err.count("desk.png") == 1
    assert "note: 3 matches without an image, which was removed or changed, such as desk.png" in err
    shutil.rmtree(out / "search.lance")
    code, _, err = run("index", out, "--quiet")
    assert code == 1
    assert "error: 1 image skipped, such as desk.png: " in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "give what to look for: words, an image with --like FILE, or both"),
        ([""], 2, "among the queries"),
        (["--like", "absent.png"], 1, "absent.png: no such file"),
        (["apple", "--clip", "no-such-model:tag"], 2, "no-such-model"),
        (["apple", "--sheet", "sheet.md"], 2, "--sheet sheet.md must end with one of .png, .jpg"),
    ],
)
def test_wrong_use_of_search(run: Run, out: Path, arguments: list[str], code: int, says: str) -> None:
    run("index", out)
    ended, _, err = run("search", out, *arguments)
    assert ended == code
    assert says in err.splitlines()[-1]


def test_results_of_a_cluster_cannot_be_searched(run: Run, tmp_path: Path) -> None:
    (tmp_path / "parquet" / "segments").mkdir(parents=True)
    (tmp_path / "parquet" / "segments" / "000000.parquet").touch()
    for command in (["index", tmp_path / "parquet"], ["search", tmp_path / "parquet", "apple"]):
        code, _, err = run(*command)
        assert code == 1
        assert "holds the results of a cluster, which cannot be searched" in err


@pytest.mark.slow
def test_a_sheet_does_not_overwrite_an_image(run: Run, out: Path, tmp_path: Path) -> None:
    run("index", out)
    photo = tmp_path / "photos" / "desk.png"
    before = photo.read_bytes()
    code, printed, err = run("search", out, "apple", "--sheet", photo)
    assert (code, printed) == (2, "")
    assert "desk.png would overwrite an input" in err
    assert photo.read_bytes() == before
    assert run("search", out, "apple", "--sheet", photo.with_name("sheet.png"))[0] == 0


@pytest.mark.slow
def test_the_path_of_a_local_clip_must_be_given(run: Run, out: Path) -> None:
    file = out / "segzs-run.json"
    values = json.loads(file.read_text("utf-8"))
    values["settings"]["clip"]["name"] = "local:mine"
    file.write_text(json.dumps(values), "utf-8")
    code, _, err = run("index", out)
    assert code == 1
    assert "was made with the CLIP local:mine; give its path with --clip" in err
    assert run("index", out, "--clip", "tiny")[0] == 0
    assert run("search", out, "apple")[0] == 0

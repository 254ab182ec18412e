"""``segzs index`` and ``segzs search`` as a user runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import PIL.Image
import pytest

from segzs.dataset.directory import label_directory
from tests.cli.conftest import Run
from tests.conftest import EXAMPLES
from tests.dataset.known import KnownLabeller

pytest.importorskip("lancedb", reason="the search needs lancedb: pip install 'segzs[search]'")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A directory of one picture, labelled."""
    (tmp_path / "photos").mkdir()
    shutil.copy(EXAMPLES / "desk.png", tmp_path / "photos")
    list(label_directory(KnownLabeller(), tmp_path / "photos", tmp_path / "out"))
    return tmp_path / "out"


def test_index_then_search(run: Run, out: Path, tmp_path: Path) -> None:
    code, printed, said = run("search", out, "red apple")
    assert (code, printed) == (1, "")
    assert said == f"segzs: error: {out} has no index yet; run: segzs index {out}\n"

    code, printed, said = run("index", out)
    assert (code, printed) == (0, "")
    assert "segments in the index: 1 picture came, 0 went" in said

    code, printed, said = run("search", out, "red apple", "-n", "2")
    header, first, _second = printed.strip().splitlines()
    assert (code, said) == (0, "")
    assert header.split() == ["score", "file", "name", "box"]
    assert "desk.png" in first

    code, printed, said = run("search", out, "red apple", "-n", "2", "--json", "--sheet", tmp_path / "found.png")
    best, _ = map(json.loads, printed.splitlines())
    assert (code, said) == (0, f"segzs: wrote {tmp_path / 'found.png'}\n")
    assert set(best) == {"score", "file", "segment", "name", "probability", "box", "sha256"}
    assert not [line for line in printed.splitlines() if line != line.rstrip()]
    assert f"{best['score']:.3f}" == first.split()[0]
    x1, y1, x2, y2 = best["box"]
    assert x1 <= 92 <= x2  # where the apple lies
    assert y1 <= 500 <= y2
    with PIL.Image.open(tmp_path / "found.png") as sheet:
        assert len(set(sheet.convert("RGB").crop((8, 8, 208, 208)).getdata())) > 1000  # a picture, no grey square

    with PIL.Image.open(EXAMPLES / "desk.png") as picture:
        picture.crop((x1, y1, x2, y2)).save(tmp_path / "crop.png")
    _, printed, _ = run("search", out, "--like", tmp_path / "crop.png", "-n", "1", "--json")
    assert json.loads(printed)["box"] == best["box"]


def test_a_picture_that_has_gone_is_said_once(run: Run, out: Path, tmp_path: Path) -> None:
    run("index", out, "--quiet")
    (tmp_path / "photos" / "desk.png").unlink()
    code, _, said = run("search", out, "key", "-n", "3", "--sheet", tmp_path / "found.png")
    assert code == 0
    assert said.count("desk.png") == 1
    assert "note: 3 left grey, gone or changed since they were labelled; the first: desk.png" in said
    shutil.rmtree(out / "search.lance")
    code, _, said = run("index", out, "--quiet")
    assert code == 1
    assert "error: 1 skipped, gone or changed since they were labelled; the first: " in said
    assert said.count("desk.png") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "say what to look for: either words, or a picture with --like FILE"),
        (["apple", "--like", "crop.png"], 2, "say what to look for"),
        ([""], 2, "the query is ''; words are expected"),
        (["--like", "absent.png"], 1, "absent.png: no such file"),
        (["apple", "--clip", "no-such-model:tag"], 2, "no-such-model"),
        (["apple", "--sheet", "found.md"], 2, "found.md: the name of a picture ends with .png, .jpg"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, out: Path, arguments: list[str], code: int, says: str) -> None:
    run("index", out)
    ended, _, said = run("search", out, *arguments)
    assert ended == code
    assert says in said.splitlines()[-1]


def test_results_of_a_cluster_are_said_to_be_such(run: Run, tmp_path: Path) -> None:
    (tmp_path / "parquet" / "segments").mkdir(parents=True)
    (tmp_path / "parquet" / "segments" / "000000.parquet").touch()
    for command in (["index", tmp_path / "parquet"], ["search", tmp_path / "parquet", "apple"]):
        code, _, said = run(*command)
        assert code == 1
        assert "holds the results of a cluster, which cannot be searched; segzs label DIR --out without --ray" in said


def test_a_sheet_takes_the_place_of_no_photo(run: Run, out: Path, tmp_path: Path) -> None:
    run("index", out)
    photo = tmp_path / "photos" / "desk.png"
    before = photo.read_bytes()
    code, printed, said = run("search", out, "apple", "--sheet", photo)
    assert (code, printed) == (2, "")
    assert "desk.png would overwrite an input" in said
    assert photo.read_bytes() == before
    assert run("search", out, "apple", "--sheet", photo.with_name("found.png"))[0] == 0


def test_a_clip_that_is_nowhere_is_asked_for(run: Run, out: Path) -> None:
    file = out / "segzs-run.json"
    values = json.loads(file.read_text("utf-8"))
    values["settings"]["clip"]["name"] = "local:mine"
    file.write_text(json.dumps(values), "utf-8")
    code, _, said = run("index", out)
    assert code == 1
    assert "was made with the CLIP local:mine; say with --clip where it is" in said
    assert run("index", out, "--clip", "tiny")[0] == 0
    assert run("search", out, "apple")[0] == 0

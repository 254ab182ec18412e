"""``segzs label DIR``: options, exit status and interruption."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import PIL.Image
import pytest

import segzs
from segzs.cli.main import main
from segzs.formats.native import read_lines
from tests.cli.conftest import Run
from tests.conftest import EXAMPLES

pytestmark = pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")


@pytest.fixture
def run(run: Run, segmenter: segzs.Segmenter, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``segzs label`` with models that are already loaded; returns the exit status, stdout and stderr."""
    monkeypatch.setattr(segzs, "load", lambda *_, **__: segmenter)
    return partial(run, "label", "--points-per-side", "2")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images, and a text file with the suffix of an image."""
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        with PIL.Image.open(EXAMPLES / "desk.png") as image:
            image.crop((0, 0, 300, 240 if name < "b" else 200)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "bad.jpg").write_text("words")
    return tmp_path / "photos"


def test_a_directory_with_a_damaged_image(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, err = run(photos, "--out", out, "--overlays")
    assert (code, printed) == (1, "")
    assert "error: bad.jpg: " in err
    assert f"2 of 3 images labelled: {out / 'segments.jsonl'}; 1 failed: {out / 'failures.jsonl'}" in err
    assert [record.file for record in read_lines(out / "segments.jsonl")] == ["a/1.png", "b/1.png"]
    assert len(list((out / "overlays").rglob("*.png"))) == 2


def test_json_prints_the_lines_of_the_file(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").unlink()
    for _ in range(2):  # results of the first run are printed, too
        code, printed, _ = run(photos, "--out", tmp_path / "out", "--json", "--glob", "a/*", "--glob", "b/*", "--quiet")
        assert code == 0
        assert printed == (tmp_path / "out" / "segments.jsonl").read_text("utf-8")


@pytest.mark.slow
def test_quiet_prints_only_errors(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").unlink()
    assert run(photos, "--out", tmp_path / "out", "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "give a folder for them: --out DIR"),
        (["--out", "out", "--point", "1,2"], "--point and --box cannot be used with a directory"),
        (["elsewhere.png", "--out", "out", "--overlays"], "--overlays cannot be used with image files"),
        (["elsewhere.png", "--glob", "*.png"], "--glob cannot be used with image files"),
    ],
)
def test_options_that_exclude_each_other(photos: Path, options: list[str], says: str, capsys, monkeypatch) -> None:
    monkeypatch.chdir(photos.parent)
    assert main(["label", str(photos), *options]) == 2
    assert says in capsys.readouterr().err


def test_a_directory_without_images(run: Run, photos: Path, tmp_path: Path) -> None:
    code, _, err = run(photos, "--out", tmp_path / "out", "--glob", "*.gif")
    assert code == 1
    assert re.search(r"none of \d+ files in \S+ \(0 match '\*.gif'\) is an image", err)
    assert "loading" not in err


@pytest.mark.slow
def test_other_labels_are_refused(run: Run, photos: Path, tmp_path: Path, segmenter, monkeypatch) -> None:
    run(photos, "--out", tmp_path / "out")
    monkeypatch.setattr(segzs, "load", lambda *_, **__: segmenter.with_labels(["cat", "dog"]))
    code, _, err = run(photos, "--out", tmp_path / "out")
    assert code == 2
    assert 'labels was ["' in err
    assert 'now ["cat", "dog"]' in err


@pytest.mark.slow
def test_after_an_interrupt_the_command_resumes(run: Run, photos: Path, tmp_path: Path, monkeypatch) -> None:
    everything = segzs.Segmenter.everything

    def interrupted(segmenter: segzs.Segmenter, photo: segzs.EncodedImage, **options: object) -> segzs.Segments:
        if photo.image.height == 200:  # the second
            raise KeyboardInterrupt
        return everything(segmenter, photo, **options)

    with monkeypatch.context() as patch:
        patch.setattr(segzs.Segmenter, "everything", interrupted)
        code, _, err = run(photos, "--out", tmp_path / "out")
    assert code == 130
    assert "1 of 3 images done; repeat the command to resume" in err
    assert run(photos, "--out", tmp_path / "out")[0] == 1
    assert len(list(read_lines(tmp_path / "out" / "segments.jsonl"))) == 2

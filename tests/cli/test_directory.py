"""``segzs label DIR``: options, exit status, progress and interruption."""

from __future__ import annotations

import io
import itertools
import re
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import PIL.Image
import pytest

import segzs
from segzs.cli import directory
from segzs.cli.main import main
from segzs.formats.native import read_lines
from tests.cli.conftest import Run
from tests.conftest import EXAMPLES

pytestmark = pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")


@pytest.fixture
def run(run: Run, segmenter: segzs.Segmenter, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``segzs label`` with the models that are loaded already; gives the exit code, stdout and stderr."""
    monkeypatch.setattr(segzs, "load", lambda *_, **__: segmenter)
    return partial(run, "label", "--points-per-side", "2")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures and a text named as one."""
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        with PIL.Image.open(EXAMPLES / "desk.png") as picture:
            picture.crop((0, 0, 300, 240 if name < "b" else 200)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "bad.jpg").write_text("words")
    return tmp_path / "photos"


def test_a_directory_is_labelled_and_its_bad_picture_is_told_of(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, said = run(photos, "--out", out, "--overlays")
    assert (code, printed) == (1, "")
    assert "error: bad.jpg: " in said
    assert f"2 of 3 pictures labelled: {out / 'segments.jsonl'}; 1 failed: {out / 'failures.jsonl'}" in said
    assert [record.file for record in read_lines(out / "segments.jsonl")] == ["a/1.png", "b/1.png"]
    assert len(list((out / "overlays").rglob("*.png"))) == 2


def test_json_prints_the_lines_of_the_file(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").unlink()
    for _ in range(2):  # what was done before is printed as well
        code, printed, _ = run(photos, "--out", tmp_path / "out", "--json", "--glob", "a/*", "--glob", "b/*", "--quiet")
        assert code == 0
        assert printed == (tmp_path / "out" / "segments.jsonl").read_text("utf-8")


def test_quiet_is_quiet_about_all_but_errors(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").unlink()
    assert run(photos, "--out", tmp_path / "out", "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "say with --out DIR"),
        (["--out", "out", "--point", "1,2"], "leave out --point and --box"),
        (["elsewhere.png", "--out", "out", "--overlays"], "--glob and --overlays go with a directory"),
        (["elsewhere.png", "--glob", "*.png"], "--glob and --overlays go with a directory"),
    ],
)
def test_options_that_do_not_go_with_a_directory(
    photos: Path, options: list[str], says: str, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(photos.parent)
    assert main(["label", str(photos), *options]) == 2
    assert says in capsys.readouterr().err


def test_a_directory_without_pictures(run: Run, photos: Path, tmp_path: Path) -> None:
    code, _, said = run(photos, "--out", tmp_path / "out", "--glob", "*.gif")
    assert code == 1
    assert re.search(r"none of \d+ files in \S+ or below matches '\*.gif'", said)
    assert "loading" not in said


def test_other_labels_are_refused(run: Run, photos: Path, tmp_path: Path, segmenter, monkeypatch) -> None:
    run(photos, "--out", tmp_path / "out")
    monkeypatch.setattr(segzs, "load", lambda *_, **__: segmenter.with_labels(["cat", "dog"]))
    code, _, said = run(photos, "--out", tmp_path / "out")
    assert code == 2
    assert 'labels was ["' in said
    assert 'now ["cat", "dog"]' in said


def test_progress_has_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(directory, "SECONDS_BETWEEN_LINES", 0)
    with directory.progress(3, lines.append, on_terminal=False) as advance:
        for _ in range(3):
            time.sleep(0.01)
            advance()
    assert [line.split(",")[0] for line in lines] == ["1 of 3", "2 of 3", "3 of 3"]
    for line, left in zip(lines, "110", strict=True):  # the first as well
        assert re.fullmatch(rf"\d of 3, [1-9][0-9.]+ pictures/s, 0:00:0{left} left", line)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with directory.progress(3, lines.append, on_terminal=True) as advance:
        advance()
        time.sleep(0.2)
    assert "1/3" in sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert len(lines) == 3


def test_pictures_of_an_earlier_run_say_nothing_of_the_pace(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "bad.jpg").unlink()
    for number in range(30):
        shutil.copy(photos / "a" / "1.png", photos / "a" / f"again-{number}.png")
    later = photos / "b" / "1.png"
    later.rename(tmp_path / "later.png")
    assert run(photos, "--out", tmp_path / "out")[0] == 0
    (tmp_path / "later.png").rename(later)
    monkeypatch.setattr(directory, "SECONDS_BETWEEN_LINES", 0)
    clock = itertools.count(step=60)
    monkeypatch.setattr(directory, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    _, _, said = run(photos, "--out", tmp_path / "out")
    *before, last = [line for line in said.splitlines() if " of 32" in line and "labelled" not in line]
    assert before == [f"segzs: {number} of 32" for number in range(1, 32)]  # no pace before one is known
    assert last == "segzs: 32 of 32, 60 s a picture, 0:00:00 left"


def test_an_interrupt_is_said_with_how_to_go_on(run: Run, photos: Path, tmp_path: Path, monkeypatch) -> None:
    everything = segzs.Segmenter.everything

    def interrupted(segmenter: segzs.Segmenter, photo: segzs.EncodedImage, **options: object) -> segzs.Segments:
        if photo.image.height == 200:  # the second
            raise KeyboardInterrupt
        return everything(segmenter, photo, **options)

    with monkeypatch.context() as patch:
        patch.setattr(segzs.Segmenter, "everything", interrupted)
        code, _, said = run(photos, "--out", tmp_path / "out")
    assert code == 130
    assert "1 of 3 pictures done; the same command goes on from there" in said
    assert run(photos, "--out", tmp_path / "out")[0] == 1
    assert len(list(read_lines(tmp_path / "out" / "segments.jsonl"))) == 2

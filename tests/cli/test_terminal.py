"""Messages, tables, progress, and closed streams."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segzs.cli import terminal
from segzs.cli.terminal import message, print_table, progress, share_progress
from tests.conftest import EXAMPLES

ROOT = Path(__file__).parents[2]
SEGZS = f"{sys.executable} -m segzs"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_message_is_one_line_of_limited_length(capsys: pytest.CaptureFixture[str]) -> None:
    message("error: two\nlines")
    message("x" * 10_000)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "segzs: error: two lines"
    assert len(second) < 3000


def test_columns_are_aligned_also_for_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("name", "score"), ("自転車", "1"), ("a cat", "2"), ("", "")])
    assert capsys.readouterr().out == "name    score\n自転車  1\na cat   2\n\n"


def test_progress_prints_lines_where_stderr_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "SECONDS_BETWEEN_LINES", 0)
    with progress(3) as advance:
        for _ in range(3):
            time.sleep(0.01)
            advance(1)
    with share_progress("a.png") as report:
        report(0.25)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines if "images" in line][-1] == "segzs: 3 of 3 images"
    assert any(line.startswith("segzs: a.png: 25 %") for line in lines)


def test_progress_prints_nothing_within_the_first_seconds_or_if_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        with progress(3, quiet=quiet) as advance:
            advance(2)
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(3) as advance:
        time.sleep(0.2)
        advance(1)
    assert "1/3" in sys.stderr.getvalue()  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", "2>&1 | head -c 0", "> /dev/full"])
def test_files_are_written_where_streams_are_closed(streams: str, tmp_path: Path) -> None:
    options = "--point 380,150 --no-cache --json"
    done = shell(f"{SEGZS} label {EXAMPLES / 'desk.png'} {options} --out {tmp_path} {streams}")
    assert "Traceback" not in done.stderr
    assert len(list(tmp_path.iterdir())) == 3
    if streams == "> /dev/full":
        assert (done.returncode, "No space left" in done.stderr) == (1, True)


def test_a_command_that_writes_no_files_stops_when_its_reader_ends() -> None:
    done = shell(f"set -o pipefail; {SEGZS} models | head -1")
    assert len(done.stdout.splitlines()) == 1
    assert (done.returncode, done.stderr) in ((0, ""), (1, ""))


@pytest.mark.slow
def test_warnings_as_errors_do_not_stop_a_command() -> None:
    done = shell(f"{sys.executable} -W error -m segzs label {EXAMPLES / 'desk.png'} --point 380,150 --no-cache")
    assert done.returncode == 0, done.stderr

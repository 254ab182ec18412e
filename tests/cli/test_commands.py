"""Commands with models that are already loaded, or none: what they print, write and refuse."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import segzs
from segzs.cli.parser import _examples, parse_labels
from segzs.cli.serve import _is_loopback, _listen, _port, _token
from segzs.dataset.pipeline import Failure
from segzs.errors import ImageError, UsageError, VocabularyError
from segzs.search.index import IndexReport, Match
from tests.cli.conftest import Run


def draw(path: Path, colour: tuple[int, int, int] = (200, 30, 30)) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    PIL.Image.new("RGB", (60, 40), colour).save(path)
    return path


@pytest.mark.filterwarnings("ignore::segzs.UnfamiliarWarning")
def test_classify_prints_a_line_for_each_image_that_can_be_read(
    run: Run, segmenter: segzs.Segmenter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("segzs.loading.load_classifier", lambda **_: segmenter.classifier)
    good, bad = draw(tmp_path / "red.png"), tmp_path / "bad.png"
    bad.write_text("no")
    code, out, err = run("classify", tmp_path, good, "--json")
    (row,) = map(json.loads, out.splitlines())
    assert (code, row["file"]) == (1, str(good))
    assert row["names"][0] == {"label": row["label"], "probability": row["probability"]}
    assert f"error: {bad} is not an image" in err
    assert "1 of 2 images failed" in err
    code, out, _ = run("classify", good)
    assert (code, out.split()[:4]) == (0, ["file", "name", "probability", str(good)])
    assert run("classify", bad)[:2] == (1, "")


class Index:
    """An index with two matches, the image of one of which is gone."""

    root = Path("photos")
    matches = (
        Match(0.75, "a/red.png", 0, "cup", 0.5, (0, 0, 9, 9), "5a"),
        Match(0.5, "b.png", 3, "key", 0.25, (1, 2, 3, 4), "5b"),
    )

    def search(self, text: str | None, *, like: Any, limit: int) -> list[Match]:
        return list(self.matches[:limit])

    def crops(self, matches: list[Match]) -> list[np.ndarray | None]:
        return [np.zeros((9, 9, 3), np.uint8), None][: len(matches)]


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segzs.search.index.load_clip_for", lambda *_: None)
    monkeypatch.setattr("segzs.search.index.SegmentIndex.open", lambda *_: Index())


@pytest.mark.usefixtures("index")
def test_search_prints_matches_and_draws_a_sheet(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("search", "out", "cup")
    assert code == 0
    assert out.splitlines()[1].split() == ["0.750", "a/red.png", "cup", "0,0,9,9"]
    sheet = tmp_path / "new" / "sheet.png"
    code, out, err = run("search", "out", "cup", "--json", "--sheet", sheet)
    assert (code, [json.loads(line)["file"] for line in out.splitlines()]) == (0, ["a/red.png", "b.png"])
    assert "1 match without an image, which was removed or changed, such as b.png" in err
    assert sheet.is_file()
    (tmp_path / "file").touch()
    for options, says in {
        (): "give what to look for",
        ("cup", "--sheet", tmp_path / "sheet.txt"): "must end with one of",
        ("cup", "--sheet", tmp_path / "file" / "sheet.png"): "cannot be written",
    }.items():
        code, _, err = run("search", "out", *options)
        assert code
        assert says in err


@pytest.mark.usefixtures("index")
def test_index_says_what_it_did(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for skipped, code in [((), 0), ((Failure("b.png", "it has changed"),), 1)]:
        monkeypatch.setattr("segzs.search.index.index", lambda *_, skipped=skipped, **__: IndexReport(7, 1, 2, skipped))
        status, _, err = run("index", "out")
        assert status == code
        assert "7 segments in the index; 1 image added, 2 removed" in err
        assert ("1 image skipped, such as b.png: it has changed" in err) == bool(skipped)


def test_serve_listens_with_a_token_beyond_loopback(
    run: Run, segmenter: segzs.Segmenter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra segzs[serve]")
    served = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: served.append((server.config.app, sockets)))
    monkeypatch.setattr(segzs, "load", lambda **_: segmenter)
    monkeypatch.delenv("SEGZS_TOKEN", raising=False)
    draw(tmp_path / "a.png")
    for host, has_token in {"127.0.0.1": False, "0.0.0.0": True}.items():
        code, out, err = run("serve", tmp_path, "--host", host, "--port", "0")
        assert (code, out) == (0, "")
        assert "segzs serves http://127.0.0.1:" in err
        assert ("?token=" in err) == has_token
    (app, (listener,)), _ = served
    assert listener.fileno() == -1  # closed
    assert [row["name"] for row in app.state.session.store.listing()] == ["a.png"]


def test_serve_refuses_ports_and_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="cannot listen on 127"):
        _listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(Exception, match="is not a port"):
        _port("65536")
    assert [_is_loopback(host) for host in ("localhost", "::1", "127.9.9.9", "0.0.0.0", "example.org")] == [
        *(True, True, True),
        *(False, False),
    ]
    monkeypatch.setenv("SEGZS_TOKEN", "a" * 16)
    assert _token("127.0.0.1") == "a" * 16
    for weak in ("short", "ä" * 20, "a b" * 9):
        monkeypatch.setenv("SEGZS_TOKEN", weak)
        with pytest.raises(UsageError, match="not a secret of 16"):
            _token("127.0.0.1")


def test_labels_and_examples_that_are_mistaken(tmp_path: Path) -> None:
    assert parse_labels("coco,").labels == ("coco",)
    assert len(parse_labels("coco").labels) == 80
    with pytest.raises(VocabularyError, match="did you mean 'imagenet'"):
        parse_labels("imagnet")
    with pytest.raises(VocabularyError, match="is a folder"):
        parse_labels(f"{tmp_path}")
    with pytest.raises(ImageError, match="holds no folders"):
        _examples(f"{tmp_path}")
    image = draw(tmp_path / "red_cup" / "1.png")
    assert _examples(f"{tmp_path}") == {"red cup": [str(image)]}
    assert _examples(f"{image}") == str(image)

"""Downloads from a local server that breaks off or sends wrong bytes: a file is complete or absent."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from segzs import ModelError, WeightsError
from segzs.checkpoints import download as module
from segzs.checkpoints.download import download, fetch
from segzs.checkpoints.registry import SAMS

CONTENT = bytes(range(256)) * 400
HASH = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """How the server behaves, and the ranges that it received."""

    url: str = ""
    knows_ranges: bool = True
    refuses_ranges: bool = False
    states_length: bool = True
    breaks_after: int | None = None
    stalls: bool = False
    surplus: bytes = b""
    status: int = 0
    ranges: list[str | None] = field(default_factory=list)
    sent: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def reply(self, request: BaseHTTPRequestHandler) -> None:
        range_header = request.headers["Range"]
        self.ranges.append(range_header)
        if request.path == "/moved":
            request.send_response(302)
            request.send_header("Location", "/sam.pth")
            return request.end_headers()
        if request.path != "/sam.pth" or self.status:
            return request.send_error(404 if request.path != "/sam.pth" else self.status)
        if range_header and self.refuses_ranges:
            return request.send_error(416)
        start = int(range_header.removeprefix("bytes=").removesuffix("-")) if range_header and self.knows_ranges else 0
        body = CONTENT[start:] + self.surplus
        request.send_response(206 if start else 200)
        if self.states_length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        body = body[: self.breaks_after]
        self.sent += len(body)  # before the other side can have all of it
        request.wfile.write(body)
        if self.stalls:
            self.released.wait(10)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.reply(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}/sam.pth"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SEGZS_OFFLINE")
    monkeypatch.setattr(module, "CHUNK", 4096)
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def get(site: Site, target: Path, sha256: str = HASH) -> Path:
    return download(site.url, target, len(CONTENT), sha256)


def test_a_download_is_complete_and_shows_progress(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "folder" / "sam.pth"
    assert get(site, target) == target
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == {"sam.pth": len(CONTENT)}
    output = capsys.readouterr()
    assert output.out == ""
    assert "sam.pth" in output.err
    assert "100%" in output.err


@pytest.mark.parametrize("states_length", [True, False])
def test_a_broken_download_is_resumed(site: Site, tmp_path: Path, states_length: bool) -> None:
    target = tmp_path / "sam.pth"
    site.breaks_after, site.states_length = 50_000, states_length
    with pytest.raises(ModelError, match="run the same command to resume") as caught:
        get(site, target)
    assert not isinstance(caught.value, WeightsError)
    part = files(tmp_path)
    assert list(part) == ["sam.pth.part"]
    assert 40_000 < part["sam.pth.part"] <= 50_000
    site.breaks_after, site.sent = None, 0
    assert get(site, target).read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={part['sam.pth.part']}-"]
    assert site.sent == len(CONTENT) - part["sam.pth.part"]
    assert files(tmp_path) == {"sam.pth": len(CONTENT)}


def test_without_ranges_a_download_starts_again(site: Site, tmp_path: Path) -> None:
    site.knows_ranges = False
    (tmp_path / "sam.pth.part").write_bytes(CONTENT[:3000])
    assert get(site, tmp_path / "sam.pth").read_bytes() == CONTENT
    assert site.ranges == ["bytes=3000-"]


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"too much"])
def test_a_complete_part_is_verified(site: Site, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "sam.pth.part").write_bytes(left)
    assert get(site, tmp_path / "sam.pth").read_bytes() == CONTENT
    assert site.ranges == ([] if left == CONTENT else [None])


def test_a_file_with_another_hash_is_deleted(site: Site, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"{HASH[:16]}.*instead of {'0' * 16}.*deleted"):
        get(site, tmp_path / "sam.pth", "0" * 64)
    assert files(tmp_path) == {}


def test_a_damaged_part_is_deleted_and_the_next_try_succeeds(site: Site, tmp_path: Path) -> None:
    (tmp_path / "sam.pth.part").write_bytes(b"x" * 3000)
    with pytest.raises(WeightsError):
        get(site, tmp_path / "sam.pth")
    assert get(site, tmp_path / "sam.pth").read_bytes() == CONTENT


def test_a_missing_file_leaves_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="404") as caught:
        download(site.url + "x", tmp_path / "sam.pth", len(CONTENT), HASH)
    assert "is kept" not in str(caught.value)
    assert files(tmp_path) == {}


def test_a_server_that_does_not_respond_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(ModelError, match="cannot download"):
        download("http://127.0.0.1:9/sam.pth", tmp_path / "sam.pth", 10, HASH)


def test_a_server_that_stalls_is_an_error_and_the_download_resumes(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    site.breaks_after, site.stalls = 50_000, True
    with pytest.raises(ModelError, match=r"timed out.*run the same command to resume"):
        get(site, tmp_path / "sam.pth")
    site.released.set()
    site.breaks_after, site.stalls = None, False
    assert get(site, tmp_path / "sam.pth").read_bytes() == CONTENT
    assert site.ranges[1] is not None


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
def test_a_refusal_keeps_what_was_downloaded(site: Site, tmp_path: Path, status: int) -> None:
    (tmp_path / "sam.pth.part").write_bytes(CONTENT[:3000])
    site.status = status
    with pytest.raises(ModelError, match=f"{status}.*resume"):
        get(site, tmp_path / "sam.pth")
    assert files(tmp_path) == {"sam.pth.part": 3000}
    site.status = 0
    assert get(site, tmp_path / "sam.pth").read_bytes() == CONTENT


def test_a_refused_range_starts_again(site: Site, tmp_path: Path) -> None:
    site.refuses_ranges = True
    (tmp_path / "sam.pth.part").write_bytes(b"x" * 3000)
    assert get(site, tmp_path / "sam.pth").read_bytes() == CONTENT
    assert site.ranges == ["bytes=3000-", None]


def test_a_redirect_is_followed(site: Site, tmp_path: Path) -> None:
    site.url = site.url.replace("sam.pth", "moved")
    assert get(site, tmp_path / "sam.pth").read_bytes() == CONTENT


def test_a_file_of_another_length_is_not_downloaded(site: Site, tmp_path: Path) -> None:
    site.surplus = b"more"
    with pytest.raises(ModelError, match=r"offers a file of 102,404 bytes instead of 102,400"):
        get(site, tmp_path / "sam.pth")
    assert files(tmp_path) == {}


def test_a_body_without_an_end_does_not_fill_the_disk(site: Site, tmp_path: Path) -> None:
    site.surplus, site.states_length = bytes(3_000_000), False
    with pytest.raises(WeightsError, match="SHA-256"):
        get(site, tmp_path / "sam.pth")
    assert files(tmp_path) == {}


def test_a_folder_that_cannot_be_created_is_an_error(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="cannot download"):
        get(site, tmp_path / "file" / "sam.pth")


def test_fetch_downloads_a_sam_once(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(SAMS["vit_b"], name="local", file="sam.pth", url=site.url, bytes=len(CONTENT), sha256=HASH)
    monkeypatch.setitem(SAMS, "local", row)
    for _ in range(2):
        assert fetch("sam:local") == [tmp_path / "cache" / "sam.pth"]
    assert len(site.ranges) == 1
    (tmp_path / "cache" / "sam.pth").write_bytes(b"other")
    with pytest.raises(WeightsError, match="delete it and run: segzs fetch local"):
        fetch("sam:local")

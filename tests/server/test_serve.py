"""``segzs serve`` as a process: its address, its page, its token, a search that is cancelled, its end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from segzs.cli.main import main
from tests.conftest import EXAMPLES

pytestmark = pytest.mark.slow


@contextmanager
def serve(*arguments: str) -> Iterator[str]:
    """A running server; gives the address that it prints."""
    command = [sys.executable, "-m", "segzs", "serve", str(EXAMPLES), "--port", "0", "--no-cache", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        address = re.search(r"http://\S+", process.stderr.readline())
        assert address is not None
        yield address[0]
    finally:
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.communicate(timeout=60)[1]


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_search_of_a_client_that_leaves_is_cancelled() -> None:
    with serve() as address:
        digest = requests.post(f"{address}api/images/open", json={"name": "desk.png"}, timeout=60).json()["digest"]
        reply = requests.post(f"{address}api/images/{digest}/everything", stream=True, timeout=60)
        lines = reply.iter_lines()
        assert next(line for line in lines if line.startswith(b"event")) == b"event: progress"
        reply.close()

        def pending() -> str:
            return requests.get(f"{address}api/metrics", timeout=60).text

        wait_until(lambda: 'segzs_pending{pool="searches"} 0' in pending())
        assert requests.get(f"{address}api/health", timeout=60).json()["status"] == "UP"


def test_beyond_loopback_the_printed_token_is_needed() -> None:
    with serve("--host", "0.0.0.0") as address:
        base, _, token = address.partition("?token=")
        assert len(token) == 32
        assert requests.get(f"{base}api/labels", timeout=60).status_code == 401
        browser = requests.Session()
        assert browser.get(address, timeout=60, allow_redirects=False).status_code == 303
        assert browser.get(f"{base}api/labels", timeout=60).status_code == 200


def test_wrong_options_are_explained(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["serve", "--label-studio", "localhost:8080"]) == 2
    assert "is not the address of a Label Studio" in capsys.readouterr().err
    assert main(["serve", "--host", "192.0.2.1"]) == 2
    assert "cannot listen on 192.0.2.1 port 8765" in capsys.readouterr().err
    monkeypatch.setenv("SEGZS_TOKEN", "short")
    assert main(["serve"]) == 2
    assert "SEGZS_TOKEN is not a secret of 16 letters and digits" in capsys.readouterr().err

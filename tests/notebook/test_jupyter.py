"""The widget in a real JupyterLab: click, accept, and read the segment in Python."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.browser import ROOT, SCREENSHOTS

CELLS = [
    "import segzs\nannotator = segzs.annotate(segzs.load(cache=False), 'desk.png')\nannotator",
    "print(len(annotator.segments), annotator.segments.names, annotator.segments[0].area > 1000)",
]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a notebook in a JupyterLab of its own."""
    pytest.importorskip("jupyterlab", reason="this needs JupyterLab; run: pip install '.[test]'")
    cells = [
        {
            "cell_type": "code",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
            "id": f"cell{i}",
        }
        for i, source in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (tmp_path / "one.ipynb").write_text(
        json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    )
    (tmp_path / "desk.png").write_bytes((ROOT / "examples" / "desk.png").read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "RUNTIME")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--port-retries=0"]
    command += [
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={tmp_path}",
        "--LabApp.news_url=",
        "--ServerApp.ip=127.0.0.1",
    ]
    environment = {**os.environ, **folders, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}/lab/tree/one.ipynb?reset"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_click_accept_and_read_in_python(lab: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(lab)
    cells = page.locator(".jp-CodeCell")
    page.get_by_text("| Idle").wait_for()
    cells.first.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    page.get_by_role("application", name="Image desk.png").wait_for()
    page.locator(".encoding").wait_for(state="hidden")
    page.locator(".viewport").scroll_into_view_if_needed()
    picture = page.locator(".picture")
    box = picture.bounding_box()
    page.mouse.click(box["x"] + 92 / 768 * box["width"], box["y"] + 500 / 576 * box["height"])
    page.locator(".draft strong").wait_for()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "jupyterlab.png")
    name = page.locator(".draft strong").inner_text()
    page.keyboard.press("Enter")
    page.locator(".rows .name").wait_for()
    page.keyboard.press("b")  # a key of JupyterLab, which would add a cell
    assert cells.count() == 2
    with page.expect_download() as file:
        page.get_by_role("button", name="Export").click()
        page.get_by_role("dialog", name="Export").get_by_role("button", name="Download").click()
    assert json.loads(file.value.path().read_text())["annotations"]
    cells.nth(1).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    output = cells.nth(1).locator(".jp-OutputArea-output")
    output.wait_for()
    assert re.sub(r"\s+", " ", output.inner_text()).strip() == f"1 ['{name}'] True"
    page.close()

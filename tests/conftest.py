"""Fixtures of all tests: the example scenes with their true masks, the embedded models, a clean environment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

import segzs
import segzs.loading  # now, so that no module binds a function that a test has patched
from segzs.masks import RLE

EXAMPLES = Path(__file__).parents[1] / "examples"

hypothesis.settings.register_profile("segzs", deadline=None)  # the first call imports, and other work runs beside it
hypothesis.settings.load_profile("segzs")

if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has one core
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@dataclass(frozen=True)
class Scene:
    """A drawn image with the exact visible masks and the names of its objects."""

    path: Path
    names: list[str]
    masks: list[RLE]


def read_scene(name: str) -> Scene:
    """The example scene of that name: desk, picnic or toolbox."""
    truth = json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))
    codes = [thing["segmentation"] for thing in truth["objects"]]
    masks = [RLE(*code["size"], code["counts"]) for code in codes]
    return Scene(EXAMPLES / truth["image"], [thing["name"] for thing in truth["objects"]], masks)


@pytest.fixture
def scene() -> Callable[[str], Scene]:
    """``scene("desk")`` is an image with its true masks and names."""
    return read_scene


@pytest.fixture(scope="session")
def segmenter() -> segzs.Segmenter:
    """The embedded models with their general vocabulary."""
    return segzs.load("tiny", device="cpu", cache=False)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for all tests, because playwright runs one event loop a thread."""
    from tests.web.browser import CHROMIUM, MISSING

    if CHROMIUM is None:
        pytest.skip(MISSING)
    sync = pytest.importorskip("playwright.sync_api", reason=MISSING)
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests do not depend on environment variables and downloads of the developer, and do not use the network."""
    monkeypatch.delenv("SEGZS_MODEL", raising=False)
    monkeypatch.setenv("SEGZS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SEGZS_OFFLINE", "1")

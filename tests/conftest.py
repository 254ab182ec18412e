"""Shared by all tests: the example scenes with their known answers, the embedded models, a clean environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import segzs
import segzs.loading  # now, so that no module binds what a test has patched
from segzs.masks import RLE

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Scene:
    """A drawn picture, and the exact visible masks of its objects with their names."""

    path: Path
    names: list[str]
    masks: list[RLE]


def read_scene(name: str) -> Scene:
    """The example scene of that name: desk, picnic or toolbox."""
    known = json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))
    codes = [thing["segmentation"] for thing in known["objects"]]
    masks = [RLE(*code["size"], code["counts"]) for code in codes]
    return Scene(EXAMPLES / known["image"], [thing["name"] for thing in known["objects"]], masks)


@pytest.fixture
def scene() -> Callable[[str], Scene]:
    """``scene("desk")`` is a picture with its known answer."""
    return read_scene


@pytest.fixture(scope="session")
def segmenter() -> segzs.Segmenter:
    """The embedded pair with its general vocabulary."""
    return segzs.load("tiny", device="cpu", cache=False)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the developer's shell says or has downloaded changes no test, and no test reaches the network."""
    monkeypatch.delenv("SEGZS_MODEL", raising=False)
    monkeypatch.delenv("SEGZS_ENGINE", raising=False)
    monkeypatch.setenv("SEGZS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SEGZS_OFFLINE", "1")

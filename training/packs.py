"""The image packs on disk: cut-outs with their names, and backgrounds, decoded once into memory."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

TRAINING_STYLES = ("noto", "fluent3d", "fluentflat")
UNSEEN_STYLE = "openmoji"
CLOSED = re.compile(r"GPL|SA|Share")
"""Licences of images that training leaves out."""


@dataclass(frozen=True)
class Concept:
    """One thing with a name: ``code`` is its file name in every style's folder."""

    code: str
    name: str
    keywords: tuple[str, ...]
    group: str
    subgroup: str


@dataclass(frozen=True)
class Packs:
    """The folder that holds ``cutouts/``, ``backgrounds/`` and ``photos/``."""

    root: Path

    def concepts(self) -> tuple[Concept, ...]:
        """All concepts, sorted by code."""
        return _concepts(self.root)

    def cutouts(self, style: str) -> dict[str, np.ndarray]:
        """Code -> uint8 RGBA image, for the concepts that the style draws."""
        return _cutouts(self.root, style)

    def single_things(self, folder: str) -> tuple[np.ndarray, ...]:
        """Every uint8 RGBA image of a folder of ``photo_cutouts``."""
        return _single_things(self.root, folder)

    def backgrounds(self) -> tuple[np.ndarray, ...]:
        """Every background as a uint8 RGB image."""
        return _backgrounds(self.root)


def add_packs_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--packs",
        type=_packs,
        default=Packs(Path(__file__).parents[2] / "shared" / "packs"),
        metavar="DIR",
        help="folder with cutouts/, backgrounds/ and photos/ (default: ../shared/packs)",
    )


def _packs(text: str) -> Packs:
    if not (Path(text) / "cutouts" / "names.json").is_file():
        raise argparse.ArgumentTypeError(f"{text} holds no cutouts/names.json: it is no folder of the packs")
    return Packs(Path(text))


@lru_cache
def _concepts(root: Path) -> tuple[Concept, ...]:
    rows = json.loads((root / "cutouts" / "names.json").read_text())
    return tuple(
        Concept(code, row["name"], tuple(row["keywords"]), row["group"], row["subgroup"])
        for code, row in sorted(rows.items())
    )


@lru_cache
def _cutouts(root: Path, style: str) -> dict[str, np.ndarray]:
    files = sorted((root / "cutouts" / style).glob("*.png"))
    return {file.stem: read_picture(file, cv2.COLOR_BGRA2RGBA) for file in files}


@lru_cache
def _single_things(root: Path, folder: str) -> tuple[np.ndarray, ...]:
    files = sorted((root / "photo_cutouts" / folder).glob("*.webp"))
    return tuple(read_picture(file, cv2.COLOR_BGRA2RGBA) for file in files)


@lru_cache
def _backgrounds(root: Path) -> tuple[np.ndarray, ...]:
    rows = json.loads((root / "backgrounds" / "index.json").read_text())
    files = sorted(root / "backgrounds" / row["file"] for row in rows)
    return tuple(read_picture(file, cv2.COLOR_BGR2RGB) for file in files)


def read_picture(file: Path, conversion: int) -> np.ndarray:
    """An image as uint8 RGB, or RGBA where ``conversion`` says so."""
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise FileNotFoundError(f"{file} is not a readable image")
    wanted = 4 if conversion == cv2.COLOR_BGRA2RGBA else 3
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGRA if wanted == 4 else cv2.COLOR_GRAY2BGR)
    elif pixels.shape[2] == 3 and wanted == 4:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2BGRA)
    elif pixels.shape[2] == 4 and wanted == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR)
    return np.ascontiguousarray(cv2.cvtColor(pixels, conversion))

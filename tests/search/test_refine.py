"""Refining a labelled directory: given names, the table of names, and interruptions."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

import segzs
from segzs.cli.main import main
from segzs.clip.regions import RegionEncoder
from segzs.dataset.directory import label_directory
from segzs.errors import UsageError
from segzs.formats import read, write
from segzs.formats.annotations import ImageAnnotations
from segzs.image import Image
from segzs.masks import RLE
from segzs.segments import Name
from tests.conftest import read_scene
from tests.dataset.truth import TruthLabeller

pytest.importorskip("lancedb", reason="refine needs lancedb: pip install 'segzs[search]'")
from segzs.search import refine as module
from segzs.search.refine import RefineReport, refine

COPIES = 3


class Unsure(TruthLabeller):
    """Names every object of the scene "thing" or "stuff"."""

    settings: ClassVar = {**TruthLabeller.settings, "labels": ["stuff", "thing"]}

    def label(self, path: str, sha256: str, image: Image) -> ImageAnnotations:
        record = super().label(path, sha256, image)
        names = (Name("thing", 0.6), Name("stuff", 0.4))
        return replace(record, segments=tuple(replace(segment, names=names) for segment in record.segments))


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of a scene, whose objects resemble those of the same kind only."""

    def encode(encoder: RegionEncoder, image: Image, masks: list[RLE]) -> Tensor:
        rows = torch.tensor([mask.area for mask in masks])
        generator = torch.Generator().manual_seed(len(masks))
        points = torch.randn(len(masks), 512, generator=generator)
        return torch.nn.functional.normalize(points[rows.argsort().argsort()], dim=1)

    monkeypatch.setattr(RegionEncoder, "encode", encode)
    (tmp_path / "photos").mkdir()
    for copy in range(COPIES):
        shutil.copy(read_scene("desk").path, tmp_path / "photos" / f"desk-{copy}.png")
    list(label_directory(Unsure(), tmp_path / "photos", tmp_path / "labelled"))
    return tmp_path / "labelled"


def corrected(labelled: Path, name: str = "lamp") -> Path:
    """A COCO file in which a person renamed the first object of the first image."""

    def images() -> Iterator[ImageAnnotations]:
        for number, one in enumerate(read(labelled)):
            if number == 0:
                first = replace(one.segments[0], names=(Name(name, 1.0),))
                yield replace(one, segments=(first, *one.segments[1:]))

    return write(images(), labelled.parent / "edited.coco.json", "coco")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*") if path.is_file()}


def test_corrected_name_is_kept_and_spreads(labelled: Path, tmp_path: Path) -> None:
    clip = segzs.load().clip
    before = files_of(labelled)
    done = refine(labelled, tmp_path / "refined", clip, corrected=corrected(labelled))
    records = list(read(tmp_path / "refined"))
    assert records[0].segments[0].names == (Name("lamp", 1.0),)
    assert [record.segments[0].name for record in records] == ["lamp"] * COPIES
    assert {segment.name for record in records for segment in record.segments[1:]} <= {"thing", "stuff"}
    assert done == RefineReport(COPIES * len(records[0].segments), done.changed, 1, 0)
    assert files_of(labelled) == before
    with (tmp_path / "refined" / "names.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"file": "desk-0.png", "segment": "0", "first name": "thing", "name": "lamp", "by": "person"}
    assert [row["name"] for row in rows] == [segment.name for record in records for segment in record.segments]
    assert sum(row["name"] != row["first name"] for row in rows) == done.changed
    coco = json.loads((tmp_path / "refined" / "annotations.json").read_text())
    assert len(coco["annotations"]) == len(rows) == done.segments


def test_interrupted_and_repeated_gives_the_same_bytes(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, edited = segzs.load().clip, corrected(labelled)
    refine(labelled, tmp_path / "whole", clip, corrected=edited)

    def stop(records: Iterable[ImageAnnotations], path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module.native, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            refine(labelled, tmp_path / "again", clip, corrected=edited)
    part = tmp_path / "again" / ".segments.jsonl.0123abcd.part"
    part.write_bytes(b"of a killed process")
    shutil.rmtree(labelled / "search.lance")
    refine(labelled, tmp_path / "again", clip, corrected=edited)
    assert files_of(tmp_path / "again") == files_of(tmp_path / "whole")
    assert not part.exists()


def test_without_lancedb_features_are_encoded_in_memory(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = corrected(labelled)
    (labelled.parent / "photos" / "desk-1.png").unlink()
    (labelled / "failures.jsonl").write_text('{"file": "bad.png", "reason": "it is empty"}\n')
    assert refine(labelled, tmp_path / "indexed", segzs.load().clip, corrected=edited).skipped == 1
    shutil.rmtree(labelled / "search.lance")
    monkeypatch.setitem(sys.modules, "lancedb", None)
    out = tmp_path / "encoded"
    assert main(["refine", str(labelled), "--out", str(out), "--corrected", str(edited), "--quiet"]) == 1
    assert "1 image removed or changed" in capsys.readouterr().err
    assert files_of(out) == files_of(tmp_path / "indexed")
    assert (out / "failures.jsonl").read_bytes() == (labelled / "failures.jsonl").read_bytes()
    assert not (labelled / "search.lance").exists()


def test_given_names_stay_in_later_refinements(labelled: Path, tmp_path: Path) -> None:
    clip = segzs.load().clip
    refine(labelled, tmp_path / "first", clip, corrected=corrected(labelled))
    done = refine(tmp_path / "first", tmp_path / "second", clip)
    assert done.given == 1
    assert next(read(tmp_path / "second")).segments[0].names == (Name("lamp", 1.0),)
    done = refine(tmp_path / "second", tmp_path / "third", clip, corrected=corrected(tmp_path / "second", "torch"))
    assert done.given == 1
    assert next(read(tmp_path / "third")).segments[0].names == (Name("torch", 1.0),)


def test_refuses_other_results_and_corrections_of_other_images(labelled: Path, tmp_path: Path) -> None:
    clip = segzs.load().clip
    with pytest.raises(UsageError, match="keeps the first names"):
        refine(labelled, labelled, clip)
    with pytest.raises(UsageError, match="is the directory of the images"):
        refine(labelled, labelled.parent / "photos", clip)
    other = tmp_path / "other"
    shutil.copytree(labelled, other)
    with pytest.raises(UsageError, match="holds other results"):
        refine(labelled, other, clip)
    path = write([ImageAnnotations("other.png", 4, 4)], tmp_path / "other.coco.json", "coco")
    with pytest.raises(UsageError, match="has no segment of"):
        refine(labelled, tmp_path / "refined", clip, corrected=path)


def test_command(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "refined"
    assert main(["refine", str(labelled), "--out", str(out), "--corrected", str(corrected(labelled))]) == 0
    assert "1 name by a person" in capsys.readouterr().err
    assert (out / "names.csv").is_file()

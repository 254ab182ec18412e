"""The index of a labelled directory: matches, updates, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

import segzs
from segzs.clip.regions import RegionEncoder
from segzs.dataset.directory import label_directory
from segzs.errors import SegzsError
from segzs.image import Image
from segzs.masks import RLE
from tests.conftest import read_scene
from tests.dataset.truth import TruthLabeller

pytest.importorskip("lancedb", reason="the search needs lancedb: pip install 'segzs[search]'")
from segzs.search import index as search
from segzs.search import table as tables
from segzs.search.features import feature_width
from segzs.search.index import Match, SegmentIndex, index

SCENES = ("desk", "picnic", "toolbox")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for name in SCENES:
        shutil.copy(read_scene(name).path, tmp_path / "photos" / "a")
    return tmp_path / "photos"


@pytest.fixture
def out(photos: Path) -> Path:
    return label(photos)


def label(photos: Path) -> Path:
    list(label_directory(TruthLabeller(), photos, photos.parent / "out"))
    return photos.parent / "out"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of segments that CLIP encoded, call by call."""
    counts: list[int] = []
    encode = RegionEncoder.encode

    def count(encoder: RegionEncoder, image: Image, masks: list[RLE]) -> Tensor:
        counts.append(len(masks))
        return encode(encoder, image, masks)

    monkeypatch.setattr(RegionEncoder, "encode", count)
    return counts


@pytest.mark.slow
def test_words_and_images_match_the_object(out: Path, segmenter: segzs.Segmenter) -> None:
    done = index(out, segmenter.clip)
    segments = sum(len(read_scene(name).names) for name in SCENES)
    assert (done.segments, done.added, done.removed, done.skipped) == (segments, 3, 0, ())

    opened = SegmentIndex.open(out, segmenter.clip)
    desk = read_scene("desk")
    match = opened.search("red apple", limit=3)[0]
    number = desk.names.index("red apple")
    assert (match.file, match.segment, match.name, match.probability) == ("a/desk.png", number, "red apple", 0.5)
    assert match.box == desk.masks[number].box
    scores = [each.score for each in opened.search("  red   apple ", limit=100)]
    assert len(scores) == segments
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(match.score)

    (crop,) = opened.crops([match])
    assert crop is not None
    like = opened.search(like=crop, limit=1)[0]
    assert (like.file, like.segment) == (match.file, match.segment)
    assert match.score < like.score <= 1.001
    both = opened.search("key", like=crop, limit=segments)
    assert {"key", "red apple"} <= {each.name for each in both[:6]}
    with pytest.raises(SegzsError, match="words, an image or both"):
        opened.search()


@pytest.mark.slow
def test_results_equal_those_of_numpy(out: Path, segmenter: segzs.Segmenter) -> None:
    index(out, segmenter.clip)
    opened = SegmentIndex.open(out, segmenter.clip)
    table = opened.table.to_arrow()
    features = np.array(table["feature"].to_pylist())
    assert np.linalg.norm(features, axis=1) == pytest.approx(1, abs=1e-5)
    order = np.argsort(-(features @ features[5]))[:4]
    matches = opened.nearest(features[5], limit=4)
    assert [match.segment for match in matches] == [table["segment"][int(row)].as_py() for row in order]
    assert [match.score for match in matches] == pytest.approx((features @ features[5])[order].tolist(), abs=1e-4)


@pytest.mark.slow
def test_an_update_encodes_only_new_segments(
    photos: Path, out: Path, segmenter: segzs.Segmenter, encoded: list[int]
) -> None:
    index(out, segmenter.clip)
    encoded.clear()
    assert index(out, segmenter.clip).added == 0
    assert encoded == []

    with PIL.Image.open(photos / "a" / "desk.png") as image:
        image.convert("RGB").save(photos / "desk-it's.jpg")
    (photos / "a" / "picnic.png").unlink()
    done = index(label(photos), segmenter.clip)
    desk, picnic = len(read_scene("desk").names), len(read_scene("picnic").names)
    assert (done.added, done.removed) == (1, 1)
    assert encoded == [desk]
    files = {match.file for match in SegmentIndex.open(out, segmenter.clip).search("apple", limit=100)}
    assert files == {"a/desk.png", "a/toolbox.png", "desk-it's.jpg"}

    (photos / "desk-it's.jpg").unlink()  # a name with a quote is removed, too
    assert index(label(photos), segmenter.clip).removed == 1
    assert picnic
    assert SegmentIndex.open(out, segmenter.clip).table.count_rows() == done.segments - desk


@pytest.mark.slow
def test_a_run_that_was_stopped_resumes(out: Path, segmenter: segzs.Segmenter, encoded: list[int], monkeypatch) -> None:
    monkeypatch.setattr(search, "ROWS_PER_COMMIT", 1)

    def stop(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(out, segmenter.clip, progress=stop)
    encoded.clear()
    done = index(out, segmenter.clip)
    assert done.added == 1
    assert encoded == [len(read_scene("toolbox").names)]
    rows = SegmentIndex.open(out, segmenter.clip).table.to_arrow().select(["image", "segment"]).to_pylist()
    assert len({tuple(row.values()) for row in rows}) == len(rows) == done.segments


def test_removed_and_changed_images_are_skipped(photos: Path, out: Path, segmenter: segzs.Segmenter) -> None:
    (photos / "a" / "desk.png").unlink()
    shutil.copy(read_scene("toolbox").path, photos / "a" / "picnic.png")
    done = index(out, segmenter.clip)
    assert [failure.file for failure in done.skipped] == ["a/desk.png", "a/picnic.png"]
    assert "no such file" in done.skipped[0].reason
    assert done.added == 1
    opened = SegmentIndex.open(out, segmenter.clip)
    matches = opened.search("hammer", limit=2)
    (photos / "a" / "toolbox.png").unlink()
    assert list(opened.crops(matches)) == [None, None]


@pytest.mark.slow
def test_another_clip_is_refused(out: Path, segmenter: segzs.Segmenter, encoded: list[int]) -> None:
    index(out, segmenter.clip)
    other = replace(segmenter.clip, digest="0" * 64)
    encoded.clear()
    for use in (index, SegmentIndex.open):
        with pytest.raises(segzs.ModelMismatchError, match="holds features of the CLIP tiny"):
            use(out, other)
    assert encoded == []


@pytest.mark.slow
def test_the_index_of_another_run_is_refused(out: Path, segmenter: segzs.Segmenter) -> None:
    index(out, segmenter.clip)
    run = json.loads((out / "segzs-run.json").read_text("utf-8"))
    (out / "segzs-run.json").write_text(
        json.dumps(run | {"settings": run["settings"] | {"labels": ["other"]}}), "utf-8"
    )
    with pytest.raises(segzs.OutputError, match=r"of other settings or .*; delete .*search\.lance"):
        index(out, segmenter.clip)


def test_features_are_those_that_the_names_came_from(
    out: Path, segmenter: segzs.Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []

    def encode(encoder: RegionEncoder, image: Image, masks: list[RLE]) -> Tensor:
        used.append(encoder.regions)
        return torch.nn.functional.normalize(torch.ones(len(masks), feature_width(encoder.clip)), dim=1)

    monkeypatch.setattr(RegionEncoder, "encode", encode)
    path = out / "segzs-run.json"
    run = json.loads(path.read_text("utf-8"))
    for regions, expected in {"crops": "crops", "both": "both", "pooled": "crops"}.items():
        path.write_text(json.dumps(run | {"settings": run["settings"] | {"regions": regions}}), "utf-8")
        index(out, segmenter.clip)
        assert set(used) == {expected}
        used.clear()
        shutil.rmtree(out / "search.lance")


@pytest.mark.slow
def test_a_missing_or_damaged_index_is_an_error(out: Path, photos: Path, segmenter: segzs.Segmenter) -> None:
    with pytest.raises(segzs.OutputError, match="has no index yet; run: segzs index"):
        SegmentIndex.open(out, segmenter.clip)
    for use in (index, SegmentIndex.open):
        with pytest.raises(segzs.OutputError, match="is not the output folder of a run; label a directory first"):
            use(photos, segmenter.clip)
    (out / "search.lance" / "_versions").mkdir(parents=True)  # as a run that was killed early leaves it
    assert index(out, segmenter.clip).added == 3
    for file in (out / "search.lance" / "_versions").iterdir():
        file.write_bytes(b"damaged")
    with pytest.raises(segzs.OutputError, match=r"cannot be read .*; delete it and run: segzs index"):
        SegmentIndex.open(out, segmenter.clip)


def test_without_lancedb_the_error_names_the_extra(out: Path, segmenter: segzs.Segmenter, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    for use in (index, SegmentIndex.open):
        with pytest.raises(segzs.OutputError, match=r"pip install 'segzs\[search\]'"):
            use(out, segmenter.clip)


@pytest.mark.slow
def test_wrong_queries(out: Path, segmenter: segzs.Segmenter, tmp_path: Path) -> None:
    index(out, segmenter.clip)
    opened = SegmentIndex.open(out, segmenter.clip)
    with pytest.raises(segzs.VocabularyError, match="among the queries"):
        opened.search("  ")
    with pytest.raises(segzs.SegzsError, match="limit is 0"):
        opened.search("apple", limit=0)
    (tmp_path / "words.png").write_text("words")
    with pytest.raises(segzs.ImageError, match=r"words\.png is not an image"):
        opened.search(like=tmp_path / "words.png")


def test_the_inverted_file_of_a_large_table_gives_exact_results(tmp_path: Path, monkeypatch) -> None:
    import lancedb
    import pyarrow

    monkeypatch.setattr(tables, "IVF_ROWS", 500)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2500, 16)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    table = lancedb.connect(tmp_path).create_table("search", schema=tables.schema(16, {}))

    def add(start: int, end: int) -> None:
        rows = [{"segment": row, "feature": features[row]} for row in range(start, end)]
        table.add(pyarrow.Table.from_pylist(rows, table.schema))
        tables.optimize(table)
        for query in features[:end:97]:
            rows = tables.nearest(table, query, 5, ["segment"], tables.probes(table))["segment"].to_pylist()
            assert rows == np.argsort(features[:end] @ -query)[:5].tolist()

    add(0, 400)
    assert table.list_indices() == []
    add(400, 600)
    assert [each.name for each in table.list_indices()] == ["lists_24"]
    add(600, 1000)  # added to the existing lists
    assert [each.name for each in table.list_indices()] == ["lists_24"]
    assert table.index_stats("lists_24").num_unindexed_rows == 0
    add(1000, 2500)
    assert [each.name for each in table.list_indices()] == ["lists_50"]
    monkeypatch.setattr(tables, "ROWS_PER_SEARCH", 250)
    assert tables.probes(table) == 5


def test_numbers_of_a_match_are_rounded_like_those_of_a_segment() -> None:
    match = Match(float(np.float32(0.12344)), "a.png", 0, "key", float(np.float32(0.7532)), (0, 0, 9, 9), "ab")
    assert match.to_dict()["score"] == 0.1234
    assert match.to_dict()["probability"] == 0.7532

"""The index of a labelled directory: what it finds, how it grows, what it refuses."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import segzs
from segzs.dataset.directory import label_directory
from tests.conftest import read_scene
from tests.dataset.known import KnownLabeller

pytest.importorskip("lancedb", reason="the search needs lancedb: pip install 'segzs[search]'")
from segzs.search import index as search
from segzs.search import table as tables
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
    list(label_directory(KnownLabeller(), photos, photos.parent / "out"))
    return photos.parent / "out"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many segments were shown to CLIP, call by call."""
    counts: list[int] = []
    encode = search.encode_masks

    def counting(*arguments):
        features = encode(*arguments)
        counts.append(len(features))
        return features

    monkeypatch.setattr(search, "encode_masks", counting)
    return counts


def test_words_and_pictures_find_the_object(out: Path, segmenter: segzs.Segmenter) -> None:
    done = index(out, segmenter.clip)
    segments = sum(len(read_scene(name).names) for name in SCENES)
    assert (done.segments, done.added, done.removed, done.skipped) == (segments, 3, 0, ())

    found = SegmentIndex.open(out, segmenter.clip)
    desk = read_scene("desk")
    match = found.search("red apple", limit=3)[0]
    number = desk.names.index("red apple")
    assert (match.file, match.segment, match.name, match.probability) == ("a/desk.png", number, "red apple", 0.5)
    assert match.box == desk.masks[number].box
    scores = [each.score for each in found.search("  red   apple ", limit=100)]
    assert len(scores) == segments
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(match.score)

    (crop,) = found.crops([match])
    assert crop is not None
    like = found.like(crop, limit=1)[0]
    assert (like.file, like.segment) == (match.file, match.segment)
    assert match.score < like.score <= 1.001


def test_it_agrees_with_numpy_over_the_stored_features(out: Path, segmenter: segzs.Segmenter) -> None:
    index(out, segmenter.clip)
    found = SegmentIndex.open(out, segmenter.clip)
    table = found.table.to_arrow()
    features = np.array(table["feature"].to_pylist())
    assert np.linalg.norm(features, axis=1) == pytest.approx(1, abs=1e-5)
    order = np.argsort(-(features @ features[5]))[:4]
    matches = found.nearest(features[5], limit=4)
    assert [match.segment for match in matches] == [table["segment"][int(row)].as_py() for row in order]
    assert [match.score for match in matches] == pytest.approx((features @ features[5])[order].tolist(), abs=1e-4)


def test_it_grows_and_shrinks_without_encoding_anything_again(
    photos: Path, out: Path, segmenter: segzs.Segmenter, encoded: list[int]
) -> None:
    index(out, segmenter.clip)
    encoded.clear()
    assert index(out, segmenter.clip).added == 0
    assert encoded == []

    with PIL.Image.open(photos / "a" / "desk.png") as picture:
        picture.convert("RGB").save(photos / "desk-it's.jpg")
    (photos / "a" / "picnic.png").unlink()
    done = index(label(photos), segmenter.clip)
    desk, picnic = len(read_scene("desk").names), len(read_scene("picnic").names)
    assert (done.added, done.removed) == (1, 1)
    assert encoded == [desk]
    files = {match.file for match in SegmentIndex.open(out, segmenter.clip).search("apple", limit=100)}
    assert files == {"a/desk.png", "a/toolbox.png", "desk-it's.jpg"}

    (photos / "desk-it's.jpg").unlink()  # a name with a quote goes as well
    assert index(label(photos), segmenter.clip).removed == 1
    assert picnic
    assert SegmentIndex.open(out, segmenter.clip).table.count_rows() == done.segments - desk


def test_a_run_that_was_stopped_goes_on(out: Path, segmenter: segzs.Segmenter, encoded: list[int], monkeypatch) -> None:
    monkeypatch.setattr(search, "ROWS_A_COMMIT", 1)

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


def test_pictures_that_are_gone_or_changed_are_skipped(photos: Path, out: Path, segmenter: segzs.Segmenter) -> None:
    (photos / "a" / "desk.png").unlink()
    shutil.copy(read_scene("toolbox").path, photos / "a" / "picnic.png")
    done = index(out, segmenter.clip)
    assert [failure.file for failure in done.skipped] == ["a/desk.png", "a/picnic.png"]
    assert "no such file" in done.skipped[0].reason
    assert done.added == 1
    found = SegmentIndex.open(out, segmenter.clip)
    matches = found.search("hammer", limit=2)
    (photos / "a" / "toolbox.png").unlink()
    assert list(found.crops(matches)) == [None, None]


def test_another_clip_is_refused(out: Path, segmenter: segzs.Segmenter, encoded: list[int]) -> None:
    index(out, segmenter.clip)
    other = replace(segmenter.clip, digest="0" * 64)
    encoded.clear()
    for use in (index, SegmentIndex.open):
        with pytest.raises(segzs.ModelMismatchError, match="holds features of the CLIP tiny"):
            use(out, other)
    assert encoded == []


def test_the_index_of_another_run_is_refused(out: Path, segmenter: segzs.Segmenter) -> None:
    index(out, segmenter.clip)
    run = json.loads((out / "segzs-run.json").read_text("utf-8"))
    (out / "segzs-run.json").write_text(json.dumps(run | {"digest": "other"}), "utf-8")
    with pytest.raises(segzs.OutputError, match=r"is of other results; delete .*search\.lance"):
        index(out, segmenter.clip)


def test_what_is_no_index_is_said(out: Path, photos: Path, segmenter: segzs.Segmenter) -> None:
    with pytest.raises(segzs.OutputError, match="has no index yet; run: segzs index"):
        SegmentIndex.open(out, segmenter.clip)
    for use in (index, SegmentIndex.open):
        with pytest.raises(segzs.OutputError, match="holds no results of a directory; make them first: segzs label"):
            use(photos, segmenter.clip)
    (out / "search.lance" / "_versions").mkdir(parents=True)  # as a run that was killed early leaves it
    assert index(out, segmenter.clip).added == 3
    for file in (out / "search.lance" / "_versions").iterdir():
        file.write_bytes(b"damaged")
    with pytest.raises(segzs.OutputError, match=r"cannot be read .*; delete it and run: segzs index"):
        SegmentIndex.open(out, segmenter.clip)


def test_without_lancedb_the_extra_is_named(out: Path, segmenter: segzs.Segmenter, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    for use in (index, SegmentIndex.open):
        with pytest.raises(segzs.OutputError, match=r"pip install 'segzs\[search\]'"):
            use(out, segmenter.clip)


def test_queries_that_ask_for_nothing(out: Path, segmenter: segzs.Segmenter, tmp_path: Path) -> None:
    index(out, segmenter.clip)
    found = SegmentIndex.open(out, segmenter.clip)
    with pytest.raises(segzs.VocabularyError, match="the query is '  '"):
        found.search("  ")
    with pytest.raises(segzs.SegzsError, match="limit is 0"):
        found.search("apple", limit=0)
    (tmp_path / "words.png").write_text("words")
    with pytest.raises(segzs.ImageError, match=r"words\.png is not a picture"):
        found.like(tmp_path / "words.png")


def test_many_features_get_lists_that_grow_and_are_searched_exactly(tmp_path: Path, monkeypatch) -> None:
    import lancedb
    import pyarrow

    monkeypatch.setattr(tables, "LISTS_FROM", 500)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2500, 16)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    table = lancedb.connect(tmp_path).create_table("search", schema=tables.schema(16, {}))

    def add(start: int, end: int) -> None:
        rows = [{"segment": row, "feature": features[row]} for row in range(start, end)]
        table.add(pyarrow.Table.from_pylist(rows, table.schema))
        tables.tidy(table)
        for query in features[:end:97]:
            found = tables.nearest(table, query, 5, ["segment"], tables.probes(table))["segment"].to_pylist()
            assert found == np.argsort(features[:end] @ -query)[:5].tolist()

    add(0, 400)
    assert table.list_indices() == []
    add(400, 600)
    assert [each.name for each in table.list_indices()] == ["lists_24"]
    add(600, 1000)  # joins the lists that are there
    assert [each.name for each in table.list_indices()] == ["lists_24"]
    assert table.index_stats("lists_24").num_unindexed_rows == 0
    add(1000, 2500)
    assert [each.name for each in table.list_indices()] == ["lists_50"]
    monkeypatch.setattr(tables, "LOOKED_AT", 250)
    assert tables.probes(table) == 5


def test_results_of_a_version_without_scales_can_be_indexed(out: Path, segmenter: segzs.Segmenter) -> None:
    run = json.loads((out / "segzs-run.json").read_text("utf-8"))
    assert run["settings"].pop("scales")
    (out / "segzs-run.json").write_text(json.dumps(run), "utf-8")
    done = search.index(out, segmenter.clip)
    assert done.segments > 0
    assert not done.skipped


def test_numbers_of_a_match_are_rounded_as_those_of_a_segment() -> None:
    match = Match(float(np.float32(0.12344)), "a.png", 0, "key", float(np.float32(0.7532)), (0, 0, 9, 9), "ab")
    assert match.to_dict()["score"] == 0.1234
    assert match.to_dict()["probability"] == 0.7532

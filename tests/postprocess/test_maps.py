"""Semantic and panoptic maps of named segments."""

from __future__ import annotations

import io
import json
import pickle
from copy import deepcopy
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import segzs
from segzs.errors import MapWarning, ModelError, OutputError, PromptError, SegzsError
from segzs.formats import save
from segzs.masks import RLE
from segzs.postprocess.maps import SemanticMap, panoptic_segments, semantic_map
from segzs.segments import Segments
from tests.conftest import EXAMPLES
from tests.postprocess.test_merging import block, segment, segments

LABELS = ("cat", "dog")
WHOLE, PART = block(10, 10, 50, 50), block(20, 20, 30, 30)


def names(semantic: SemanticMap) -> np.ndarray:
    return np.array(semantic.labels)[semantic.classes]


def grid(*rows: list[tuple[float, float, float]]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_masks_give_their_names_and_other_pixels_are_unknown() -> None:
    result = semantic_map(segments(segment(WHOLE, "dog", 0.5, 0.8)), LABELS)
    assert result.labels == ("unknown", "cat", "dog")
    assert np.array_equal(result.mask("dog"), WHOLE.decode())
    assert np.array_equal(result.mask("unknown"), ~WHOLE.decode())
    assert result.scores[15, 15] == pytest.approx(0.4, abs=0.01)
    assert result.scores[0, 0] == 0
    assert result.classes.dtype == np.uint16
    assert list(result.shares) == ["unknown", "dog"]
    assert sum(result.shares.values()) == pytest.approx(1)


def test_the_name_with_the_higher_score_wins_and_of_equal_ones_the_smaller_mask() -> None:
    for probability, wins in [(0.9, "cat"), (0.6, "cat"), (0.5, "dog")]:
        for order in (1, -1):
            pair = [segment(WHOLE, "dog", 0.6), segment(PART, "cat", probability)][::order]
            assert names(semantic_map(segments(*pair), LABELS))[25, 25] == wins


def test_unknown_and_unnamed_segments_are_ignored() -> None:
    result = semantic_map(segments(segment(WHOLE, "dog", 0.2), segment(PART, "unknown", 0.9), segment(PART)), LABELS)
    assert np.array_equal(result.mask("dog"), WHOLE.decode())


def test_votes_of_masks_with_one_name_add_up() -> None:
    items = [segment(WHOLE, "dog", 0.5), segment(WHOLE, "cat", 0.3), segment(PART, "cat", 0.3)]
    result = names(semantic_map(segments(*items), LABELS))
    assert (result[25, 25], result[15, 15]) == ("cat", "dog")


def test_cells_label_pixels_without_masks() -> None:
    cells = grid([(0.1, 0.1, 0.8), (0.95, 0.0, 0.05)], [(0.1, 0.1, 0.8), (0.95, 0.0, 0.05)])
    result = names(semantic_map(segments(segment(WHOLE, "dog", 0.2)), LABELS, cells))
    assert result[5, 5] == result[5, 60] == "unknown"  # at 60 "cat" is more probable, but below min_confidence
    assert result[5, 95] == "cat"
    assert (result[WHOLE.decode()] == "dog").all()


def test_names_outside_of_the_vocabulary_become_labels() -> None:
    result = semantic_map(segments(segment(WHOLE, "horse")), LABELS)
    assert result.labels == ("unknown", *LABELS, "horse")
    assert np.array_equal(result.mask("horse"), WHOLE.decode())


def test_panoptic_segments_cover_all_labelled_pixels_once() -> None:
    items = [segment(WHOLE, "dog", 0.6), segment(PART, "cat", 0.9), segment(block(30, 30, 70, 55), "dog", 0.8)]
    cells = grid([(0.0, 0.0, 1.0), (0.0, 1.0, 0.0)])
    result = segments(*items)
    semantic = semantic_map(result, LABELS, cells)
    flat = panoptic_segments(result, semantic)
    covered = sum(each.mask.astype(int) for each in flat)
    assert np.array_equal(covered, (semantic.classes > 0).astype(int))
    for each in flat:
        assert set(names(semantic)[each.mask]) == {each.name}
    assert sum(each.predicted_iou == 0 for each in flat) == 1  # the labelled pixels outside of masks
    assert flat.named("cat")[0].rle == PART
    assert [each.area for each in flat] == sorted((each.area for each in flat), reverse=True)
    assert block(30, 30, 70, 55) in [each.rle for each in flat]  # the dog with the higher score is complete


def test_a_nested_segment_with_the_same_name_joins_the_larger_one() -> None:
    result = segments(segment(WHOLE, "dog", 0.5), segment(block(20, 20, 45, 45), "dog", 0.9))
    (dog,) = panoptic_segments(result, semantic_map(result, LABELS))
    assert (dog.rle, dog.probability) == (WHOLE, 0.9)


def test_a_map_is_immutable_and_has_an_image_and_a_table() -> None:
    result = semantic_map(segments(segment(WHOLE, "dog")), LABELS)
    with pytest.raises(FrozenInstanceError):
        result.labels = ()  # type: ignore[misc]
    for each in (result, pickle.loads(pickle.dumps(result)), deepcopy(result)):
        for array in (each.classes, each.scores):
            with pytest.raises(ValueError, match="read-only"):
                array[0, 0] = 1
    assert PIL.Image.open(io.BytesIO(result._repr_png_())).format == "PNG"
    assert str(result).splitlines()[0].split() == ["#", "label", "share"]
    assert "dog" in repr(result)
    with pytest.raises(SegzsError, match="the map has no label 'horse'"):
        result.mask("horse")


def test_captions_state_the_share_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(
        "segzs.postprocess.maps.overlay", lambda pixels, masks, captions, colours: drawn.append(captions)
    )
    semantic_map(segments(segment(WHOLE, "dog"), segment(block(60, 0, 63, 3), "cat")), LABELS).overlay()
    assert drawn == [["dog, area 27%", "cat, area <1%"]]


@pytest.mark.parametrize("count", [255, 256, 1000])
def test_the_values_of_the_png_are_indices_of_labels(count: int, tmp_path: Path) -> None:
    labels = [f"label {index}" for index in range(1, count + 1)]
    result = semantic_map(segments(segment(WHOLE, labels[-1]), segment(block(60, 0, 90, 30), "label 1")), labels)
    with PIL.Image.open(save(result, tmp_path / "x.map.png")) as image:
        assert np.array_equal(np.array(image), result.classes)
        assert image.mode == ("P" if count < 256 else "I;16")
    content = json.loads(save(result, tmp_path / "x.map.json").read_text("utf-8"))
    assert {row["id"]: row["name"] for row in content["labels"]} == {0: "unknown", 1: "label 1", count: labels[-1]}
    with PIL.Image.open(save(result, tmp_path / "x.overlay.png")) as overlay:
        assert overlay.width >= 100
    with pytest.raises(OutputError, match=r"x\.json: the suffix of a map must be \.map\.png"):
        save(result, tmp_path / "x.json")


@pytest.fixture(scope="module")
def desk(segmenter: segzs.Segmenter) -> segzs.EncodedImage:
    return segmenter.encode(EXAMPLES / "desk.png")


def test_the_segmenter_maps_an_image(segmenter: segzs.Segmenter, desk: segzs.EncodedImage) -> None:
    labels = ["laptop", "cactus"]
    two = segmenter.with_labels(labels)
    result = two.segment(desk, [segzs.Prompt.box(258, 45, 502, 258), segzs.Prompt.box(41, 22, 195, 224)])
    semantic = two.semantic(desk, result)
    assert semantic.labels == ("unknown", *labels)
    assert semantic.model == "tiny+tiny"
    for each in result:
        assert semantic.mask(each.name)[each.mask].mean() > 0.95
    flat = two.panoptic(desk, result)
    covered = sum(each.mask.astype(int) for each in flat)
    assert covered.max() == 1
    assert (covered != (semantic.classes > 0)).mean() < 0.005  # but for remains


def test_without_dense_features_pixels_outside_of_masks_are_unknown(
    segmenter: segzs.Segmenter, desk: segzs.EncodedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(clip: object) -> None:
        raise ModelError("no dense features")

    monkeypatch.setattr("segzs.clip.regions.tower_of", refuse)
    nothing = Segments(desk.image, ())
    with pytest.warns(MapWarning, match="no dense features"):
        assert segmenter.semantic(desk, nothing).shares == {"unknown": 1.0}


def test_segments_of_another_image_are_refused(segmenter: segzs.Segmenter, desk: segzs.EncodedImage) -> None:
    for wrong in (segments(segment(RLE.encode(np.ones((60, 100), bool)), "cat")), "segments"):
        with pytest.raises(PromptError, match="is not Segments of this image"):
            segmenter.semantic(desk, wrong)  # type: ignore[arg-type]
    with pytest.raises(SegzsError, match="min_confidence is 2; a probability from 0 to 1 is expected"):
        segmenter.semantic(desk, Segments(desk.image, ()), min_confidence=2)
    with pytest.raises(PromptError, match=r"call segmenter\.encode"):
        segmenter.panoptic("desk.png")  # type: ignore[arg-type]

"""Maps: one label for every pixel, decided by names, scores and ios, and the segments that follow from it."""

from __future__ import annotations

import io
import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import segzs
import segzs.segmenter as module
from segzs.errors import ModelError, OutputError, PromptError, SegzsError
from segzs.formats import save
from segzs.masks import RLE
from segzs.postprocess.maps import MapWarning, SemanticMap, panoptic_segments, semantic_map
from segzs.segments import Segments
from tests.conftest import EXAMPLES
from tests.postprocess.test_merging import block, segment, segments

LABELS = ("cat", "dog")
WHOLE, PART = block(10, 10, 50, 50), block(20, 20, 30, 30)


def names(of_pixels: SemanticMap) -> np.ndarray:
    return np.array(of_pixels.labels)[of_pixels.classes]


def grid(*rows: list[tuple[float, float, float]]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_masks_give_their_names_and_all_else_is_unknown() -> None:
    found = semantic_map(segments(segment(WHOLE, "dog", 0.5, 0.8)), LABELS)
    assert found.labels == ("unknown", "cat", "dog")
    assert np.array_equal(found.mask("dog"), WHOLE.decode())
    assert np.array_equal(found.mask("unknown"), ~WHOLE.decode())
    assert found.scores[15, 15] == pytest.approx(0.4, abs=0.01)
    assert found.scores[0, 0] == 0
    assert found.classes.dtype == np.uint16
    assert list(found.shares) == ["unknown", "dog"]
    assert sum(found.shares.values()) == pytest.approx(1)


def test_a_part_lies_on_top_where_its_own_name_is_surer_and_of_equals_the_smaller() -> None:
    for probability, wins in [(0.9, "cat"), (0.6, "cat"), (0.5, "dog")]:
        for order in (1, -1):
            pair = [segment(WHOLE, "dog", 0.6), segment(PART, "cat", probability)][::order]
            assert names(semantic_map(segments(*pair), LABELS))[25, 25] == wins


def test_what_is_unknown_or_has_no_name_hides_nothing() -> None:
    found = semantic_map(segments(segment(WHOLE, "dog", 0.2), segment(PART, "unknown", 0.9), segment(PART)), LABELS)
    assert np.array_equal(found.mask("dog"), WHOLE.decode())


def test_masks_of_one_name_add_up() -> None:
    items = [segment(WHOLE, "dog", 0.5), segment(WHOLE, "cat", 0.3), segment(PART, "cat", 0.3)]
    found = names(semantic_map(segments(*items), LABELS))
    assert (found[25, 25], found[15, 15]) == ("cat", "dog")


def test_cells_fill_what_masks_leave() -> None:
    cells = grid([(0.1, 0.1, 0.8), (0.95, 0.0, 0.05)], [(0.1, 0.1, 0.8), (0.95, 0.0, 0.05)])
    found = names(semantic_map(segments(segment(WHOLE, "dog", 0.2)), LABELS, cells))
    assert found[5, 5] == found[5, 60] == "unknown"  # at 60 "cat" is more probable, but not sure
    assert found[5, 95] == "cat"
    assert (found[WHOLE.decode()] == "dog").all()


def test_names_from_elsewhere_are_labels_too() -> None:
    found = semantic_map(segments(segment(WHOLE, "horse")), LABELS)
    assert found.labels == ("unknown", *LABELS, "horse")
    assert np.array_equal(found.mask("horse"), WHOLE.decode())


def test_panoptic_segments_cover_what_is_known_once() -> None:
    items = [segment(WHOLE, "dog", 0.6), segment(PART, "cat", 0.9), segment(block(30, 30, 70, 55), "dog", 0.8)]
    cells = grid([(0.0, 0.0, 1.0), (0.0, 1.0, 0.0)])
    found = segments(*items)
    of_pixels = semantic_map(found, LABELS, cells)
    flat = panoptic_segments(found, of_pixels)
    covered = sum(each.mask.astype(int) for each in flat)
    assert np.array_equal(covered, (of_pixels.classes > 0).astype(int))
    for each in flat:
        assert set(names(of_pixels)[each.mask]) == {each.name}
    assert sum(each.predicted_iou == 0 for each in flat) == 1  # what CLIP saw and no mask holds
    assert flat.named("cat")[0].rle == PART
    assert [each.area for each in flat] == sorted((each.area for each in flat), reverse=True)
    assert block(30, 30, 70, 55) in [each.rle for each in flat]  # the surer of the two dogs is whole


def test_a_repeated_part_goes_with_its_object() -> None:
    found = segments(segment(WHOLE, "dog", 0.5), segment(block(20, 20, 45, 45), "dog", 0.9))
    (dog,) = panoptic_segments(found, semantic_map(found, LABELS))
    assert (dog.rle, dog.probability) == (WHOLE, 0.9)


def test_a_map_is_a_value_that_shows_itself() -> None:
    found = semantic_map(segments(segment(WHOLE, "dog")), LABELS)
    with pytest.raises(FrozenInstanceError):
        found.labels = ()  # type: ignore[misc]
    for array in (found.classes, found.scores):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    assert PIL.Image.open(io.BytesIO(found._repr_png_())).format == "PNG"
    assert str(found).splitlines()[0].split() == ["#", "label", "share"]
    assert "dog" in repr(found)
    with pytest.raises(SegzsError, match="'horse' is none of the map's labels"):
        found.mask("horse")


def test_captions_tell_areas_from_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(
        "segzs.postprocess.maps.overlay", lambda pixels, masks, captions, colours: drawn.append(captions)
    )
    semantic_map(segments(segment(WHOLE, "dog"), segment(block(60, 0, 63, 3), "cat")), LABELS).overlay()
    assert drawn == [["dog, area 27%", "cat, area <1%"]]


@pytest.mark.parametrize("count", [255, 256, 1000])
def test_the_values_of_the_png_are_the_labels_numbers(count: int, tmp_path: Path) -> None:
    labels = [f"label {index}" for index in range(1, count + 1)]
    found = semantic_map(segments(segment(WHOLE, labels[-1]), segment(block(60, 0, 90, 30), "label 1")), labels)
    with PIL.Image.open(save(found, tmp_path / "x.map.png")) as picture:
        assert np.array_equal(np.array(picture), found.classes)
        assert picture.mode == ("P" if count < 256 else "I;16")
    known = json.loads(save(found, tmp_path / "x.map.json").read_text("utf-8"))
    assert {row["id"]: row["name"] for row in known["labels"]} == {0: "unknown", 1: "label 1", count: labels[-1]}
    assert PIL.Image.open(save(found, tmp_path / "x.overlay.png")).width >= 100
    with pytest.raises(OutputError, match=r"x\.json: the ending of a map must be \.map\.png"):
        save(found, tmp_path / "x.json")


@pytest.fixture(scope="module")
def desk(segmenter: segzs.Segmenter) -> segzs.EncodedImage:
    return segmenter.encode(EXAMPLES / "desk.png")


def test_the_segmenter_maps_a_picture(segmenter: segzs.Segmenter, desk: segzs.EncodedImage) -> None:
    labels = ["laptop", "cactus"]
    two = segmenter.with_labels(labels)
    found = two.segment(desk, [segzs.Prompt.box(258, 45, 502, 258), segzs.Prompt.box(41, 22, 195, 224)])
    of_pixels = two.semantic(desk, found)
    assert of_pixels.labels == ("unknown", *labels)
    assert of_pixels.model == "tiny+tiny"
    for each in found:
        assert of_pixels.mask(each.name)[each.mask].mean() > 0.95
    flat = two.panoptic(desk, found)
    covered = sum(each.mask.astype(int) for each in flat)
    assert covered.max() == 1
    assert (covered != (of_pixels.classes > 0)).mean() < 0.005  # but for remains


def test_a_clip_that_sees_whole_pictures_only_leaves_the_rest_unknown(
    segmenter: segzs.Segmenter, desk: segzs.EncodedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(clip: object) -> None:
        raise ModelError("no dense path")

    monkeypatch.setattr(module, "tower_of", refuse)
    nothing = Segments(desk.image, ())
    with pytest.warns(MapWarning, match="no dense path"):
        assert segmenter.semantic(desk, nothing).shares == {"unknown": 1.0}


def test_segments_of_another_image_are_refused(segmenter: segzs.Segmenter, desk: segzs.EncodedImage) -> None:
    for wrong in (segments(segment(RLE.encode(np.ones((60, 100), bool)), "cat")), "segments"):
        with pytest.raises(PromptError, match="is not Segments of this image"):
            segmenter.semantic(desk, wrong)  # type: ignore[arg-type]
    with pytest.raises(SegzsError, match="sure is 2; a probability from 0 to 1 is expected"):
        segmenter.semantic(desk, Segments(desk.image, ()), sure=2)
    with pytest.raises(PromptError, match=r"call segmenter\.encode"):
        segmenter.panoptic("desk.png")  # type: ignore[arg-type]

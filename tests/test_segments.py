"""Segments are a sequence, a table, JSON that reads back, and a picture in a notebook."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import PIL.Image
import pytest

from segzs import Name, Segment, Segments, SegzsError, read_image
from segzs.draw import colours
from segzs.masks import RLE


def pixels_of(picture: PIL.Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(picture) == colour).all(2).sum())


@pytest.fixture
def desk(scene) -> Segments:
    known = scene("desk")
    items = tuple(
        Segment(mask, 0.9, 0.8, (Name(name, 0.75), Name("猫", 0.15), Name("unknown", 0.1)), np.ones((4, 4), np.float32))
        for name, mask in zip(known.names, known.masks, strict=True)
    )
    return Segments(read_image(known.path), items, "tiny+tiny")


def test_segments_are_a_sequence(desk: Segments) -> None:
    assert len(desk) == 10
    assert list(desk) == [desk[index] for index in range(10)]
    assert desk[-1] is desk[9]
    assert desk[3] in desk
    assert [segment.name for segment in reversed(desk)] == desk.names[::-1]
    with pytest.raises(IndexError):
        desk[10]


def test_slices_names_and_sums_are_segments_of_the_same_image(desk: Segments) -> None:
    first, rest = desk[:3], desk[3:]
    assert first.names == ["cactus", "laptop", "camera"]
    assert (first.image, first.model) == (desk.image, desk.model)
    assert first + rest == desk
    assert desk[::-2].names == desk.names[::-2]
    assert desk.named("camera", "laptop", "whale").names == ["laptop", "camera"]
    assert len(desk.named("whale")) == 0


def test_segments_of_two_images_do_not_add(desk: Segments, scene) -> None:
    other = Segments(read_image(scene("picnic").path), ())
    with pytest.raises(SegzsError, match="two different images"):
        desk + other
    with pytest.raises(TypeError):
        desk + list(desk)  # type: ignore[operator]


def test_a_segment_is_a_value(desk: Segments) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        desk[0].predicted_iou = 1.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        desk[0].mask[0, 0] = True
    assert len({*desk, *desk}) == 10


def test_mask_area_and_box_agree(desk: Segments) -> None:
    for segment in desk:
        x1, y1, x2, y2 = segment.box
        assert segment.mask.shape == (576, 768)
        assert segment.mask.sum() == segment.mask[y1:y2, x1:x2].sum() == segment.area


def test_json_holds_all_that_is_known(desk: Segments) -> None:
    read = json.loads(desk.to_json())
    assert read["model"] == "tiny+tiny"
    assert read["image"] == {"width": 768, "height": 576, "sha256": desk.image.digest}
    assert len(read["segments"]) == 10
    for row, segment in zip(read["segments"], desk, strict=True):
        code = row["segmentation"]
        assert np.array_equal(RLE(*code["size"], code["counts"]).decode(), segment.mask)
        assert (row["name"], row["probability"], row["area"]) == (segment.name, 0.75, segment.area)
        assert (tuple(row["box"]), row["predicted_iou"], row["stability_score"]) == (segment.box, 0.9, 0.8)
        assert [name["label"] for name in row["names"]] == [segment.name, "猫", "unknown"]


def test_numpy_numbers_do_not_break_json(desk: Segments) -> None:
    score = np.float32(0.5)
    segment = Segment(desk[0].rle, score, score, (Name("cat", score),))  # type: ignore[arg-type]
    read = json.loads(Segments(desk.image, (segment,)).to_json())
    assert read["segments"][0]["probability"] == 0.5


def test_the_table_has_a_row_a_segment(desk: Segments) -> None:
    header, *rows = str(desk).splitlines()
    assert header.split()[:3] == ["#", "name", "probability"]
    assert len(rows) == 10
    for index, (row, segment) in enumerate(zip(rows, desk, strict=True)):
        box = ",".join(str(side) for side in segment.box)
        expected = [str(index), *segment.name.split(), "0.75", box, str(segment.area), "0.90", "0.80"]
        assert row.split() == expected
        assert row.index(box) == header.index("box")
    assert str(desk[:0]).split()[:2] == ["#", "name"]


def test_without_a_vocabulary_there_are_no_names(desk: Segments) -> None:
    bare = Segments(desk.image, tuple(Segment(segment.rle, 0.9, 0.8) for segment in desk))
    assert bare.names == [""] * 10
    assert bare[0].probability == 0
    assert bare.table().splitlines()[1].split()[:3] == ["0", "-", "-"]
    drawn = bare.overlay()
    assert all(pixels_of(drawn, colour) > 50 for colour in colours(desk.names))


def test_a_notebook_shows_the_overlay(desk: Segments) -> None:
    with PIL.Image.open(io.BytesIO(desk._repr_png_())) as shown:
        assert shown.size == (768, 576)
        assert shown.tobytes() == desk.overlay().tobytes()
    with PIL.Image.open(io.BytesIO(desk[:0]._repr_png_())) as empty:
        assert empty.tobytes() == desk.image.pixels.tobytes()


def test_elsewhere_the_viewer_shows_it(desk: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[PIL.Image.Image] = []
    monkeypatch.setattr(PIL.Image.Image, "show", lambda picture: shown.append(picture))
    desk.show()
    assert [picture.size for picture in shown] == [(768, 576)]


def test_equal_names_look_alike_and_different_ones_do_not(desk: Segments) -> None:
    twins = tuple(dataclasses.replace(segment, names=(Name("twin", 1.0),)) for segment in desk)
    first, *others = colours(desk.names)
    alike, different = Segments(desk.image, twins).overlay(), desk.overlay()
    assert pixels_of(alike, first) > 1000
    assert all(pixels_of(alike, colour) < 50 < pixels_of(different, colour) for colour in others)

"""Segment and Segments: values that are a sequence, a table, JSON, polygons and images."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
from copy import deepcopy
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segzs import AnnotationError, Name, OutputError, Segment, Segments, SegzsError, read_image
from segzs.draw import colours
from segzs.masks import RLE


def pixels_of(image: PIL.Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == colour).all(2).sum())


@pytest.fixture
def desk(scene) -> Segments:
    content = scene("desk")
    items = tuple(
        Segment(mask, 0.9, 0.8, (Name(name, 0.75), Name("猫", 0.15), Name("unknown", 0.1)), np.ones((4, 4), np.float32))
        for name, mask in zip(content.names, content.masks, strict=True)
    )
    return Segments(read_image(content.path), items, "tiny+tiny")


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


def test_segments_of_two_images_cannot_be_added(desk: Segments, scene) -> None:
    other = Segments(read_image(scene("picnic").path), ())
    with pytest.raises(AnnotationError, match="segment 0 lies on another image"):
        other + desk
    with pytest.raises(TypeError):
        desk + list(desk)  # type: ignore[operator]


def test_segments_of_another_image_are_refused(desk: Segments, scene) -> None:
    other = read_image(read_image(scene("picnic").path).pixels[: desk.image.height, : desk.image.width])
    with pytest.raises(AnnotationError, match="segment 1 lies on another image"):
        Segments(other, (Segment(desk[0].rle, 1.0, 1.0), desk[1]))
    with pytest.raises(AnnotationError, match="the mask has 768x576 pixels, and its image 5x4"):
        Segments(read_image(np.zeros((4, 5, 3), np.uint8)), (Segment(desk[0].rle, 1.0, 1.0),))


def test_segments_know_their_image(desk: Segments, scene) -> None:
    assert all(segment.image is desk.image for segment in desk)
    again = Segments(read_image(scene("desk").path), desk.items)  # equal pixels
    assert all(segment.image is again.image for segment in again)


@pytest.mark.parametrize("copied", [lambda value: pickle.loads(pickle.dumps(value)), deepcopy])
def test_copies_are_equal_and_read_only(copied, desk: Segments) -> None:
    desk.image.digest  # noqa: B018  # computed before
    copy = copied(desk)
    assert copy == desk
    assert all(segment.image is copy.image for segment in copy)
    for array in (copy.image.pixels, copy[0].low_res_logits, copied(desk[0]).low_res_logits):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)


def test_polygons_enclose_the_parts_of_a_mask() -> None:
    mask = np.zeros((40, 60), bool)
    mask[5:15, 5:25] = mask[20:35, 30:50] = True
    mask[8:12, 10:15] = False  # a hole
    polygons = Segment(RLE.encode(mask), 1.0, 1.0).polygons()
    boxes = sorted((*polygon.min(0).tolist(), *polygon.max(0).tolist()) for polygon in polygons)
    assert boxes == [(5, 5, 24, 14), (30, 20, 49, 34)]
    assert Segment(RLE.encode(np.zeros((4, 4), bool)), 1.0, 1.0).polygons() == []


def test_a_crop_is_the_box_with_a_transparent_background(desk: Segments, tmp_path: Path) -> None:
    segment = desk[1]
    x1, y1, x2, y2 = segment.box
    crop = np.asarray(segment.crop())
    assert crop.shape == (y2 - y1, x2 - x1, 4)
    assert np.array_equal(crop[..., :3], desk.image.pixels[y1:y2, x1:x2])
    assert np.array_equal(crop[..., 3] == 255, segment.mask[y1:y2, x1:x2])
    with PIL.Image.open(io.BytesIO(segment.to_png())) as png:
        assert np.array_equal(np.asarray(png), crop)
    path = segment.save(tmp_path / "laptop.png")
    assert path.read_bytes() == segment.to_png() == segment._repr_png_()
    with pytest.raises(OutputError, match="cannot be written"):
        segment.save(tmp_path / "laptop.png" / "laptop.png")


def test_a_segment_without_pixels_cannot_be_cropped(desk: Segments) -> None:
    read = Segment.from_dict(desk[0].to_dict())
    assert read._repr_png_() is None
    with pytest.raises(SegzsError, match=r"use ImageAnnotations.on\(image\) first"):
        read.crop()
    (empty,) = Segments(desk.image, (Segment(RLE.encode(np.zeros((576, 768), bool)), 1.0, 1.0),))
    assert empty._repr_png_() is None
    with pytest.raises(SegzsError, match="the mask of the segment is empty"):
        empty.to_png()


def test_a_segment_is_immutable(desk: Segments) -> None:
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


def test_json_has_masks_names_and_scores(desk: Segments) -> None:
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


def test_numpy_scores_can_be_written_as_json(desk: Segments) -> None:
    score = np.float32(0.5)
    segment = Segment(desk[0].rle, score, score, (Name("cat", score),))  # type: ignore[arg-type]
    read = json.loads(Segments(desk.image, (segment,)).to_json())
    assert read["segments"][0]["probability"] == 0.5


def test_the_table_has_a_row_for_each_segment(desk: Segments) -> None:
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
    with PIL.Image.open(io.BytesIO(desk._repr_png_())) as image:
        assert image.size == (768, 576)
        assert image.tobytes() == desk.overlay().tobytes()
    with PIL.Image.open(io.BytesIO(desk[:0]._repr_png_())) as empty:
        assert empty.tobytes() == desk.image.pixels.tobytes()


def test_outside_of_notebooks_show_opens_the_viewer(desk: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[PIL.Image.Image] = []
    monkeypatch.setattr(PIL.Image.Image, "show", lambda image: opened.append(image))
    desk.show()
    assert [image.size for image in opened] == [(768, 576)]


def test_equal_names_have_equal_colours(desk: Segments) -> None:
    twins = tuple(dataclasses.replace(segment, names=(Name("twin", 1.0),)) for segment in desk)
    first, *others = colours(desk.names)
    twin, different = Segments(desk.image, twins).overlay(), desk.overlay()
    assert pixels_of(twin, first) > 1000
    assert all(pixels_of(twin, colour) < 50 < pixels_of(different, colour) for colour in others)

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import segzs
from segzs.cache import EmbeddingCache
from segzs.clip.labels import Label
from segzs.errors import AnnotationError, SegzsError, VocabularyError
from segzs.evaluate.clicks import iou_of_boxes
from segzs.evaluate.measure import Plan, _with_fewer_labels, measure
from segzs.evaluate.truth import Truth, read_classes, read_coco
from segzs.segments import Name, Segment, Segments
from tests.conftest import EXAMPLES, read_scene
from tests.evaluate.conftest import Write


@pytest.fixture
def desk(write_coco: Write) -> Truth:
    return read_coco(write_coco("desk"), EXAMPLES)


def test_masks_are_measured(segmenter: segzs.Segmenter, desk: Truth) -> None:
    some = desk.some(objects=3)
    (picture,) = some.pictures
    (rows,) = measure([segmenter], some, Plan(("masks",), clicks=4))
    assert [(row.name, row.area) for row in rows] == [
        (name, mask.area) for name, mask in zip(picture.names, picture.masks, strict=True)
    ]
    assert set(rows[0].values) == {"iou_1", "iou_3", "iou_box", "clicks_85", "clicks_90"}  # five clicks were not made
    expected = iou_of_boxes(segmenter.sam, segmenter.encode(picture.path), picture.masks)
    assert [row.values["iou_box"] for row in rows] == pytest.approx(expected.tolist())
    for row in rows:
        assert 1 <= row.values["clicks_85"] <= row.values["clicks_90"] <= 4
        assert (row.source, row.answer) == ("desk", "")


def test_names_are_those_that_segments_get(segmenter: segzs.Segmenter, desk: Truth) -> None:
    named = segmenter.with_labels(desk.labels)
    (rows,) = measure([named], desk, Plan(("names",), removed=0.5))
    scene = read_scene("desk")
    segments = named.name(Segments(segzs.read_image(scene.path), tuple(Segment(m, 1, 1) for m in scene.masks)))
    assert [row.answer for row in rows] == segments.names
    assert [row.values["answered"] for row in rows] == [
        float(a == b) for a, b in zip(segments.names, scene.names, strict=True)
    ]
    assert [row.values["confidence"] for row in rows] == pytest.approx([s.probability for s in segments])
    assert 0 < sum(row.values["removed"] for row in rows) < len(rows)
    assert all(0 <= row.values["unknown_score"] <= 1 for row in rows)


def test_names_alone_need_no_encoder(segmenter: segzs.Segmenter, desk: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddingCache, "encode", lambda *_: pytest.fail("SAM looked at the picture"))
    measure([segmenter.with_labels(desk.labels)], desk, Plan(("names",)))


def test_a_picture_is_encoded_once_for_all_configurations(desk: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    import segzs.cache as module

    seen = []
    encode = module.encode
    monkeypatch.setattr(module, "encode", lambda *given: seen.append(1) or encode(*given))
    two = [segzs.load(labels=desk.labels, background=background, cache=False) for background in ("grey", "keep")]
    first, second = measure(two, desk.some(objects=2), Plan(("masks",), clicks=1))
    assert len(seen) == 1
    assert first == second


def test_own_masks_by_hand(segmenter: segzs.Segmenter, desk: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything mode finds the first object exactly and calls it unknown, a part of the second, and nothing else."""
    scene = read_scene("desk")
    half = scene.masks[1].decode()
    x1, _, x2, _ = scene.masks[1].box
    half[:, (x1 + x2) // 2 :] = False
    found = (
        Segment(scene.masks[0], 0.9, 1, (Name("unknown", 0.7), Name(scene.names[0], 0.3))),
        Segment(type(scene.masks[0]).encode(half), 0.8, 1, (Name(scene.names[1], 1.0),)),
    )
    asked = []

    def everything(self: segzs.Segmenter, photo: segzs.EncodedImage, **grid: object) -> Segments:
        asked.append(grid)
        return Segments(photo.image, found)

    monkeypatch.setattr(segzs.Segmenter, "everything", everything)
    named = segmenter.with_labels(desk.labels)
    (rows,) = measure([named], desk, Plan(("everything",), grid={"points_per_side": 3}))
    assert asked == [{"points_per_side": 3}]
    first, second, third = (row.values for row in rows[:3])
    assert first == {"average_recall": 1, "recall_75": 1, "own_top_1": 1, "own_top_5": 1, "own_answered": 0}
    assert second["average_recall"] in (0, 0.1, 0.2)
    assert third == {"average_recall": 0, "recall_75": 0}


def test_objects_with_other_names_have_no_figures_of_names(segmenter: segzs.Segmenter, desk: Truth) -> None:
    labels = [label for label in desk.labels if label != desk.pictures[0].names[0]]
    (rows,) = measure([segmenter.with_labels(labels)], desk, Plan(("names",), removed=0.2))
    assert "top_1" not in rows[0].values
    assert rows[0].values["removed"] == 1  # its label is not in the list either
    assert "top_1" in rows[1].values
    with pytest.raises(VocabularyError, match=r"none of the annotated names \(.*\) is among the labels \(cow, sheep\)"):
        measure([segmenter.with_labels("cow, sheep")], desk, Plan(("names",)))


def test_whole_pictures_are_named(segmenter: segzs.Segmenter, tmp_path: Path) -> None:
    scene, pixels = read_scene("desk"), np.asarray(PIL.Image.open(EXAMPLES / "desk.png").convert("RGB"))
    for name, mask in zip(scene.names[:4], scene.masks[:4], strict=True):
        x1, y1, x2, y2 = mask.box
        (tmp_path / name).mkdir()
        PIL.Image.fromarray(pixels[y1:y2, x1:x2]).save(tmp_path / name / "1.png")
    truth = read_classes(tmp_path)
    named = segmenter.with_labels(truth.labels)
    (rows,) = measure([named], truth, Plan(("names",)))
    assert [row.answer for row in rows] == [named.classify(picture.path)[0].label for picture in truth.pictures]
    assert [(row.area, row.size) for row in rows] == [(0, "")] * 4
    with pytest.raises(AnnotationError, match="only 'names'"):
        measure([named], truth)


def test_where_unknown_cannot_be_measured_the_rest_is(segmenter: segzs.Segmenter, desk: Truth) -> None:
    one = desk.some(objects=1)
    for named, plan in [
        (segmenter.with_labels(one.pictures[0].names), Plan(("names",))),  # one label cannot be left out
        (segmenter.with_labels(desk.labels), Plan(("names",), removed=0)),
        (segzs.load(labels=desk.labels, unknown=None, cache=False), Plan(("names",))),
    ]:
        ((row,),) = measure([named], one, plan)
        assert "top_1" in row.values
        assert "unknown_score" not in row.values


def test_progress_goes_to_one(segmenter: segzs.Segmenter, desk: Truth) -> None:
    shares: list[float] = []
    measure([segmenter.with_labels(desk.labels)], desk.some(objects=1), Plan(("names",)), shares.append)
    assert shares == [1]


@pytest.mark.parametrize(
    "options",
    [
        *({"what": ()}, {"what": ("mask",)}, {"clicks": 0}, {"clicks": 2.5}),
        *({"removed": 1}, {"removed": -1}, {"seed": -1}, {"grid": {"stability_score": 2}}),
    ],
)
def test_a_plan_out_of_range(options: dict) -> None:
    with pytest.raises(SegzsError, match="expected"):
        Plan(**options)


def test_what_is_known_of_labels_is_kept_where_some_are_left_out(segmenter: segzs.Segmenter, desk: Truth) -> None:
    first, *others = desk.labels
    details = [Label(first, synonyms=("thing",)), *(Label(name, templates=("a {}",)) for name in others)]
    part = _with_fewer_labels(segmenter.with_labels(details), Plan(("names",), removed=0.3))
    assert part is not None
    left = part.vocabulary
    assert 0 < len(left.labels) < len(details)
    assert left.details == tuple(label for label in details if label.name in left.labels)


def test_parents_of_the_right_names_are_right_where_they_are_annotated(segmenter: segzs.Segmenter, desk: Truth) -> None:
    """Objects that are annotated as things are named right by whatever is a thing."""
    things = [Label(name, parent="thing") for name in desk.labels]
    called = replace(desk, pictures=tuple(replace(p, names=("thing",) * len(p.names)) for p in desk.pictures))
    (rows,) = measure([segmenter.with_labels(things)], called, Plan(("names", "everything"), removed=0))
    assert all(row.values["top_1"] == 1 for row in rows)
    assert any("own_top_1" in row.values for row in rows)
    assert all(row.values.get("own_top_1", 1) == 1 for row in rows)

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import segzs
from segzs import segmenter as segmenter_module
from segzs.clip.labels import Label
from segzs.clip.regions import Naming
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


def test_values_of_masks(segmenter: segzs.Segmenter, desk: Truth) -> None:
    some = desk.sample(objects=3)
    (image,) = some.images
    rows = measure(segmenter, some, Plan(("masks",), clicks=4))
    assert [(row.name, row.area) for row in rows] == [(segment.name, segment.area) for segment in image.segments]
    assert set(rows[0].values) == {"iou_1", "iou_3", "iou_box", "clicks_85", "clicks_90"}  # five clicks were not made
    expected = iou_of_boxes(segmenter, segmenter.encode(some.paths[0]), [s.rle for s in image.segments])
    assert [row.values["iou_box"] for row in rows] == pytest.approx(expected.tolist())
    for row in rows:
        assert 1 <= row.values["clicks_85"] <= row.values["clicks_90"] <= 4
        assert (row.source, row.best) == ("desk", "")


def test_names_equal_those_of_segments(segmenter: segzs.Segmenter, desk: Truth) -> None:
    named = segmenter.with_labels(desk.labels)
    rows = measure(named, desk, Plan(("names",), removed=0.5))
    scene = read_scene("desk")
    segments = named.name(Segments(segzs.read_image(scene.path), tuple(Segment(m, 1, 1) for m in scene.masks)))
    best = [next(name.label for name in segment.names if name.label != "unknown") for segment in segments]
    assert [row.best for row in rows] == best
    assert [row.values["answered"] for row in rows] == [
        float(a == b) for a, b in zip(segments.names, scene.names, strict=True)
    ]
    assert [row.values["confidence"] for row in rows] == pytest.approx([s.probability for s in segments])
    assert 0 < sum(row.values["removed"] for row in rows) < len(rows)
    assert all(0 <= row.values["unknown_score"] <= 1 for row in rows)


def test_names_need_no_image_encoder(segmenter: segzs.Segmenter, desk: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenter_module, "encode_cached", lambda *_: pytest.fail("the image encoder ran"))
    measure(segmenter.with_labels(desk.labels), desk, Plan(("names",)))


def test_everything_mode_by_hand(segmenter: segzs.Segmenter, desk: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything mode returns the first object exactly, named unknown, a half of the second, and nothing else."""
    scene = read_scene("desk")
    half = scene.masks[1].decode()
    x1, _, x2, _ = scene.masks[1].box
    half[:, (x1 + x2) // 2 :] = False
    segments = (
        Segment(scene.masks[0], 0.9, 1, (Name("unknown", 0.7), Name(scene.names[0], 0.3))),
        Segment(type(scene.masks[0]).encode(half), 0.8, 1, (Name(scene.names[1], 1.0),)),
    )
    calls = []

    def everything(self: segzs.Segmenter, photo: segzs.EncodedImage, **grid: object) -> Segments:
        calls.append(grid)
        return Segments(photo.image, segments)

    monkeypatch.setattr(segzs.Segmenter, "everything", everything)
    named = segmenter.with_labels(desk.labels)
    rows = measure(named, desk, Plan(("everything",), grid={"points_per_side": 3}))
    assert calls == [{"points_per_side": 3}]
    first, second, third = (row.values for row in rows[:3])
    assert first == {"average_recall": 1, "recall_75": 1, "own_top_1": 1, "own_top_5": 1, "own_answered": 0}
    assert second["average_recall"] in (0, 0.1, 0.2)
    assert third == {"average_recall": 0, "recall_75": 0}


def test_objects_whose_names_are_not_labels_have_no_values_of_names(segmenter: segzs.Segmenter, desk: Truth) -> None:
    labels = [label for label in desk.labels if label != desk.images[0].segments[0].name]
    rows = measure(segmenter.with_labels(labels), desk, Plan(("names",), removed=0.2))
    assert "top_1" not in rows[0].values
    assert rows[0].values["removed"] == 1  # its label is not in the list either
    assert "top_1" in rows[1].values
    with pytest.raises(VocabularyError, match=r"none of the annotated names \(.*\) is among the labels \(cow, sheep\)"):
        measure(segmenter.with_labels(["cow", "sheep"]), desk, Plan(("names",)))


def test_whole_images(segmenter: segzs.Segmenter, tmp_path: Path) -> None:
    scene, pixels = read_scene("desk"), np.asarray(PIL.Image.open(EXAMPLES / "desk.png").convert("RGB"))
    for name, mask in zip(scene.names[:4], scene.masks[:4], strict=True):
        x1, y1, x2, y2 = mask.box
        (tmp_path / name).mkdir()
        PIL.Image.fromarray(pixels[y1:y2, x1:x2]).save(tmp_path / name / "1.png")
    truth = read_classes(tmp_path)
    named = segmenter.with_labels(truth.labels)
    rows = measure(named, truth, Plan(("names",)))
    ranked = [[name.label for name in named.classify(path)] for path in truth.paths]
    assert [row.best for row in rows] == [names[names[0] == "unknown"] for names in ranked]
    assert [(row.area, row.size) for row in rows] == [(0, "")] * 4
    with pytest.raises(AnnotationError, match="'names' only"):
        measure(named, truth)


@pytest.mark.slow
def test_names_are_measured_where_unknown_cannot_be(segmenter: segzs.Segmenter, desk: Truth) -> None:
    one = desk.sample(objects=1)
    for named, plan in [
        (segmenter.with_labels([one.images[0].segments[0].name]), Plan(("names",))),  # one label cannot be left out
        (segmenter.with_labels(desk.labels), Plan(("names",), removed=0)),
        (segzs.load(labels=desk.labels, naming=Naming(unknown=None), cache=False), Plan(("names",))),
    ]:
        (row,) = measure(named, one, plan)
        assert "top_1" in row.values
        assert "unknown_score" not in row.values


def test_progress_ends_at_one(segmenter: segzs.Segmenter, desk: Truth) -> None:
    shares: list[float] = []
    measure(segmenter.with_labels(desk.labels), desk.sample(objects=1), Plan(("names",)), shares.append)
    assert shares == [1]


@pytest.mark.parametrize(
    "options",
    [
        *({"what": ()}, {"what": ("mask",)}, {"clicks": 0}, {"clicks": 2.5}),
        *({"removed": 1}, {"removed": -1}, {"seed": -1}, {"grid": {"stability_score_threshold": 2}}),
    ],
)
def test_a_plan_out_of_range(options: dict) -> None:
    with pytest.raises(SegzsError, match=r"expected|choose from|stability_score"):
        Plan(**options)


def test_the_details_of_labels_stay_when_some_are_removed(segmenter: segzs.Segmenter, desk: Truth) -> None:
    first, *others = desk.labels
    details = [Label(first, synonyms=("thing",)), *(Label(name, descriptions=("a round thing",)) for name in others)]
    part = _with_fewer_labels(segmenter.with_labels(details), Plan(("names",), removed=0.3))
    assert part is not None
    left = part.vocabulary
    assert 0 < len(left.labels) < len(details)
    assert left.entries == tuple(label for label in details if label.name in left.labels)


@pytest.mark.slow
def test_children_of_the_right_name_are_right(segmenter: segzs.Segmenter, desk: Truth) -> None:
    """Any kind of thing is a right name for an object that is annotated as a thing."""
    things = [Label(name, parent="thing") for name in desk.labels]
    (image,) = desk.images
    objects = tuple(replace(segment, names=(Name("thing", 1.0),)) for segment in image.segments)
    called = replace(desk, images=(replace(image, segments=objects),))
    rows = measure(segmenter.with_labels(things), called, Plan(("names", "everything"), removed=0))
    assert all(row.values["top_1"] == 1 for row in rows)
    assert any("own_top_1" in row.values for row in rows)
    assert all(row.values.get("own_top_1", 1) == 1 for row in rows)

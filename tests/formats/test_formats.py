"""Readers of other projects read what each format wrote; a format warns once about what it cannot hold."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import pytest
import yaml
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import segzs
from segzs import AnnotationError, OutputError, Segment, Segments, UsageError, read_image
from segzs.errors import FormatWarning
from segzs.formats import FORMATS, Digests, Format, ImageAnnotations, read, write
from segzs.formats.voc import palette
from tests.formats.conftest import iou

LOSSLESS = ("segzs", "coco", "labelme", "parquet")


def peer(name: str) -> ModuleType:
    """A reader of the extra "peers", or a skip where that is not installed."""
    reason = "pip install '.[peers]', into an environment of its own: its packages want older ones"
    return pytest.importorskip(name, reason=reason)


@pytest.fixture(autouse=True)
def _ignore_format_warnings() -> None:
    warnings.simplefilter("ignore", FormatWarning)


@pytest.fixture
def drawings(annotated: list[ImageAnnotations], tmp_path: Path) -> Path:
    """A folder with a grey image for each image."""
    for one in annotated:
        path = tmp_path / "images" / one.file
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (one.width, one.height), "grey").save(path)
    return tmp_path / "images"


# Round trips


@pytest.mark.parametrize("name", LOSSLESS)
def test_written_files_read_back_equal(annotated: list[ImageAnnotations], tmp_path: Path, name: str) -> None:
    path = write(annotated, tmp_path / f"all{FORMATS[name].suffix}", name)
    for images in (list(read(path)), list(read(path, name))):
        assert sorted(images, key=lambda one: one.file) == annotated


@pytest.mark.parametrize("name", ["coco", "labelme"])
def test_polygons_read_back_as_the_same_pixels(annotated: list[ImageAnnotations], tmp_path: Path, name: str) -> None:
    images = read(write(annotated, tmp_path / f"all{FORMATS[name].suffix}", name, polygons=True))
    assert sorted(images, key=lambda one: one.file) == annotated


def test_json_of_one_image_reads_back_with_its_name(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    image = read_image(np.zeros((24, 40, 3), np.uint8))
    segments = Segments(image, annotated[0].segments, "tiny+tiny")
    (named,) = read(segzs.save(segments, tmp_path / "x.segzs.json", image_name="desk.jpg"))
    assert named == ImageAnnotations.of(segments, "desk.jpg")
    assert named.on(image) == segments
    (bare,) = read(segzs.save(segments, tmp_path / "y.json"))
    assert bare.file == "y.png"
    assert [one.file for one in read(tmp_path)] == ["desk.jpg"]


def test_segments_go_on_their_own_image_only(annotated: list[ImageAnnotations]) -> None:
    with pytest.raises(AnnotationError, match="pixels of the image differ"):
        annotated[0].on(np.zeros((24, 40, 3), np.uint8))
    with pytest.raises(AnnotationError, match=r"40x25 pixels, but 'a/1\.png' was annotated at 40x24"):
        annotated[0].on(np.zeros((25, 40, 3), np.uint8))
    own = ImageAnnotations("x.png", 40, 24, annotated[0].segments)
    assert own.on(np.zeros((24, 40, 3), np.uint8)).names == [segment.name for segment in own.segments]


def test_native_files_hold_all_digests_and_the_source(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    full = [replace(one, digests=Digests("ab", "cd", "ef", "01"), source="holidays") for one in annotated]
    for name in ("segzs", "parquet"):
        assert list(read(write(full, tmp_path / f"all{FORMATS[name].suffix}", name))) == full


# COCO


def load_coco(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.mark.parametrize("polygons", [False, True])
def test_coco_in_pycocotools(annotated: list[ImageAnnotations], tmp_path: Path, polygons: bool) -> None:
    coco = load_coco(write(annotated, tmp_path / "all.json", "coco", polygons=polygons))
    assert coco.getImgIds() == [1, 2, 3]
    assert sorted(coco.getAnnIds()) == list(range(1, 19))
    for image, one in zip(coco.loadImgs([1, 2, 3]), annotated, strict=True):
        assert (image["file_name"], image["width"], image["height"]) == (one.file, one.width, one.height)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"], iscrowd=False))
        for annotation, segment in zip(annotations, one.segments, strict=True):
            assert np.array_equal(coco.annToMask(annotation).astype(bool), segment.mask)
            assert isinstance(annotation["segmentation"], list) == polygons
            assert annotation["area"] == segment.area
            assert coco.loadCats(annotation["category_id"])[0]["name"] == (segment.name or "unknown")


def test_coco_categories_have_the_given_ids(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    path = write(annotated, tmp_path / "all.json", "coco", categories=["whale", "thin", "parts"], base=0)
    ids = {category["name"]: category["id"] for category in json.loads(path.read_text("utf-8"))["categories"]}
    assert (ids["whale"], ids["thin"], ids["parts"], ids["ring"]) == (0, 1, 2, 3)
    assert sorted(ids.values()) == list(range(len(ids)))


def test_coco_in_supervision(annotated: list[ImageAnnotations], drawings: Path, tmp_path: Path) -> None:
    from supervision import DetectionDataset

    path = write(annotated, tmp_path / "all.coco.json", "coco")
    loaded = DetectionDataset.from_coco(str(drawings), str(path), force_masks=True)
    for one in annotated:
        result = loaded.annotations[str(drawings / one.file)]
        assert [loaded.classes[index] for index in result.class_id] == [s.name or "unknown" for s in one.segments]
        for mask, segment in zip([] if result.mask is None else result.mask, one.segments, strict=True):
            assert np.array_equal(mask, segment.mask)


def test_coco_of_other_tools(tmp_path: Path) -> None:
    content = {
        "images": [{"id": "x", "file_name": "a.jpg", "width": 5, "height": 4}],
        "categories": [{"id": 90, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": "x", "category_id": 90, "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]},
            {"id": 2, "image_id": "x", "category_id": 90, "segmentation": {"size": [4, 5], "counts": [4, 8, 8]}},
            {"id": 3, "image_id": "x", "category_id": 90, "segmentation": [], "bbox": [1, 1, 2, 2]},
        ],
    }
    (tmp_path / "people.json").write_text(json.dumps(content))
    with pytest.warns(FormatWarning, match=r"people\.json: left out annotation 3 \(no segmentation\)"):
        (one,) = read(tmp_path / "people.json")
    assert (one.file, one.width, one.height, one.model) == ("a.jpg", 5, 4, "")
    square, columns = one.segments
    assert (square.name, square.probability, square.predicted_iou) == ("cat", 1, 1)
    assert np.argwhere(square.mask).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert columns.mask.tolist() == [[False, True, True, False, False]] * 4


@pytest.mark.parametrize("polygons", [False, True])
def test_masks_without_pixels_are_not_written(tmp_path: Path, polygons: bool) -> None:
    """pycocotools fails on an empty list of polygons."""
    empty = Segment(segzs.masks.RLE.encode(np.zeros((4, 5), bool)), 0.9, 0.9, (segzs.Name("cat", 0.9),))
    full = Segment(segzs.masks.RLE.encode(np.ones((4, 5), bool)), 0.9, 0.9, (segzs.Name("cat", 0.9),))
    path = write([ImageAnnotations("a.png", 5, 4, (empty, full))], tmp_path / "a.json", "coco", polygons=polygons)
    coco = load_coco(path)
    assert [coco.annToMask(row).sum() for row in coco.dataset["annotations"]] == [20]


# COCO panoptic and VOC


def test_panoptic_follows_panopticapi(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    folder = write(annotated, tmp_path / "panoptic", "coco-panoptic")
    content = json.loads((folder / "panoptic.json").read_text("utf-8"))
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert {category["isthing"] for category in content["categories"]} == {1}
    for image, entry, one in zip(content["images"], content["annotations"], annotated, strict=True):
        assert (entry["image_id"], image["file_name"]) == (image["id"], one.file)
        with PIL.Image.open(folder / "panoptic" / entry["file_name"]) as drawing:
            colours = np.asarray(drawing).astype(int)
        assert colours.shape == (one.height, one.width, 3)
        ids = colours @ [1, 256, 256**2]  # panopticapi's rgb2id
        assert {*np.unique(ids).tolist()} - {0} == {info["id"] for info in entry["segments_info"]}
        for info in entry["segments_info"]:
            mask, segment = ids == info["id"], one.segments[info["id"] - 1]
            smaller = [s.mask for s in one.segments if s.area < segment.area]
            assert np.array_equal(mask, segment.mask & ~np.any([*smaller, np.zeros_like(mask)], axis=0))
            ys, xs = np.nonzero(mask)
            assert info["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
            assert (info["area"], info["iscrowd"]) == (mask.sum(), 0)
            assert names[info["category_id"]] == (segment.name or "unknown")


def test_voc_has_values_of_labels_and_of_objects(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    folder = write(annotated, tmp_path / "voc", "voc", categories=["whale"])
    rows = [line.split(":") for line in (folder / "labelmap.txt").read_text("utf-8").splitlines()[1:]]
    labels = [name for name, *_ in rows]
    assert labels[:3] == ["background", "whale", "ring"]
    assert [rgb for _, rgb, *_ in rows[:3]] == ["0,0,0", "128,0,0", "0,128,0"]
    one = annotated[0]
    with (
        PIL.Image.open(folder / "SegmentationClass" / "a" / "1.png") as kinds,
        PIL.Image.open(folder / "SegmentationObject" / "a" / "1.png") as objects,
    ):
        assert kinds.mode == objects.mode == "P"
        assert kinds.getpalette() == palette().ravel().tolist()
        kind, thing = np.asarray(kinds), np.asarray(objects)
    for number, segment in enumerate(one.segments, start=1):
        assert {labels[index] for index in kind[thing == number]} <= {segment.name or "unknown"}
        assert segment.mask[thing == number].all()
    assert thing[7, 9] == 1 + [s.name for s in one.segments].index("one pixel")
    assert (thing > 0).all()


def test_voc_holds_254_objects(tmp_path: Path) -> None:
    codes = [np.arange(300).reshape(1, 300) == index for index in range(300)]
    many = tuple(Segment(segzs.masks.RLE.encode(code), 1, 1) for code in codes)
    folder = write([ImageAnnotations("many.png", 300, 1, many)], tmp_path, "voc")
    with PIL.Image.open(folder / "SegmentationObject" / "many.png") as objects:
        assert np.asarray(objects)[0].tolist() == [*range(1, 255), *[255] * 46]


# YOLO


def test_yolo_in_supervision(annotated: list[ImageAnnotations], drawings: Path, tmp_path: Path) -> None:
    from supervision import DetectionDataset

    folder = write(annotated, tmp_path / "yolo", "yolo")
    names = yaml.safe_load((folder / "data.yaml").read_text("utf-8"))["names"]
    for one in annotated:
        images, labels = (drawings / one.file).parent, (folder / "labels" / one.file).parent
        loaded = DetectionDataset.from_yolo(str(images), str(labels), str(folder / "data.yaml"), force_masks=True)
        result = loaded.annotations[str(drawings / one.file)]
        assert loaded.classes == list(names.values())
        for segment in one.segments:  # as all names differ here, the parts of an object are found by its class
            parts = result.mask[result.class_id == loaded.classes.index(segment.name or "unknown")]
            assert np.array_equal(parts.any(0), segment.mask)


def test_yolo_as_ultralytics_draws_it(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    import cv2

    folder = write(annotated, tmp_path / "yolo", "yolo", categories=["full frame"])
    lines = (folder / "labels" / "a" / "1.txt").read_text().splitlines()
    drawn: dict[int, np.ndarray] = {}
    for line in lines:
        kind, *shares = line.split()
        assert all(0 <= float(share) <= 1 for share in shares)
        polygon = (np.array(shares, np.float32).reshape(-1, 2) * (40, 24)).astype(np.int32)  # cut off, not rounded
        canvas = drawn.setdefault(int(kind), np.zeros((24, 40), np.uint8))
        cv2.fillPoly(canvas, [polygon], 1)
    assert drawn[0].all()
    names = yaml.safe_load((folder / "data.yaml").read_text("utf-8"))["names"]
    assert names[0] == "full frame"
    for segment in annotated[0].segments:
        number = next(number for number, name in names.items() if name == (segment.name or "unknown"))
        assert np.array_equal(drawn[number].astype(bool), segment.mask)
    assert (folder / "labels" / "empty.txt").read_text() == ""


def test_yolo_refuses_images_that_share_a_label_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"'a/1.png' and another image differ only by the suffix"):
        write([ImageAnnotations("a/1.jpg", 4, 4), ImageAnnotations("a/1.png", 4, 4)], tmp_path, "yolo")


# labelme


def test_labelme_shapes_have_the_required_keys(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    folder = write(annotated, tmp_path / "labelme", "labelme")
    content = json.loads((folder / "a" / "1.json").read_text("utf-8"))
    assert (content["imagePath"], content["imageData"], content["imageWidth"]) == ("1.png", None, 40)
    for shape, segment in zip(content["shapes"], annotated[0].segments, strict=True):
        (x1, y1), (x2, y2) = shape["points"]
        assert (x1, y1, x2 + 1, y2 + 1) == segment.box
        assert shape["shape_type"] == "mask"


@pytest.mark.parametrize("polygons", [False, True])
def test_labelme_in_labelme(annotated: list[ImageAnnotations], drawings: Path, polygons: bool) -> None:
    reader = peer("labelme._label_file")
    utils = importlib.import_module("labelme.utils")
    write(annotated, drawings, "labelme", polygons=polygons)
    for one in annotated:
        loaded = reader.LabelFile(str((drawings / one.file).with_suffix(".json")))
        for segment in one.segments:
            shapes = [shape for shape in loaded.shapes if shape["label"] == (segment.name or "unknown")]
            _, things = utils.shapes_to_label((one.height, one.width), shapes, {shapes[0]["label"]: 1})
            assert things.max() == 1
            assert np.array_equal(things == 1, segment.mask)
            assert shapes[0]["other_data"]["predicted_iou"] == segment.predicted_iou


def test_labelme_shapes_of_all_kinds(tmp_path: Path) -> None:
    shapes = [
        {"label": "cat", "points": [[1, 1], [3.6, 1], [3.6, 3.2], [1, 3.2]], "shape_type": "polygon", "group_id": None},
        {"label": "dog", "points": [[4, 4], [2, 2]], "shape_type": "rectangle"},
        {"label": "cup", "points": [[5, 5], [5, 7]], "shape_type": "circle", "group_id": 1},
        {"label": "cup", "points": [[0, 0], [0, 0]], "shape_type": "rectangle", "group_id": 1},
        {"label": "cut", "points": [[1, 1], [2, 2]], "shape_type": "line"},
    ]
    content = {"imagePath": "..\\photos\\a.jpg", "imageHeight": 9, "imageWidth": 12, "shapes": shapes}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.json").write_text(json.dumps(content))
    with pytest.warns(
        FormatWarning, match=r"a\.json: left out shape 4 \(a shape of the type 'line' encloses no area\)"
    ):
        (one,) = read(tmp_path)
    assert (one.file, one.width, one.height) == ("sub/../photos/a.jpg", 12, 9)
    cat, dog, cup = one.segments
    assert [cat.name, dog.name, cup.name] == ["cat", "dog", "cup"]
    assert (dog.box, dog.area, cup.mask[0, 0], cup.box) == ((2, 2, 5, 5), 9, True, (0, 0, 8, 8))


# Label Studio and CVAT


def test_label_studio_tasks_are_predictions(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    folder = write(annotated, tmp_path, "label-studio", polygons=True)
    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=a/1.png"
    config = ET.parse(folder / "config.xml").getroot()
    assert "猫 & <Öl>" not in (labels := [label.get("value") for label in config.iter("Label")])
    for task, one in zip(tasks, annotated, strict=True):
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == one.model
        for result in prediction["result"]:
            assert {*result["value"]["polygonlabels"]} <= {*labels}
            assert 0 <= np.min(result["value"]["points"]) <= np.max(result["value"]["points"]) <= 100
        for segment in one.segments:  # as its exports draw polygons, by area
            results = prediction["result"]
            mine = [r["value"] for r in results if r["value"]["polygonlabels"] == [segment.name or "unknown"]]
            scale = np.array([one.width, one.height]) / 100
            rings = [(np.array(value["points"]) * scale).ravel().tolist() for value in mine]
            code = coco_mask.merge(coco_mask.frPyObjects(rings, one.height, one.width))
            assert np.array_equal(coco_mask.decode(code).astype(bool), segment.mask)
    ring = tasks[0]["predictions"][0]["result"][0]
    assert ring["meta"]["names"][1] == {"label": "猫 & <Öl>", "probability": 0.125}


def test_label_studio_in_its_sdk(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    brush = peer("label_studio_sdk.converter.brush")
    interface = importlib.import_module("label_studio_sdk.label_interface").LabelInterface
    folder = write(annotated, tmp_path, "label-studio")
    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    config = interface((folder / "config.xml").read_text("utf-8"))
    for task, one in zip(tasks, annotated, strict=True):
        assert config.validate_prediction(task["predictions"][0]) or not one.segments
        for result, segment in zip(task["predictions"][0]["result"], one.segments, strict=True):
            values = brush.decode_rle(result["value"]["rle"]).reshape(one.height, one.width, 4)
            assert np.array_equal(values[:, :, 3] > 0, segment.mask)


@pytest.mark.parametrize("polygons", [False, True])
def test_cvat_in_datumaro(annotated: list[ImageAnnotations], drawings: Path, polygons: bool) -> None:
    datumaro = peer("datumaro")
    tools = importlib.import_module("datumaro.util.mask_tools")
    path = write(annotated, drawings.parent / "annotations.xml", "cvat", polygons=polygons)
    loaded = datumaro.Dataset.import_from(str(path), "cvat")
    items = {item.id: item for item in loaded}
    labels = loaded.categories()[datumaro.AnnotationType.label]
    for one in annotated:
        shapes = items[str(Path(one.file).with_suffix(""))].annotations
        for segment in one.segments:
            mine = [shape for shape in shapes if labels[shape.label].name == (segment.name or "unknown")]
            if polygons:
                codes = tools.rles_to_mask([shape.points for shape in mine], one.width, one.height)
                drawn = codes.astype(bool)
            else:
                drawn = np.any([shape.image for shape in mine], axis=0)
            assert iou(drawn, segment.mask) == 1


def test_cvat_in_its_sdk(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    from cvat_sdk.masks import decode_mask

    root = ET.parse(write(annotated, tmp_path / "all.cvat.xml", "cvat")).getroot()
    labels = [name.text for name in root.findall("meta/task/labels/label/name")]
    for image, one in zip(root.iter("image"), annotated, strict=True):
        assert (image.get("name"), image.get("width"), image.get("height")) == (
            one.file,
            f"{one.width}",
            f"{one.height}",
        )
        for shape, segment in zip(image, one.segments, strict=True):
            left, top, width, height = (int(shape.get(key, "")) for key in ("left", "top", "width", "height"))
            runs = [int(run) for run in shape.get("rle", "").split(",")]
            points = [*runs, left, top, left + width - 1, top + height - 1]
            mask = decode_mask(points, image_width=one.width, image_height=one.height)
            assert np.array_equal(mask, segment.mask)
            assert shape.get("label") == (segment.name or "unknown") in labels
            assert float(shape.findtext("attribute[@name='score']", "")) == (
                0.75 if segment.names else segment.predicted_iou
            )


# Parquet, supervision


def test_parquet_is_a_row_a_segment(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(write(annotated, tmp_path / "all.parquet", "parquet")).to_pylist()
    assert len(table) == 9 + 9 + 1
    assert (table[0]["file"], table[0]["segment"], table[0]["name"], table[0]["area"]) == ("a/1.png", 0, "ring", 190)
    assert (table[18]["file"], table[18]["segment"], table[18]["counts"]) == ("empty.png", None, None)


def test_parquet_separates_an_image_that_occurs_twice(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    twice = [annotated[0], annotated[0], annotated[2], annotated[2]]
    assert list(read(write(twice, tmp_path / "all.parquet", "parquet"))) == twice


def test_supervision_has_masks_boxes_and_names(annotated: list[ImageAnnotations]) -> None:
    image = read_image(np.zeros((24, 40, 3), np.uint8))
    result = Segments(image, annotated[0].segments).to_supervision()
    assert len(result) == 9
    assert np.array_equal(result.mask, [segment.mask for segment in annotated[0].segments])
    assert result.xyxy.tolist() == [list(segment.box) for segment in annotated[0].segments]
    assert result["class_name"].tolist() == [segment.name or "unknown" for segment in annotated[0].segments]
    assert result.confidence.tolist() == [0.75] * 8 + [1]
    assert sorted(result.class_id.tolist()) == list(range(9))
    nothing = Segments(image, ()).to_supervision()
    assert (len(nothing), nothing.mask.shape) == (0, (0, 24, 40))


# All formats


@pytest.fixture(params=FORMATS.values(), ids=FORMATS)
def chosen(request: pytest.FixtureRequest) -> Format:
    return request.param


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_input_gives_the_same_bytes(annotated: list[ImageAnnotations], tmp_path: Path, chosen: Format) -> None:
    first, second = (write(annotated, tmp_path / n / f"all{chosen.suffix}", chosen.name).parent for n in ("x", "y"))
    assert tree(first) == tree(second) != {}


def test_images_may_be_an_iterator(annotated: list[ImageAnnotations], tmp_path: Path, chosen: Format) -> None:
    write(iter(annotated), tmp_path / f"all{chosen.suffix}", chosen.name)
    write([], tmp_path / f"none{chosen.suffix}", chosen.name)


def test_a_failure_keeps_the_previous_files(annotated: list[ImageAnnotations], tmp_path: Path, chosen: Format) -> None:
    def failing():
        yield annotated[1]
        raise RuntimeError("power cut")

    path = write(annotated[:1], tmp_path / f"all{chosen.suffix}", chosen.name)
    before = tree(tmp_path)
    with pytest.raises(RuntimeError, match="power cut"):
        write(failing(), path, chosen.name)
    after = tree(tmp_path)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if name.endswith(".part")]


def test_names_never_lead_outside_the_folder(tmp_path: Path, chosen: Format) -> None:
    names = ["../../up.png", "/root/absolute.png", "..\\windows.png"]
    write([ImageAnnotations(name, 4, 4) for name in names], tmp_path / "in" / f"all{chosen.suffix}", chosen.name)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_names_that_are_not_utf8_and_labels_that_are_not_xml(tmp_path: Path, chosen: Format) -> None:
    segment = Segment(segzs.masks.RLE.encode(np.ones((4, 4), bool)), 1, 1, (segzs.Name("a\x00:b", 1.0),))
    path = write([ImageAnnotations("caf\udce9.png", 4, 4, (segment,))], tmp_path / f"all{chosen.suffix}", chosen.name)
    if chosen.read and chosen.name != "parquet":
        assert [one.file for one in read(path)] == ["caf\udce9.png"]
    if chosen.name == "cvat":
        ET.parse(path)


def test_save_equals_write_of_one_image(annotated: list[ImageAnnotations], tmp_path: Path, chosen: Format) -> None:
    segments = Segments(read_image(np.zeros((24, 40, 3), np.uint8)), annotated[0].segments, "tiny+tiny")
    if chosen.folder:
        with pytest.raises(OutputError, match="image_name="):
            segzs.save(segments, tmp_path / "saved", format=chosen.name)
        saved = segzs.save(segments, tmp_path / "saved", format=chosen.name, image_name="desk.png")
        written = write([ImageAnnotations.of(segments, "desk.png")], tmp_path / "written", chosen.name)
        assert tree(saved) == tree(written)
    else:
        saved = segzs.save(segments, tmp_path / f"desk{chosen.suffix}")
        written = write([ImageAnnotations.of(segments, "desk.png")], tmp_path / f"written{chosen.suffix}", chosen.name)
        assert saved.read_bytes() == written.read_bytes()


def test_a_format_warns_once_about_what_it_loses(
    annotated: list[ImageAnnotations], tmp_path: Path, chosen: Format
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write(annotated, tmp_path / f"all{chosen.suffix}", chosen.name)
    lines = [warning.filename for warning in caught if warning.category is FormatWarning]
    messages = [str(warning.message) for warning in caught if warning.category is FormatWarning]
    assert set(lines) <= {__file__}
    assert messages == ([f"{chosen.name} cannot hold {chosen.loses}"] if chosen.loses else [])


def test_unknown_formats_and_options_are_errors(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown format 'yollo'; choose from segzs, coco, "):
        write(annotated, tmp_path / "x", "yollo")
    with pytest.raises(UsageError, match="'cat' occurs twice"):
        write(annotated, tmp_path / "x.json", "coco", categories=["cat", "dog", "cat"])
    with pytest.raises(UsageError, match="base is -5"):
        write(annotated, tmp_path / "x.json", "coco", base=-5)
    with pytest.raises(UsageError, match="unknown option base of yolo; choose from categories"):
        write(annotated, tmp_path / "x", "yolo", base=1)
    with pytest.raises(AnnotationError, match="cannot read yolo; choose from segzs, coco, labelme, parquet"):
        read(tmp_path, "yolo")
    with pytest.raises(UsageError, match="unknown format 'yollo'"):
        read(tmp_path, "yollo")
    assert list(tmp_path.iterdir()) == []


def test_save_refuses_to_overwrite_a_photo(annotated: list[ImageAnnotations], tmp_path: Path) -> None:
    (photo := tmp_path / "photo.png").write_bytes(b"precious")
    segments = Segments(read_image(np.zeros((24, 40, 3), np.uint8)), annotated[0].segments, "tiny+tiny")
    with pytest.raises(UsageError, match=r"photo\.png: the name of a cvat file ends with \.xml"):
        segzs.save(segments, photo, format="cvat")
    assert photo.read_bytes() == b"precious"


def test_a_file_in_place_of_a_folder_is_an_output_error(
    annotated: list[ImageAnnotations], tmp_path: Path, chosen: Format
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write(annotated, tmp_path / "file" / f"all{chosen.suffix}", chosen.name)


def test_the_error_without_pyarrow_has_the_install_command(
    annotated: list[ImageAnnotations], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    calls: list[Callable[[], object]] = [
        lambda: write(annotated, tmp_path / "x.parquet", "parquet"),
        lambda: list(read(tmp_path / "x.parquet")),
    ]
    for call in calls:
        with pytest.raises(OutputError, match=r"pip install 'segzs\[parquet\]'"):
            call()


def test_the_error_without_supervision_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(OutputError, match=r"pip install 'segzs\[supervision\]'"):
        Segments(read_image(np.zeros((24, 40, 3), np.uint8)), ()).to_supervision()

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as coco_mask

from segzs.errors import AnnotationError, ImageError, SegzsError, VocabularyError
from segzs.evaluate.truth import read_classes, read_coco
from tests.conftest import EXAMPLES, read_scene
from tests.evaluate.conftest import Write


def test_a_coco_file_is_read(write_coco: Write) -> None:
    desk, picnic = read_scene("desk"), read_scene("picnic")
    truth = read_coco(write_coco("desk", "picnic"), EXAMPLES)
    assert [picture.path for picture in truth.pictures] == [desk.path, picnic.path]
    assert [picture.source for picture in truth.pictures] == ["desk", "picnic"]
    assert [picture.names for picture in truth.pictures] == [tuple(desk.names), tuple(picnic.names)]
    assert truth.pictures[0].masks == tuple(desk.masks)
    assert truth.objects == len(desk.names) + len(picnic.names)
    assert truth.labels == tuple(dict.fromkeys([*desk.names, *picnic.names]))
    assert truth.pictures[0].read().pixels.shape == (576, 768, 3)


def test_polygons_and_uncompressed_run_lengths_are_masks_too(write_coco: Write) -> None:
    polygon = [10, 10, 60, 10, 60, 40, 10, 40]

    def change(known: dict) -> None:
        known["annotations"][0]["segmentation"] = [polygon]
        known["annotations"][1]["segmentation"] = {"size": [576, 768], "counts": [5, 20, 576 * 768 - 25]}

    masks = read_coco(write_coco("desk", change=change), EXAMPLES).pictures[0].masks
    (expected,) = coco_mask.frPyObjects([polygon], 576, 768)
    assert masks[0].counts == expected["counts"].decode()
    assert masks[1].area == 20


def test_what_is_no_object_is_left_out(write_coco: Write) -> None:
    def change(known: dict) -> None:
        known["annotations"][0]["iscrowd"] = 1
        known["annotations"][1]["isthing"] = 0
        known["annotations"][2]["segmentation"] = []
        known["annotations"][3]["segmentation"]["counts"] = [576 * 768]  # empty
        known["images"].append({"id": 9, "file_name": "nothing on it.png", "width": 5, "height": 5})
        known["source"] = "drawn"
        del known["images"][0]["source"]

    (picture,) = read_coco(write_coco("desk", change=change), EXAMPLES).pictures
    assert picture.names == tuple(read_scene("desk").names[4:])
    assert picture.source == "drawn"


def test_some_of_it_is_drawn_at_random_in_its_order(write_coco: Write) -> None:
    truth = read_coco(write_coco("desk", "picnic", "toolbox"), EXAMPLES)
    some = truth.some(pictures=2, objects=3, seed=1)
    assert some == truth.some(pictures=2, objects=3, seed=1)
    assert some.labels == truth.labels
    assert [len(picture.names) for picture in some.pictures] == [3, 3]
    assert len({tuple(truth.some(1, seed=seed).pictures) for seed in range(9)}) == 3
    for picture in some.pictures:
        whole = next(other for other in truth.pictures if other.path == picture.path)
        places = [whole.masks.index(mask) for mask in picture.masks]
        assert places == sorted(places)
        assert [whole.names[place] for place in places] == list(picture.names)
    with pytest.raises(SegzsError, match="limit is 0"):
        truth.some(pictures=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda known: known.pop("categories"), "'categories' is missing; a COCO instance file is expected"),
        (lambda known: known.pop("annotations"), "'annotations' is missing"),
        (lambda known: known.pop("images"), "'images' is missing"),
        (lambda known: known.update(categories=[], annotations=[]), "has no categories"),
        (lambda known: known.update(annotations=[]), "no object with a mask"),
        (lambda known: known.update(images=[]), "no object with a mask"),
        (lambda known: known["categories"].clear(), "is missing"),
        (lambda known: known["categories"][0].update(name=7), "the name of a category is 7"),
        (
            lambda known: known["images"][0].update(file_name="gone.png"),
            r"1 of 1 annotated images .*gone\.png.*--imag",
        ),
        (lambda known: known["images"][0].update(file_name="/gone.png"), r"1 of 1 annotated images .* /gone\.png"),
        (lambda known: known["images"][0].update(height=100), "size"),
        (lambda known: known["annotations"][0].update(segmentation=[[1, 2]]), "three points"),
        (lambda known: known["annotations"][0].update(segmentation="cat"), "annotations.json"),
    ],
)
def test_a_wrong_file_is_one_clear_error(write_coco: Write, change: Callable, message: str) -> None:
    path = write_coco("desk", change=change)
    with pytest.raises(AnnotationError, match=message) as raised:
        read_coco(path, EXAMPLES)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["[1, 2]", '"words"', "{", "null", '{"images": 3, "annotations": 4, "categories": 5}'])
def test_other_json_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"other\.json"):
        read_coco(tmp_path / "other.json")


def test_files_that_are_not_there(write_coco: Write, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"none\.json cannot be read"):
        read_coco(tmp_path / "none.json")
    with pytest.raises(
        AnnotationError, match=r"^the folder of images .*nowhere is not there; say with --images in which folder"
    ):
        read_coco(write_coco("desk"), tmp_path / "nowhere")
    with pytest.raises(AnnotationError, match=r"2 of 2 annotated images are not in .*desk\.png"):
        read_coco(write_coco("desk", "picnic"))


def test_pictures_lie_beside_their_file_or_in_images(write_coco: Write, tmp_path: Path) -> None:
    path = write_coco("desk")
    (tmp_path / "desk.png").symlink_to(EXAMPLES / "desk.png")
    assert read_coco(path).pictures[0].path == tmp_path / "desk.png"
    (tmp_path / "images").mkdir()
    (tmp_path / "desk.png").rename(tmp_path / "images" / "desk.png")
    assert read_coco(path).pictures[0].path == tmp_path / "images" / "desk.png"


def test_another_picture_than_the_annotated_one_is_refused(write_coco: Write, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (50, 40)).save(tmp_path / "desk.png")
    (picture,) = read_coco(write_coco("desk")).pictures
    with pytest.raises(AnnotationError, match="50x40 pixels, and was annotated at 768x576"):
        picture.read()
    (tmp_path / "desk.png").write_text("no picture")
    with pytest.raises(ImageError):
        picture.read()


def test_a_folder_of_classes(tmp_path: Path) -> None:
    for name, count in (("red apple", 2), ("pear_tree", 1), ("empty", 0), (".hidden", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            PIL.Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "red apple" / "notes.txt").write_text("not a picture")
    truth = read_classes(tmp_path)
    assert truth.labels == ("empty", "pear tree", "red apple")
    assert [picture.names for picture in truth.pictures] == [("pear tree",), ("red apple",), ("red apple",)]
    assert truth.pictures[0].path == tmp_path / "pear_tree" / "0.png"
    renamed = truth.renamed(["nothing", "Birne", "Apfel"])
    assert [picture.names for picture in renamed.pictures] == [("Birne",), ("Apfel",), ("Apfel",)]
    assert renamed.labels == ("nothing", "Birne", "Apfel")
    with pytest.raises(VocabularyError, match="2 labels cannot stand for 3 classes"):
        truth.renamed(["Birne", "Apfel"])


def test_a_folder_without_classes_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="has no folders in it"):
        read_classes(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(AnnotationError, match=r"has a picture .*\.png"):
        read_classes(tmp_path)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_classes(tmp_path / "nowhere")
    (tmp_path / "file.json").write_text(json.dumps({}))
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_classes(tmp_path / "file.json")

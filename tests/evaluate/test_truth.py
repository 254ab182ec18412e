import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as coco_mask

from segzs.errors import AnnotationError, FormatWarning, ImageError
from segzs.evaluate.truth import names_of, read_classes, read_coco
from segzs.formats import ImageAnnotations, write
from segzs.masks import RLE
from segzs.segments import Name, Segment
from tests.conftest import EXAMPLES, read_scene
from tests.evaluate.conftest import Write


def masks_of(image: ImageAnnotations) -> list[RLE]:
    return [segment.rle for segment in image.segments]


def test_a_coco_file(write_coco: Write) -> None:
    desk, picnic = read_scene("desk"), read_scene("picnic")
    truth = read_coco(write_coco("desk", "picnic"), EXAMPLES)
    assert truth.paths == [desk.path, picnic.path]
    assert [image.source for image in truth.images] == ["desk", "picnic"]
    assert [names_of(image) for image in truth.images] == [tuple(desk.names), tuple(picnic.names)]
    assert masks_of(truth.images[0]) == list(desk.masks)
    assert truth.objects == len(desk.names) + len(picnic.names)
    assert truth.labels == tuple(dict.fromkeys([*desk.names, *picnic.names]))
    assert truth.read(truth.images[0]).pixels.shape == (576, 768, 3)


def test_polygons_and_uncompressed_run_lengths_are_masks(write_coco: Write) -> None:
    polygon = [10, 10, 60, 10, 60, 40, 10, 40]

    def change(content: dict) -> None:
        content["annotations"][0]["segmentation"] = [polygon]
        content["annotations"][1]["segmentation"] = {"size": [576, 768], "counts": [5, 20, 576 * 768 - 25]}

    masks = masks_of(read_coco(write_coco("desk", change=change), EXAMPLES).images[0])
    (expected,) = coco_mask.frPyObjects([polygon], 576, 768)
    assert masks[0].counts == expected["counts"].decode()
    assert masks[1].area == 20


def test_crowds_stuff_and_empty_masks_are_left_out(write_coco: Write) -> None:
    def change(content: dict) -> None:
        content["annotations"][0]["iscrowd"] = 1
        content["annotations"][1]["isthing"] = 0
        content["annotations"][2]["segmentation"] = []
        content["annotations"][3]["segmentation"]["counts"] = [576 * 768]  # no pixels
        content["images"].append({"id": 9, "file_name": "nothing on it.png", "width": 5, "height": 5})
        content["source"] = "drawn"
        del content["images"][0]["source"]

    with pytest.warns(FormatWarning, match=r"3 \(no segmentation\), annotation 4 \(the mask has no pixels\)"):
        (image,) = read_coco(write_coco("desk", change=change), EXAMPLES).images
    assert names_of(image) == tuple(read_scene("desk").names[4:])
    assert image.source == "drawn"


def test_segments_named_unknown_are_left_out(tmp_path: Path) -> None:
    """Files of segzs have a category "unknown"; it cannot be a label."""
    scene = read_scene("desk")
    names = (("laptop",), ("unknown",), ())
    segments = tuple(
        Segment(mask, 0.9, 0.9, tuple(Name(name, 0.9) for name in some))
        for mask, some in zip(scene.masks, names, strict=False)
    )
    write([ImageAnnotations("desk.png", 768, 576, segments)], tmp_path / "all.coco.json", "coco")
    truth = read_coco(tmp_path / "all.coco.json", EXAMPLES)
    assert truth.labels == ("laptop",)
    assert names_of(truth.images[0]) == ("laptop",)


def test_samples_are_random_and_in_order(write_coco: Write) -> None:
    truth = read_coco(write_coco("desk", "picnic", "toolbox"), EXAMPLES)
    some = truth.sample(images=2, objects=3, seed=1)
    assert some == truth.sample(images=2, objects=3, seed=1)
    assert some.labels == truth.labels
    assert [len(image.segments) for image in some.images] == [3, 3]
    assert len({truth.sample(1, seed=seed).images[0].file for seed in range(9)}) == 3
    for image in some.images:
        whole = next(other for other in truth.images if other.file == image.file)
        indices = [whole.segments.index(segment) for segment in image.segments]
        assert indices == sorted(indices)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("categories"), "'categories' is missing; a COCO instance file is expected"),
        (lambda content: content.pop("annotations"), "'annotations' is missing"),
        (lambda content: content.pop("images"), "'images' is missing"),
        (lambda content: content.update(categories=[], annotations=[]), "has no categories"),
        (lambda content: content.update(annotations=[]), "no object with a mask"),
        (lambda content: content.update(images=[]), "no object with a mask"),
        (lambda content: content["categories"].clear(), "has no categories"),
        (
            lambda content: content["images"][0].update(file_name="gone.png"),
            r"1 of 1 annotated images .*gone\.png.*--imag",
        ),
        (lambda content: content["images"][0].update(file_name="/gone.png"), r"1 of 1 annotated images .* /gone\.png"),
    ],
)
@pytest.mark.filterwarnings("ignore::segzs.FormatWarning")
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
    with pytest.raises(AnnotationError, match=r"^the folder of images .*nowhere does not exist; give it with --images"):
        read_coco(write_coco("desk"), tmp_path / "nowhere")
    with pytest.raises(AnnotationError, match=r"2 of 2 annotated images are not in .*desk\.png"):
        read_coco(write_coco("desk", "picnic"))


def test_images_are_beside_the_file_or_in_images(write_coco: Write, tmp_path: Path) -> None:
    path = write_coco("desk")
    (tmp_path / "desk.png").symlink_to(EXAMPLES / "desk.png")
    assert read_coco(path).paths[0] == tmp_path / "desk.png"
    (tmp_path / "images").mkdir()
    (tmp_path / "desk.png").rename(tmp_path / "images" / "desk.png")
    assert read_coco(path).paths[0] == tmp_path / "images" / "desk.png"


def test_an_image_that_is_not_the_annotated_one_is_an_error(write_coco: Write, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (50, 40)).save(tmp_path / "desk.png")
    truth = read_coco(write_coco("desk"))
    with pytest.raises(AnnotationError, match=r"50x40 pixels, but 'desk\.png' was annotated at 768x576"):
        truth.read(truth.images[0])
    (tmp_path / "desk.png").write_text("not an image")
    with pytest.raises(ImageError):
        truth.read(truth.images[0])


def test_a_folder_of_classes(tmp_path: Path) -> None:
    for name, count in (("red apple", 2), ("pear_tree", 1), ("empty", 0), (".hidden", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            PIL.Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "red apple" / "notes.txt").write_text("not an image")
    truth = read_classes(tmp_path)
    assert truth.labels == ("empty", "pear tree", "red apple")
    assert [names_of(image) for image in truth.images] == [("pear tree",), ("red apple",), ("red apple",)]
    assert truth.paths[0] == tmp_path / "pear_tree" / "0.png"
    renamed = truth.renamed(["nothing", "Birne", "Apfel"])
    assert [names_of(image) for image in renamed.images] == [("Birne",), ("Apfel",), ("Apfel",)]
    assert renamed.labels == ("nothing", "Birne", "Apfel")


def test_a_folder_without_classes_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="has no folders in it"):
        read_classes(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(AnnotationError, match=r"has an image .*\.png"):
        read_classes(tmp_path)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_classes(tmp_path / "nowhere")
    (tmp_path / "file.json").write_text(json.dumps({}))
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_classes(tmp_path / "file.json")

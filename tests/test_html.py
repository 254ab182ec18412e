"""What values show in a notebook: a picture with a text, also when they are empty."""

from __future__ import annotations

import base64
import io
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest

from segzs import RLE, Image, Label, Name, Segment, Segmenter, Segments, Vocabulary, read_image
from segzs.postprocess.maps import SemanticMap

IMAGE = Image(np.full((60, 80, 3), 200, np.uint8))
MASK = RLE.encode(np.pad(np.ones((20, 30), bool), ((10, 30), (5, 45))))
CAT = Segment(MASK, 0.9, 0.8, (Name("cat <b>", 0.75), Name("dog", 0.25)))


def shown(value: Any) -> ElementTree.Element:
    """The HTML of a value, which must be well-formed."""
    return ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", value._repr_html_()))


def picture(figure: ElementTree.Element) -> tuple[str, PIL.Image.Image]:
    """The text and the pixels of the picture of a figure."""
    image = figure.find("img")
    assert image is not None
    data = image.attrib["src"].partition("base64,")[2]
    return image.attrib["alt"], PIL.Image.open(io.BytesIO(base64.b64decode(data)))


def test_segments_show_the_overlay_and_a_table() -> None:
    figure = shown(Segments(IMAGE, (CAT,)))
    alt, image = picture(figure)
    assert alt == "1 segment on an image of 80 x 60 pixels: cat <b> 75%"
    assert image.size[0] <= 1024
    assert [cell.text for cell in figure.iter("td")][:3] == ["0", "cat <b>", "0.75"]


def test_empty_segments_show_the_image() -> None:
    figure = shown(Segments(IMAGE, ()))
    alt, image = picture(figure)
    assert alt == "no segments on an image of 80 x 60 pixels"
    assert image.size == (80, 60)
    assert figure.find("table") is None


def test_a_segment_shows_its_pixels_and_names() -> None:
    (segment,) = Segments(IMAGE, (CAT,))
    alt, image = picture(shown(segment))
    assert alt == "cat <b> 75%, cut out of its image"
    assert (image.size, image.mode) == ((30, 20), "RGBA")
    assert [cell.text for cell in shown(segment).iter("td")] == ["cat <b>", "75.0%", "dog", "25.0%"]


@pytest.mark.parametrize("mask", [MASK, RLE.encode(np.zeros((60, 80), bool))])
def test_a_segment_without_pixels_shows_text(mask: RLE) -> None:
    image = IMAGE if not mask.area else None
    figure = shown(Segment(mask, 1.0, 1.0, image=image))
    assert figure.find("img") is None
    assert "segment without a name" in "".join(figure.itertext())


def test_an_encoded_image_shows_itself(segmenter: Segmenter) -> None:
    figure = shown(segmenter.encode(np.zeros((2000, 3000, 3), np.uint8)))
    alt, image = picture(figure)
    assert alt == "image of 3000 x 2000 pixels"
    assert image.size == (1024, 683)
    assert "encoded by tiny" in "".join(figure.itertext())


def test_a_map_shows_shares() -> None:
    classes = np.zeros((60, 80), np.uint16)
    classes[:, :20] = 1
    figure = shown(SemanticMap(IMAGE, ("unknown", "sky"), classes, np.ones((60, 80), np.float32)))
    assert picture(figure)[0] == "semantic map of an image of 80 x 60 pixels: unknown 75%, sky 25%"
    assert [cell.text for cell in figure.iter("td")] == ["0", "unknown", "75.0%", "1", "sky", "25.0%"]


def test_a_map_of_unknown_pixels_shows_the_image() -> None:
    nothing = SemanticMap(IMAGE, ("unknown",), np.zeros((60, 80), np.uint16), np.zeros((60, 80), np.float32))
    assert picture(shown(nothing))[0].endswith("unknown 100%")


def test_a_vocabulary_shows_its_labels() -> None:
    text = "".join(shown(Vocabulary(["mug", Label("cat", parent="animal")])).itertext())
    assert text.startswith("3 labels: mug, cat, animal")
    many = "".join(shown(Vocabulary([f"label {i}" for i in range(1200)])).itertext())
    assert many.startswith("1,200 labels: label 0, ")
    assert many.endswith("label 39, ...")


def test_pictures_of_notebooks_are_small() -> None:
    noise = read_image(np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8))
    assert len(Segments(noise, ())._repr_html_()) < 2_500_000

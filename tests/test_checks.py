"""What is of the wrong kind is refused with a word on what was expected, wherever it is given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import segzs
from segzs.errors import ImageError, ModelError, PromptError, SegzsError, VocabularyError
from segzs.sam.mask_generator import GeneratorOptions


@pytest.mark.parametrize(
    "options",
    [
        {"points_per_side": 2.5},
        {"points_per_side": "4"},
        {"points_per_side": True},
        {"predicted_iou": "high"},
        {"stability_score": float("nan")},
        {"min_area": "small"},
        {"max_masks": 1.5},
    ],
    ids=str,
)
def test_options_of_everything_mode(options: dict) -> None:
    (name,) = options
    with pytest.raises(PromptError, match=f"{name} is .*expected"):
        GeneratorOptions(**options)


@pytest.mark.parametrize(
    ("give", "error"),
    [
        (lambda: segzs.load(margin="wide"), SegzsError),
        (lambda: segzs.load(unknown=True), SegzsError),
        (lambda: segzs.load(sam=5), ModelError),
        (lambda: segzs.load(5), ModelError),
        (lambda: segzs.load(device=5.5), ModelError),
        (lambda: segzs.Vocabulary("cat"), VocabularyError),
        (lambda: segzs.Vocabulary.of(5), VocabularyError),
        (lambda: segzs.Vocabulary.of(b"cat"), VocabularyError),
        (lambda: segzs.Vocabulary(["cat"], [5]), VocabularyError),
        (lambda: segzs.Vocabulary(["cat"], 5), VocabularyError),
        (lambda: segzs.Image(np.zeros((3, 4))), ImageError),
        (lambda: segzs.Image([1, 2]), ImageError),
        (lambda: segzs.read_image(np.zeros((4, 4, 4), np.uint8), background="white"), ImageError),
        (lambda: segzs.read_image(segzs.Image(np.zeros((2, 2, 3), np.uint8)), bgr=True), ImageError),
    ],
)
def test_arguments(give: Callable[[], object], error: type[SegzsError]) -> None:
    with pytest.raises(error, match=r"expected|are red, green|cannot be used|is made of"):
        give()


def test_the_pixels_of_an_image_cannot_be_changed_from_outside() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    image = segzs.Image(pixels)
    digest = image.digest
    pixels[:] = 255
    assert not image.pixels.any()
    assert image.digest == digest

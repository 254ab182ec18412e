"""Arguments of a wrong type or out of range raise an error that names the expected ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import segzs
from segzs import ImageError, ModelError, Naming, PromptError, SegzsError, UsageError, VocabularyError
from segzs.sam.mask_generator import GeneratorOptions


@pytest.mark.parametrize(
    "options",
    [
        {"points_per_side": 2.5},
        {"points_per_side": "4"},
        {"points_per_side": True},
        {"predicted_iou_threshold": "high"},
        {"stability_score_threshold": float("nan")},
        {"min_area": "small"},
        {"max_masks": 1.5},
    ],
    ids=str,
)
def test_wrong_options_of_everything_mode_are_refused(options: dict) -> None:
    (name,) = options
    with pytest.raises(PromptError, match=f"{name} is .*expected"):
        GeneratorOptions(**options)


@pytest.mark.parametrize(
    ("give", "error"),
    [
        (lambda: segzs.load(naming=Naming(margin="wide")), UsageError),
        (lambda: segzs.load(naming=Naming(unknown=True)), UsageError),
        (lambda: Naming(regions="poold"), UsageError),
        (lambda: Naming(background="black"), UsageError),
        (lambda: Naming(weighting="max"), UsageError),
        (lambda: Naming(unknown=1.5), UsageError),
        (lambda: segzs.load(cache_memory=-1), UsageError),
        (lambda: segzs.load(cache_memory="256 MB"), UsageError),
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
def test_wrong_arguments_are_refused(give: Callable[[], object], error: type[SegzsError]) -> None:
    with pytest.raises(error, match=r"expected|choose from|is RGB already|cannot be used"):
        give()


def test_an_image_is_independent_of_the_array_it_was_made_of() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    image = segzs.Image(pixels)
    digest = image.digest
    pixels[:] = 255
    assert not image.pixels.any()
    assert image.digest == digest

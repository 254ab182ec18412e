"""Crops have the shape of the model's input and leave the object's pixels unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from open_clip.transform import PreprocessCfg

from segzs.clip import crops as crops_module
from segzs.clip.crops import BACKGROUNDS, GREY, MIN_SIDE, Cropping, crop, crops
from segzs.errors import SegzsError
from segzs.masks import RLE

HEIGHT, WIDTH = 60, 90


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    noise.setflags(write=False)
    return noise


def ellipse(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    """A mask that fills its box x1 y1 x2 y2, but not its corners."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return ((x - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((y - (y1 + y2) / 2) / (y2 - y1)) ** 2 <= 0.25


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("box", [(30, 20, 50, 36), (0, 0, 20, 10), (80, 30, 90, 60), (0, 0, 90, 60), (40, 0, 52, 60)])
def test_crops_are_square_and_keep_the_objects_pixels(
    box: tuple[int, int, int, int], background: str, pixels: np.ndarray
) -> None:
    mask = ellipse(*box)
    code = RLE.encode(mask)
    assert code.box == box
    image = crop(pixels, code, Cropping(margin=0, background=background))
    side = max(box[2] - box[0], box[3] - box[1])
    assert image.shape == (side, side, 3)
    assert image.dtype == np.uint8
    left, top = (box[0] + box[2] - side) // 2, (box[1] + box[3] - side) // 2
    rows, columns = np.nonzero(mask)
    assert np.array_equal(image[rows - top, columns - left], pixels[rows, columns])


@pytest.mark.parametrize(("margin", "side"), [(0, 20), (0.1, 24), (0.5, 40)])
def test_the_margin_is_a_share_of_the_longer_side(margin: float, side: int, pixels: np.ndarray) -> None:
    image = crop(pixels, RLE.encode(ellipse(30, 20, 50, 36)), Cropping(margin=margin, background="keep"))
    left, top = 40 - side // 2, 28 - side // 2
    assert np.array_equal(image, pixels[top : top + side, left : left + side])


def test_outside_of_the_image_is_grey(pixels: np.ndarray) -> None:
    image = crop(pixels, RLE.encode(ellipse(0, 0, 20, 20)), Cropping(margin=0.25, background="keep"))
    assert image.shape == (30, 30, 3)
    assert np.array_equal(image[5:, 5:], pixels[:25, :25])
    assert (image[:5] == GREY).all()
    assert (image[:, :5] == GREY).all()


def test_grey_replaces_the_background(pixels: np.ndarray) -> None:
    mask = ellipse(30, 20, 50, 36)
    image = crop(pixels, RLE.encode(mask), Cropping(margin=0.2, background="grey"))
    inside = np.zeros(image.shape[:2], bool)
    inside[4 : 4 + 20, 4 : 4 + 20] = mask[18:38, 30:50]
    assert (image[~inside] == GREY).all()
    assert not (image[inside] == GREY).all()


def test_blur_smooths_the_background_and_keeps_its_colour(pixels: np.ndarray) -> None:
    mask = ellipse(30, 20, 50, 40)
    image = crop(pixels, RLE.encode(mask), Cropping(margin=0.5, background="blur")).astype(float)
    original = pixels[10:50, 20:60].astype(float)
    around = ~mask[10:50, 20:60]
    assert image[around].std() < original[around].std() / 3
    assert image[around].mean() == pytest.approx(original[around].mean(), abs=10)


def test_holes_are_background() -> None:
    mask = np.ones((40, 40), bool)
    mask[15:25, 15:25] = False
    pixels = np.where(mask[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=2)
    image = crop(pixels, RLE.encode(mask), Cropping(margin=0, background="grey"))
    assert (image[15:25, 15:25] == GREY).all()
    assert (image[mask] == 255).all()


def test_a_cut_out_is_tight_on_the_models_mean_colour(pixels: np.ndarray) -> None:
    mask = ellipse(30, 20, 50, 36)
    preprocessing = PreprocessCfg(mean=(0.1, 0.5, 1.0))
    image = crop(pixels, RLE.encode(mask), Cropping("cut", margin=2), preprocessing=preprocessing)
    assert image.shape == (20, 20, 3)
    inside = mask[18:38, 30:50]
    assert np.array_equal(image[inside], pixels[18:38, 30:50][inside])
    assert (image[~inside] == (26, 128, 255)).all()


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_crops_of_tiny_and_empty_masks_have_a_minimum_size(background: str, pixels: np.ndarray) -> None:
    dot = np.zeros((HEIGHT, WIDTH), bool)
    assert crop(pixels, RLE.encode(dot), Cropping(background)).shape == (MIN_SIDE, MIN_SIDE, 3)
    dot[30, 45] = True
    image = crop(pixels, RLE.encode(dot), Cropping(background))
    assert image.shape == (MIN_SIDE, MIN_SIDE, 3)
    assert (image == pixels[30, 45]).all(2).any()


@pytest.mark.parametrize(
    ("mode", "size", "shape"),
    [
        ("shortest", 224, (20, 20)),
        ("longest", (96, 96), (20, 20)),
        ("shortest", (96, 192), (20, 40)),
        ("squash", (96, 96), (16, 20)),
    ],
)
def test_crops_have_the_shape_of_the_models_input(
    mode: str, size: int, shape: tuple[int, int], pixels: np.ndarray
) -> None:
    preprocessing = PreprocessCfg(size=size, resize_mode=mode)
    image = crop(pixels, RLE.encode(ellipse(30, 20, 50, 36)), Cropping("keep", 0), preprocessing=preprocessing)
    assert image.shape[:2] == shape
    if mode == "squash":
        assert np.array_equal(image, pixels[20:36, 30:50])


def test_squashed_crops_are_never_very_narrow(pixels: np.ndarray) -> None:
    pole = np.zeros((HEIGHT, WIDTH), bool)
    pole[:, 40:44] = True
    squash = PreprocessCfg(resize_mode="squash")
    assert crop(pixels, RLE.encode(pole), Cropping("keep", 0), preprocessing=squash).shape == (60, 30, 3)


def test_outside_of_the_image_is_the_models_padding(pixels: np.ndarray) -> None:
    preprocessing = PreprocessCfg(resize_mode="longest", fill_color=7)
    image = crop(pixels, RLE.encode(ellipse(0, 0, 20, 20)), Cropping("keep", 0.25), preprocessing=preprocessing)
    assert (image[:5] == 7).all()


def test_very_large_crops_are_cut_from_a_smaller_image(pixels: np.ndarray) -> None:
    mask, wide = RLE.encode(ellipse(0, 0, 90, 60)), Cropping("keep", margin=10)
    large = crop(pixels, mask, wide)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crops_module, "MAX_SIDE", 1000)
        smaller = crop(pixels, mask, wide)
    assert smaller.shape[0] < 1000 < large.shape[0]
    shares = [(one != GREY).any(2).sum() ** 0.5 / len(one) for one in (large, smaller)]
    assert shares[0] == pytest.approx(shares[1], rel=0.1)


def test_many_crops_equal_single_crops(pixels: np.ndarray) -> None:
    masks = [RLE.encode(ellipse(*box)) for box in ((5, 5, 30, 20), (40, 10, 80, 55))]
    together = crops(pixels, masks, Cropping(margin=0.2, background="grey"))
    for image, mask in zip(together, masks, strict=True):
        assert np.array_equal(image, crop(pixels, mask, Cropping(margin=0.2, background="grey")))


def test_an_unknown_background_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(SegzsError, match="unknown background 'black'; choose from blur, grey, cut, keep"):
        crop(pixels, RLE.encode(ellipse(5, 5, 30, 20)), Cropping(background="black"))

"""Overlays: of every size without a crash, the same every time, and legible."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from segzs import draw
from segzs.draw import colours, contact_sheet, overlay
from segzs.masks import RLE

RED, BLUE = (220, 20, 20), (20, 20, 220)
SIZES = [(1, 1), (20, 3000), (3000, 20), (64, 64), (1500, 2000)]


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def block(height: int, width: int, x1: int, y1: int, x2: int, y2: int) -> RLE:
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = True
    return RLE.encode(mask)


def pixels_of(image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == colour).all(2).sum())


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_images_of_every_size_are_drawn(height: int, width: int) -> None:
    pixels = photo(height, width)
    before = pixels.copy()
    masks = [
        block(height, width, 0, 0, width, height),
        block(height, width, 0, 0, (width + 1) // 2, (height + 1) // 2),
        block(height, width, width - 1, height - 1, width, height),
        RLE.encode(np.zeros((height, width), bool)),
    ]
    captions = ["all", "x" * 3000, "", "nothing there"]
    first, second = (overlay(pixels, masks, captions, colours(captions)) for _ in range(2))
    assert first.mode == "RGB"
    assert first.tobytes() == second.tobytes()
    assert first.width % width == first.height % height == 0
    assert first.width // width == first.height // height
    assert first.tobytes() != pixels.tobytes()
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_an_image_without_masks_is_unchanged(height: int, width: int) -> None:
    pixels = photo(height, width)
    assert overlay(pixels, [], [], []).tobytes() == pixels.tobytes()


def test_small_images_are_enlarged_until_names_are_legible() -> None:
    def size(height: int, width: int) -> tuple[int, int]:
        return overlay(grey(height, width), [block(height, width, 0, 0, 1, 1)], ["a"], [RED]).size

    assert min(size(64, 64)) >= 480
    assert size(1500, 2000) == (2000, 1500)
    assert max(size(20, 3000)) <= 4096


def test_pixels_away_from_the_object_are_unchanged() -> None:
    pixels = photo(600, 800)
    drawn = np.asarray(overlay(pixels, [block(600, 800, 300, 200, 500, 400)], [""], [RED]))
    changed = (drawn != pixels).any(2)
    assert changed[210:390, 310:490].mean() > 0.95
    outside = changed.copy()
    outside[190:410, 290:510] = False
    assert not outside.any()


def test_holes_are_not_tinted_and_have_an_outline() -> None:
    mask = block(600, 800, 200, 100, 600, 500).decode()
    mask[200:400, 300:500] = False
    drawn = np.asarray(overlay(grey(600, 800), [RLE.encode(mask)], [""], [RED]))
    assert (drawn[220:380, 320:480] == 128).all()
    assert (drawn[200:400, 296:304] == RED).all(2).any()


@pytest.mark.parametrize("corner", [(0, 0, 40, 40), (760, 0, 800, 40), (0, 560, 40, 600), (760, 560, 800, 600)])
def test_a_caption_at_the_border_is_complete(corner: tuple[int, int, int, int]) -> None:
    def tag(x1: int, y1: int, x2: int, y2: int) -> int:
        mask = block(600, 800, x1, y1, x2, y2)
        bare = pixels_of(overlay(grey(600, 800), [mask], [""], [RED]), RED)
        return pixels_of(overlay(grey(600, 800), [mask], ["coffee mug 97%"], [RED]), RED) - bare

    assert tag(*corner) > 0.9 * tag(380, 280, 420, 320)


def test_a_caption_wider_than_the_image_is_shortened() -> None:
    mask = block(600, 800, 300, 200, 500, 400)
    long = overlay(grey(600, 800), [mask], ["an old coffee mug " * 200], [RED])
    longer = overlay(grey(600, 800), [mask], ["an old coffee mug " * 300], [RED])
    short = overlay(grey(600, 800), [mask], ["an old"], [RED])
    assert long.tobytes() == longer.tobytes()
    assert pixels_of(long, RED) > 3 * pixels_of(short, RED)
    edges = np.asarray(long)[:, [0, -1]]
    assert (edges == 128).all()


def test_captions_do_not_cover_each_other() -> None:
    masks = [block(600, 800, 300, 250, 500, 350), block(600, 800, 310, 255, 490, 345)]

    def seen(*captions: str) -> tuple[int, int]:
        drawn = overlay(grey(600, 800), masks, captions, [RED, BLUE])
        return pixels_of(drawn, RED), pixels_of(drawn, BLUE)

    bare = seen("", "")
    alone = seen("coffee mug", "")[0], seen("", "coffee mug")[1]
    together = seen("coffee mug", "coffee mug")
    for index in range(2):
        assert together[index] - bare[index] > 0.85 * (alone[index] - bare[index])


def test_small_objects_are_drawn_over_large_ones() -> None:
    small, large = block(600, 800, 350, 250, 450, 350), block(600, 800, 100, 50, 700, 550)
    one = overlay(grey(600, 800), [small, large], ["", ""], [RED, BLUE])
    other = overlay(grey(600, 800), [large, small], ["", ""], [BLUE, RED])
    assert one.tobytes() == other.tobytes()
    assert pixels_of(one, RED) > 100


@pytest.mark.parametrize("text", ["Äpfel", "кошка", "σκύλος", "猫", "قطة", "🐈", "é\nè\t", "\u200b", "a\0b"])
def test_letters_of_every_script_are_drawn(text: str) -> None:
    mask = block(200, 300, 100, 50, 200, 150)
    drawn = [overlay(grey(200, 300), [mask], [text], [RED]) for _ in range(2)]
    assert drawn[0].tobytes() == drawn[1].tobytes()


@pytest.mark.parametrize(("one", "other"), [("Öl", "Ül"), ("кот", "кит")])
def test_letters_beyond_ascii_differ(one: str, other: str) -> None:
    if all(draw._letters_missing(font, one + other) for font in draw._system_fonts()):
        pytest.skip("no font of this machine has these letters")
    mask = block(480, 640, 100, 50, 200, 150)
    assert overlay(grey(480, 640), [mask], [one], [RED]) != overlay(grey(480, 640), [mask], [other], [RED])


def test_each_name_has_its_colour() -> None:
    names = [f"thing {index}" for index in range(24)]
    palette = colours([*names, "unknown", *reversed(names), "unknown"])
    assert palette[:24] == palette[25:49][::-1]
    assert len(set(palette)) == 25
    assert palette[24] == palette[-1]
    for index, (one, other) in enumerate(pairwise(palette[:24])):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 120, names[index]
    assert colours([]) == []


def test_text_contrasts_with_its_tag() -> None:
    for colour in colours([*(f"thing {index}" for index in range(40)), "unknown"]):
        mask = block(480, 640, 200, 200, 400, 300)
        tag = np.asarray(overlay(grey(480, 640), [mask], ["MMMMMMMM"], [colour]))[170:198, 270:330].astype(float)
        light = tag @ (0.299, 0.587, 0.114)
        assert np.ptp(light) > 100, colour


def test_a_contact_sheet_has_rows_of_fitted_images() -> None:
    wide = np.full((10, 40, 3), (255, 0, 0), np.uint8)
    sheet = np.asarray(contact_sheet([wide, None, wide], ["cat\na/long/name.jpg", "", "dog"], columns=2, side=100))
    assert sheet.shape == (2 * (100 + 21 + 8), 2 * 104 + 4, 3)
    assert (sheet[54, 8:100] == (255, 0, 0)).all()  # as wide as there is room, in the middle
    assert (sheet[10, 8:100] == 255).all()
    assert (sheet[8:100, 112:200] == 150).all()  # one without an image is grey
    assert (sheet[54 + 129, 8:100] == (255, 0, 0)).all()
    assert (sheet[104:129, 4:104] < 128).any()
    assert (sheet[104:129, 108:208] == 255).all()

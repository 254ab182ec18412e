"""The masks of the page are those of pycocotools: run lengths, outlines, overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segzs.masks import RLE, iou
from tests.web.browser import Desk

READ = """async ([first, second]) => {
    const { shapeOf } = await import("/rle.js");
    const shape = shapeOf(first), other = shapeOf(second), [height, width] = first.size;
    const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
    const filled = (scale) => {
        context.clearRect(0, 0, width, height);
        context.fill(shape.path(scale), "evenodd");
        const { data } = context.getImageData(0, 0, width, height);
        return Array.from({ length: width * height }, (_, i) => data[4 * i + 3] > 127 ? 1 : 0);
    };
    const contained = [];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) contained.push(shape.contains(x, y) ? 1 : 0);
    const { box, area } = shape;
    return { box, area, contained, exact: filled(4), coarse: filled(0.5), iou: shape.iou(other) };
}"""


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    """Noise of a random roughness: several parts, holes, and corners that touch."""
    random = np.random.default_rng(seed)
    noise = random.random((height // 4 + 1, width // 4 + 1)).repeat(4, 0).repeat(4, 1)[:height, :width]
    return (noise + 0.3 * random.random((height, width)) > 0.7).astype(bool)  # type: ignore[no-any-return]


MASKS = {
    "empty": np.zeros((5, 7), bool),
    "full": np.ones((5, 7), bool),
    "one pixel": np.eye(6, dtype=bool) & (np.arange(6) == 3),
    "diagonal": np.eye(6, dtype=bool),
    "last column": np.arange(7) == np.full((5, 1), 6),
    "ring": np.pad(np.zeros((3, 3), bool), 1, constant_values=True),
    **{f"blobs {seed}": blobs(seed, 23 + 11 * seed, 40) for seed in range(5)},
}


@pytest.fixture(scope="session")
def page(browser: Any, segmenter: Any) -> Any:
    from segzs.server.session import Session
    from tests.web.browser import serving

    with serving(Session(segmenter)) as address:
        page = browser.new_page()
        page.goto(address)
        yield page
        page.close()


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_read_exactly(page: Any, name: str) -> None:
    mask = MASKS[name]
    rle, other = RLE.encode(mask), RLE.encode(np.roll(mask, 2, axis=1))
    read = page.evaluate(READ, [rle.coco(), other.coco()])
    assert tuple(read["box"]) == rle.box
    assert read["area"] == rle.area
    assert (np.reshape(read["contained"], mask.shape) == mask).all()
    assert (np.reshape(read["exact"], mask.shape) == mask).all()
    assert read["iou"] == pytest.approx(float(iou([rle], [other])[0, 0]) if rle.area else 0.0)


@pytest.mark.slow
def test_the_outline_of_a_distant_view_is_near(page: Any) -> None:
    y, x = np.mgrid[:200, :300]
    mask = ((x - 150) / 120) ** 2 + ((y - 100) / 70) ** 2 < 1
    read = page.evaluate(READ, [RLE.encode(mask).coco(), RLE.encode(mask).coco()])
    coarse = np.reshape(read["coarse"], mask.shape).astype(bool)
    assert (coarse & mask).sum() / (coarse | mask).sum() > 0.98


def test_the_newest_request_wins(page: Any) -> None:
    ran = page.evaluate("""async () => {
        const { newest } = await import("/editor.js");
        const ran = [], call = newest(async (value) => {
            ran.push(value);
            await new Promise((resolve) => setTimeout(resolve, 30));
        });
        for (let value = 0; value < 6; value++) call(value);
        await new Promise((resolve) => setTimeout(resolve, 150));
        return ran;
    }""")
    assert ran == [0, 5]


def test_colours_are_those_of_the_overlays(page: Any) -> None:
    from segzs.draw import colours

    names = ["mug", "unknown", "cat", "mug", "apple", "key"]
    ours = page.evaluate(
        """async (names) => {
            const { palette } = await import("/colours.js"), colours = palette(names);
            return names.map((name) => colours.get(name));
        }""",
        names,
    )
    assert [tuple(colour) for colour in ours] == colours(names)


def test_two_hundred_masks_are_drawn(desk: Desk) -> None:
    """A photograph of 12 megapixels with 200 masks: all are listed and drawn, and zooming draws them again."""
    squares = []
    for index in range(200):
        mask = np.zeros((576, 768), bool)
        top, left = 20 + index // 20 * 55, 10 + index % 20 * 37
        mask[top : top + 40, left : left + 30] = True
        squares.append(RLE.encode(mask).coco())
    segments = [
        {"name": f"thing {i % 9}", "probability": 0.5, "runners_up": [], "box": [0, 0, 1, 1], "area": 1200, "rle": rle}
        for i, rle in enumerate(squares)
    ]
    desk.page.evaluate(
        """async ([digest, segments]) => {
            const { Storage } = await import("/storage.js");
            await new Storage("segzs").put(digest, segments);
        }""",
        [next(url.split("/")[-2] for url in desk.requests if url.endswith("/file")), segments],
    )
    desk.page.reload()
    desk.wait_encoded("desk.png")
    assert len(desk.names()) == 200
    assert desk.tint(25, 40) > 30
    desk.page.mouse.move(400, 400)
    desk.page.mouse.wheel(0, -800)
    desk.page.keyboard.press("0")
    assert desk.tint(25, 40) > 30

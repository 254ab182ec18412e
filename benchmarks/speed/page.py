"""How soon a click on the page shows an outline and a name, and how smooth many masks are, in Chromium.

``python -m benchmarks.speed.page [--clicks 50] [--model tiny]``
"""

from __future__ import annotations

import argparse
import json
import platform
import random
from pathlib import Path
from typing import Any

import numpy as np

import segzs
from segzs.masks import RLE
from segzs.server.session import Session
from tests.web.browser import CHROMIUM, MISSING, Desk, serving

EXAMPLES = Path(__file__).parents[2] / "examples"
CLICK = """([x, y]) => new Promise((resolve) => {
    const viewport = document.querySelector(".viewport"), draft = document.querySelector(".draft");
    const options = { clientX: x, clientY: y, pointerId: 1, pointerType: "pen", button: 0, bubbles: true };
    const start = performance.now();
    const done = () => {
        if (draft.hidden || draft.classList.contains("busy") || !draft.querySelector("strong")) return;
        observer.disconnect();
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - start)));  // it is drawn
    };
    const observer = new MutationObserver(done);
    observer.observe(draft, { subtree: true, childList: true, attributes: true });
    viewport.setPointerCapture = () => {};
    viewport.dispatchEvent(new PointerEvent("pointerdown", options));
    viewport.dispatchEvent(new PointerEvent("pointerup", options));
})"""
FRAMES = """async () => {
    const viewport = document.querySelector(".viewport"), { x, y, width, height } = viewport.getBoundingClientRect();
    const frame = () => new Promise(requestAnimationFrame), times = [];
    for (let i = 0; i < 60; i++) {
        const start = performance.now();
        viewport.dispatchEvent(new WheelEvent("wheel", {
            deltaY: i < 30 ? -60 : 60, clientX: x + width / 2, clientY: y + height / 2, cancelable: true }));
        await frame();
        await frame();
        times.push(performance.now() - start);
    }
    return times;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=50)
    parser.add_argument("--model", default="tiny")
    args = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit(MISSING)
    from playwright.sync_api import sync_playwright

    segmenter = segzs.load(args.model, cache=False)
    with sync_playwright() as playwright, serving(Session(segmenter, [EXAMPLES])) as address:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        desk = Desk(page, address)
        desk.open()
        print(f"{segmenter.model} on {platform.processor() or platform.machine()}, Chromium {browser.version}")
        report("click to outline and name", clicks(desk, args.clicks))
        many(desk)
        report("zooming 200 masks on 12 megapixels, a step", page.evaluate(FRAMES))
        browser.close()


def clicks(desk: Desk, count: int) -> list[float]:
    """Milliseconds of clicks on objects of the desk, each on an object of its own; the first ones warm up."""
    truth = json.loads((EXAMPLES / "desk.json").read_text("utf-8"))["objects"]
    masks = [RLE(*thing["segmentation"]["size"], thing["segmentation"]["counts"]).decode() for thing in truth]
    chance, times = random.Random(0), []
    for index in range(count + 3):
        y, x = chance.choice(np.argwhere(masks[index % len(masks)]).tolist())
        times.append(desk.page.evaluate(CLICK, list(desk.at(x, y))))
        desk.page.keyboard.press("Escape")
        desk.page.locator(".draft").wait_for(state="hidden")
    return times[3:]


def many(desk: Desk) -> None:
    """Open a page with 200 round masks on an image of 4000 x 3000 pixels."""
    y, x = np.ogrid[:3000, :4000]
    chance, masks = random.Random(0), []
    for _ in range(200):
        radius, top, left = chance.randint(60, 400), chance.randint(0, 3000), chance.randint(0, 4000)
        masks.append((x - left) ** 2 + (y - top) ** 2 + 900 * np.sin(x / 9) * np.cos(y / 7) < radius**2)
    segments: list[dict[str, Any]] = []
    for index, mask in enumerate(masks):
        rle = RLE.encode(mask)
        about = {"name": f"thing {index % 20}", "probability": 0.5, "runners_up": [], "box": rle.box, "area": rle.area}
        segments.append({**about, "rle": rle.coco()})
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    image = segzs.read_image(pixels)
    import io

    import PIL.Image

    buffer = io.BytesIO()
    PIL.Image.fromarray(image.pixels).save(buffer, "PNG")
    desk.page.evaluate(
        """async ([digest, segments]) => {
            const { Storage } = await import("/storage.js");
            await new Storage("segzs").put(digest, segments);
        }""",
        [image.digest, segments],
    )
    file = {"name": "large.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    desk.page.keyboard.press("o")
    desk.page.locator("input[type=file]").set_input_files(files=[file])
    desk.wait_encoded("large.png")
    desk.page.locator(".row").nth(199).wait_for(state="attached")


def report(what: str, times: list[float]) -> None:
    p50, p95 = np.percentile(times, [50, 95])
    print(f"{what}: p50 {p50:.0f} ms, p95 {p95:.0f} ms ({len(times)} times)")


if __name__ == "__main__":
    main()

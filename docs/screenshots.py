"""Make the pictures of the page in these pages: ``python -m docs.screenshots``; needs Chromium and playwright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import segzs
from segzs.server.session import Session
from tests.web.browser import CHROMIUM, Desk, serving

DOCS = Path(__file__).parent
LABELS = ("laptop", "red apple", "alarm clock", "cactus", "coffee cup", "camera", "key", "notebook", "palette", "phone")
SIZES = {"page": (1280, 800, "light"), "page-dark": (1280, 800, "dark"), "page-narrow": (400, 860, "light")}


def main() -> None:
    session = Session(segzs.load(labels=LABELS, cache=False), [DOCS.parent / "examples"])
    with sync_playwright() as playwright, serving(session) as address:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, (width, height, scheme) in SIZES.items():
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            desk = Desk(context.new_page(), address)
            work(desk)
            save(desk.page, name)
            if name == "page":
                desk.page.keyboard.press("r")
                desk.page.get_by_role("combobox", name="New name").wait_for()
                save(desk.page, "page-rename")
            context.close()
        browser.close()


def work(desk: Desk) -> None:
    """Outline everything, select an object, and click on another one."""
    desk.open()
    desk.page.locator(".viewport").focus()
    desk.page.keyboard.press("a")
    desk.page.get_by_role("progressbar").wait_for()
    desk.page.locator(".task").wait_for(state="hidden", timeout=120_000)
    desk.page.locator(".row", has_text="key").click()
    desk.page.keyboard.press("Delete")
    desk.click(668, 420)


def save(page: Any, name: str) -> None:
    page.mouse.move(2, 2)
    page.wait_for_timeout(300)
    page.screenshot(path=DOCS / f"{name}.jpg", type="jpeg", quality=85)
    print(DOCS / f"{name}.jpg")


if __name__ == "__main__":
    main()

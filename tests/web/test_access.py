"""The page without a mouse, for screen readers, in light and dark, wide and narrow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.browser import MISSING, Desk, is_prompt

pytestmark = pytest.mark.slow

APPLE = (92, 500)
SIZES = {"wide": (1280, 800), "narrow": (400, 860)}


def serious(page: Any) -> list[str]:
    """What axe-core finds that keeps people out."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=MISSING)
    violations = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_serious(context: Any, address: str, scheme: str, size: str) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    desk = Desk(page, address)

    def check(state: str) -> None:
        page.wait_for_timeout(100)
        desk.screenshot(f"{scheme}-{size}-{state}")
        assert serious(page) == [], state
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], f"{state} is too wide"

    desk.open()
    check("empty")
    desk.click(*APPLE)
    check("outline")
    page.locator(".current").click()
    page.get_by_role("combobox").wait_for()
    check("naming")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="New labels").fill("laptop, red apple, alarm clock, key, notebook, camera")
    page.keyboard.press("Enter")
    desk.wait_status("6 labels")
    page.locator(".viewport").focus()
    page.keyboard.press("a")
    page.get_by_role("progressbar").wait_for()
    check("progress")
    page.locator(".task").wait_for(state="hidden", timeout=120_000)
    page.locator(".row").nth(2).click()
    check("everything")
    for key, name in {"Control+s": "Export", "?": "Help", "o": "Images"}.items():
        page.keyboard.press(key)
        page.get_by_role("dialog", name=name).wait_for()
        check(name.lower())
        page.keyboard.press("Escape")
    page.route("**/segment", lambda route: route.abort())
    page.keyboard.press("0")
    page.mouse.click(*desk.at(380, 120))
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    check("error")


def test_everything_works_by_keyboard(desk: Desk) -> None:
    page = desk.page

    def focused() -> str:
        return page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText")  # type: ignore[no-any-return]

    def tab_to(text: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if focused().startswith(text):
                return
        pytest.fail(f"Tab does not lead to {text}")

    tab_to("Image desk.png")
    page.keyboard.press("ArrowDown")  # the cursor appears in the middle
    scale = page.locator(".picture").bounding_box()["width"] / 768
    for key, pixels in {"ArrowLeft": 384 - 92, "ArrowDown": 500 - 288}.items():
        for _ in range(round(pixels * scale / 10)):
            page.keyboard.press(key)
    x, y = (int(number) for number in desk.status.split(", on ")[0].split(", "))
    assert abs(x - 92) < 12
    assert abs(y - 500) < 12
    with page.expect_response(desk.is_named) as answer:
        page.keyboard.press("Space")
    segment = desk.outlined(answer.value)
    desk.wait_status(f"{segment['name']}, ")
    desk.screenshot("keyboard")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    with page.expect_request(is_prompt) as asked:
        page.keyboard.press("x")
    assert asked.value.post_data_json["prompts"][0]["positive"] == [True, False]
    page.locator(".draft:not(.busy)").wait_for()
    page.keyboard.press("Enter")
    desk.wait_status("Accepted")

    page.keyboard.press("g")
    assert focused().startswith(desk.names()[0])
    page.keyboard.press("F2")
    page.get_by_role("combobox", name="New name").wait_for()
    page.wait_for_timeout(100)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    desk.wait_status("Renamed")
    page.wait_for_timeout(100)
    assert focused().startswith(desk.names()[0])
    page.keyboard.press("Delete")
    desk.wait_status("Deleted 1 segment")
    page.keyboard.press("Control+z")
    assert len(desk.names()) == 1

    page.keyboard.press("b")  # not on the image: nothing
    tab_to("Image desk.png")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("b")
    desk.wait_status("First corner")
    for key in ("Shift+ArrowRight", "Shift+ArrowDown") * 3:
        page.keyboard.press(key)
    with page.expect_request(is_prompt) as asked:
        page.keyboard.press("b")
    assert "box" in asked.value.post_data_json["prompts"][0]
    page.locator(".draft:not(.busy)").wait_for()
    page.keyboard.press("Escape")
    page.locator(".draft").wait_for(state="hidden")

    page.keyboard.press("a")
    page.get_by_role("progressbar").wait_for()
    page.keyboard.press("Escape")
    desk.wait_status("Cancelled")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find-words"
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    page.get_by_role("dialog", name="Export").wait_for()
    with page.expect_download():
        page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for(state="hidden")  # it takes the keys as long as it is open
    page.keyboard.press("]")
    desk.wait_encoded("picnic.png")


def test_single_keys_can_be_switched_off(desk: Desk) -> None:
    desk.page.keyboard.press("?")
    desk.page.get_by_role("checkbox", name="Shortcuts of a single key").uncheck()
    desk.page.keyboard.press("Escape")
    desk.page.keyboard.press("a")
    desk.page.wait_for_timeout(100)
    assert desk.page.locator(".task").is_hidden()


def test_a_server_without_images_asks_for_one(context: Any, segmenter: Any, tmp_path: Any) -> None:
    from segzs.server.session import Session
    from tests.web.browser import serving

    with serving(Session(segmenter)) as address:
        desk = Desk(context.new_page(), address)
        desk.page.goto(address)
        desk.page.get_by_role("button", name="Open an image").last.wait_for()
        desk.screenshot("nothing")
        assert serious(desk.page) == []
        assert desk.complaints == []

"""The page in a real browser: what a person does to an image, by mouse."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tests.conftest import Scene, read_scene
from tests.web.browser import Desk, is_prompt

pytestmark = pytest.mark.slow

APPLE = (92, 500)
LAPTOP = (380, 110)
TABLE = (20, 300)


@pytest.fixture
def scene() -> Scene:
    return read_scene("desk")


def mask_of(segment: dict[str, Any]) -> np.ndarray:
    return coco_mask.decode(segment["rle"]).astype(bool)


def iou(mask: np.ndarray, other: np.ndarray) -> float:
    return float((mask & other).sum() / (mask | other).sum())


def truth(scene: Scene, name: str) -> np.ndarray:
    return scene.masks[scene.names.index(name)].decode()


def test_a_click_outlines_and_names(desk: Desk, scene: Scene) -> None:
    assert desk.tint(*APPLE) == 0
    segment = desk.click(*APPLE)
    assert iou(mask_of(segment), truth(scene, "red apple")) > 0.8
    assert desk.page.locator(".draft").inner_text().startswith(segment["name"])
    assert desk.tint(APPLE[0] + 15, APPLE[1] + 15) > 60
    assert desk.tint(*TABLE) == 0
    desk.page.get_by_role("button", name="Accept").click()
    assert desk.names() == [segment["name"]]
    assert desk.status.startswith(f"Accepted: {segment['name']}")
    desk.screenshot("click")


def test_a_right_click_takes_away(desk: Desk) -> None:
    whole = desk.drag(500, 200, 720, 560)
    x, y = 640, 440  # the key, below the notebook
    assert mask_of(whole)[y, x] or mask_of(whole)[300, 600]
    off = (x, y) if mask_of(whole)[y, x] else (600, 300)
    smaller = desk.click(*off, button="right")
    assert smaller["area"] < whole["area"]
    assert not mask_of(smaller)[off[1], off[0]]
    assert desk.page.get_by_role("button", name="Accept").is_enabled()
    desk.screenshot("negative")


def test_alt_click_is_negative_and_a_negative_point_does_not_begin_an_object(desk: Desk) -> None:
    desk.page.mouse.click(*desk.at(*APPLE), button="right")
    desk.wait_status("First click on the object")
    desk.click(*LAPTOP)
    desk.page.keyboard.down("Alt")
    with desk.page.expect_request(is_prompt) as asked:
        desk.page.mouse.click(*desk.at(*TABLE))
    desk.page.keyboard.up("Alt")
    assert asked.value.post_data_json["prompts"][0]["positive"] == [True, False]
    desk.page.locator(".draft:not(.busy)").wait_for()


def test_a_box_outlines_what_is_inside(desk: Desk, scene: Scene) -> None:
    segment = desk.drag(255, 40, 505, 262)
    assert iou(mask_of(segment), truth(scene, "laptop")) > 0.9
    desk.screenshot("box")


def test_a_box_or_shift_begins_another_object_and_keeps_the_first(desk: Desk) -> None:
    first = desk.click(*APPLE)
    second = desk.drag(255, 40, 505, 262)
    assert desk.names() == [first["name"]]
    desk.page.keyboard.down("Shift")
    desk.click(350, 345)
    desk.page.keyboard.up("Shift")
    assert desk.names() == [first["name"], second["name"]]


def test_hovering_previews_without_names(desk: Desk) -> None:
    with desk.page.expect_response(lambda response: response.url.endswith("/segment")) as answer:
        desk.page.mouse.move(*desk.at(*LAPTOP))
    assert answer.value.request.post_data_json["names"] is False
    desk.page.wait_for_timeout(100)
    assert desk.tint(LAPTOP[0] + 20, LAPTOP[1]) > 30
    desk.screenshot("preview")
    desk.page.mouse.move(5, 5)
    desk.page.wait_for_timeout(200)
    assert desk.tint(LAPTOP[0] + 20, LAPTOP[1]) == 0


def test_rename_offers_names_and_makes_an_example(desk: Desk) -> None:
    segment = desk.click(*APPLE)
    desk.page.keyboard.press("Enter")
    desk.page.keyboard.press("r")
    field = desk.page.get_by_role("combobox", name="New name")
    options = desk.page.get_by_role("option")
    assert options.first.inner_text().startswith(segment["runners_up"][0]["name"])
    field.fill("braeb")
    desk.screenshot("rename")
    field.fill("braeburn")
    with desk.page.expect_response("**/api/examples") as example:
        field.press("Enter")
    assert example.value.request.post_data_json["name"] == "braeburn"
    desk.wait_status("Renamed to braeburn")
    assert desk.names() == ["braeburn"]
    assert desk.page.locator(".rows .share").inner_text() == "yours"
    again = desk.drag(35, 425, 150, 545)
    names = [again["name"], *(one["name"] for one in again["runners_up"])]
    assert "braeburn" in names


def test_a_name_of_the_vocabulary_is_completed(desk: Desk) -> None:
    desk.click(*LAPTOP)
    desk.page.locator(".current").click()
    field = desk.page.get_by_role("combobox", name="New name")
    field.fill("alarm")
    assert desk.page.get_by_role("option").first.inner_text().startswith("alarm")
    field.press("ArrowDown")
    name = desk.page.get_by_role("option").first.inner_text().split("\n")[0]
    field.press("Enter")
    desk.page.locator(".draft strong", has_text=name).wait_for()


def test_undo_and_redo_go_through_every_step(desk: Desk) -> None:
    segment = desk.click(*APPLE)
    desk.page.keyboard.press("Enter")
    desk.page.keyboard.press("Delete")
    assert desk.names() == []
    desk.page.keyboard.press("Control+z")
    assert desk.names() == [segment["name"]]
    desk.page.keyboard.press("Control+z")
    desk.page.locator(".draft strong").wait_for()
    assert desk.names() == []
    desk.page.keyboard.press("Control+z")
    desk.page.locator(".draft").wait_for(state="hidden")
    assert desk.tint(*APPLE) == 0
    assert desk.page.get_by_role("button", name="Undo").is_disabled()
    for _ in range(2):
        desk.page.keyboard.press("Control+Shift+z")
    assert desk.names() == [segment["name"]]
    desk.page.keyboard.press("Control+y")
    assert desk.names() == []


def test_a_segment_is_refined_from_its_prompts(desk: Desk) -> None:
    desk.click(*LAPTOP)
    desk.page.keyboard.press("Enter")
    desk.page.get_by_role("button", name="Refine").click()
    with desk.page.expect_request(is_prompt) as asked:
        desk.page.mouse.click(*desk.at(380, 225))
    (prompt,) = asked.value.post_data_json["prompts"]
    assert len(prompt["points"]) == 2
    desk.page.locator(".draft:not(.busy)").wait_for()
    desk.page.keyboard.press("Escape")
    assert len(desk.names()) == 1


def test_everything_shows_progress_and_adds_no_duplicates(desk: Desk, scene: Scene) -> None:
    desk.click(*APPLE)
    desk.page.get_by_role("button", name="Everything").click()
    desk.page.get_by_role("progressbar").wait_for()
    desk.screenshot("progress")
    desk.page.locator(".task").wait_for(state="hidden", timeout=120_000)
    desk.wait_status("there already")
    assert len(desk.names()) >= 8
    assert desk.page.locator("h2", has_text=f"{len(desk.names())} segments").is_visible()
    desk.screenshot("everything")
    desk.page.keyboard.press("m")
    assert desk.tint(*APPLE) == 0
    desk.page.keyboard.press("m")
    desk.page.keyboard.press("Control+z")
    assert len(desk.names()) == 1


def test_everything_can_be_cancelled(desk: Desk) -> None:
    desk.page.get_by_role("button", name="Everything").click()
    desk.page.get_by_role("button", name="Cancel").click()
    desk.wait_status("Cancelled")
    assert desk.page.locator(".task").is_hidden()
    assert desk.names() == []
    assert desk.click(*APPLE)["area"] > 1000  # the server is free again


def test_find_by_words(desk: Desk, scene: Scene) -> None:
    desk.page.get_by_role("searchbox", name="Find objects by words").fill("laptop")
    desk.page.keyboard.press("Enter")
    desk.page.locator(".task").wait_for(state="hidden", timeout=120_000)
    desk.wait_status("added")
    assert set(desk.names()) == {"laptop"}
    assert desk.tint(*LAPTOP) > 0
    desk.page.get_by_role("searchbox").fill("zeppelin")
    desk.page.keyboard.press("Enter")
    desk.page.locator(".task").wait_for(state="hidden", timeout=120_000)
    assert "nothing was found" in desk.status or "added" in desk.status


def download(desk: Desk, format: str) -> tuple[str, bytes]:
    desk.page.keyboard.press("Control+s")
    dialog = desk.page.get_by_role("dialog", name="Export")
    dialog.locator(f"input[value='{format}']").check()
    desk.screenshot("export")
    with desk.page.expect_download() as file:
        dialog.get_by_role("button", name="Download").click()
    dialog.wait_for(state="hidden")
    return file.value.suggested_filename, file.value.path().read_bytes()


def test_export_opens_in_pycocotools(desk: Desk, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    segment = desk.click(*APPLE)
    name, content = download(desk, "coco")
    assert name == "desk.coco.json"
    (tmp_path / name).write_bytes(content)
    coco = COCO(tmp_path / name)
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert (coco.annToMask(annotation).astype(bool) == mask_of(segment)).all()
    assert coco.cats[annotation["category_id"]]["name"] == segment["name"]


@pytest.mark.filterwarnings("ignore::segzs.FormatWarning")
def test_export_of_a_folder_is_a_zip_file(desk: Desk) -> None:
    desk.click(*APPLE)
    name, content = download(desk, "yolo")
    assert name == "desk.yolo.zip"
    assert any(one.endswith("desk.txt") for one in zipfile.ZipFile(io.BytesIO(content)).namelist())


def test_labels_are_edited_in_place(desk: Desk) -> None:
    desk.click(*LAPTOP)
    desk.page.keyboard.press("Enter")
    field = desk.page.get_by_role("textbox", name="New labels")
    field.fill("typewriter, gramophone")
    field.press("Enter")
    desk.page.get_by_role("button", name="Remove gramophone").wait_for()
    desk.wait_status("2 labels")
    assert desk.names()[0] in ("typewriter", "gramophone", "unknown")
    desk.screenshot("labels")
    desk.page.get_by_role("button", name="Remove gramophone").click()
    desk.wait_status("1 label.")
    desk.page.get_by_role("button", name="Use the general vocabulary").click()
    desk.wait_status("The general vocabulary is used.")
    assert desk.names() == ["laptop"]


def test_work_stays_when_another_image_is_opened_and_when_the_page_is_loaded_again(desk: Desk) -> None:
    segment = desk.click(*APPLE)
    desk.page.get_by_role("button", name="Next image").click()
    desk.wait_encoded("picnic.png")
    assert desk.names() == []
    desk.page.get_by_role("button", name="Previous image").click()
    desk.wait_encoded("desk.png")
    assert desk.names() == [segment["name"]]
    desk.page.reload()
    desk.wait_encoded("desk.png")
    assert desk.names() == [segment["name"]]
    assert desk.tint(APPLE[0] + 15, APPLE[1] + 15) > 30


def test_an_image_file_is_opened(desk: Desk, tmp_path: Any) -> None:
    import PIL.Image

    PIL.Image.open(read_scene("desk").path).convert("RGB").crop((0, 0, 300, 200)).save(tmp_path / "corner.png")
    desk.page.keyboard.press("o")
    with desk.page.expect_file_chooser() as chooser:
        desk.page.get_by_role("button", name="Open a file").click()
    chooser.value.set_files(tmp_path / "corner.png")
    desk.wait_encoded("corner.png")
    assert "300 by 200" in desk.status


def test_zoom_and_pan_keep_masks_on_the_image(desk: Desk) -> None:
    desk.click(*APPLE)
    desk.page.keyboard.press("Enter")
    desk.page.mouse.move(*desk.at(*APPLE))
    desk.page.mouse.wheel(0, -500)
    desk.page.keyboard.press("v")
    x, y = desk.at(*APPLE)
    desk.page.mouse.move(x, y)
    desk.page.mouse.down()
    desk.page.mouse.move(x + 120, y - 60, steps=3)
    desk.page.mouse.up()
    assert desk.at(*APPLE) == pytest.approx((x + 120, y - 60), abs=1)
    assert desk.tint(*APPLE) > 30
    desk.screenshot("zoomed")
    desk.page.mouse.click(*desk.at(*APPLE))
    assert desk.page.locator(".rows .selected").count() == 1
    desk.page.keyboard.press("0")
    desk.page.wait_for_timeout(100)
    assert desk.at(*APPLE) != (x, y)


def test_an_answer_about_another_image_is_refused(desk: Desk) -> None:
    def other_image(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=json.dumps({**answer.json(), "digest": "0" * 64}))

    desk.page.mouse.move(2, 2)
    desk.page.route("**/segment", other_image)
    desk.page.mouse.click(*desk.at(*APPLE))
    desk.page.get_by_role("alert").get_by_text("another image").wait_for()
    assert desk.tint(APPLE[0] + 15, APPLE[1] + 15) == 0


def test_errors_appear_at_the_image_and_go_away(desk: Desk) -> None:
    refusal = {"status": 503, "content_type": "application/json", "body": '{"error": "the model is not there"}'}
    desk.page.route("**/segment", lambda route: route.fulfill(**refusal))
    desk.page.mouse.click(*desk.at(*APPLE))
    desk.page.get_by_role("alert").get_by_text("the model is not there").wait_for()
    desk.screenshot("error")
    desk.page.unroute("**/segment")
    desk.page.get_by_role("button", name="Try again").click()
    desk.page.locator(".draft:not(.busy) strong").wait_for()
    assert desk.page.get_by_role("alert").inner_text().strip() == ""
    assert all("503" in complaint for complaint in desk.complaints)
    desk.complaints.clear()


def test_a_busy_server_is_asked_again(desk: Desk) -> None:
    refusals = [{"status": 429, "headers": {"Retry-After": "1"}, "body": '{"error": "busy"}'}]
    desk.page.route("**/segment", lambda r: r.fulfill(**refusals.pop()) if refusals else r.continue_())
    desk.page.mouse.move(2, 2)
    assert desk.click(*APPLE)["area"] > 1000
    desk.complaints.clear()


def test_nothing_comes_from_elsewhere(desk: Desk) -> None:
    desk.click(*APPLE)
    assert desk.requests
    assert all(url.startswith((desk.address, "blob:", "data:")) for url in desk.requests)

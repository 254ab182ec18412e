"""The widget without a browser: the messages of the page, and what Python sees of its work."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segzs
from segzs import Prompt, Segmenter
from segzs.errors import ImageError
from segzs.notebook.modules import widget_module
from segzs.notebook.widget import Annotator
from tests.conftest import EXAMPLES

APPLE = {"points": [[92, 500]], "positive": [True]}


class Page:
    """Sends messages to a widget as the page does, and waits for the answers."""

    def __init__(self, widget: Annotator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.widget = widget
        self.answers: dict[str, Any] = {}
        self.progress: list[float] = []
        self.arrived = threading.Condition()
        monkeypatch.setattr(widget, "send", self._receive)

    def _receive(self, message: dict[str, Any], buffers: Any = None) -> None:
        with self.arrived:
            if "progress" in message:
                self.progress.append(message["progress"])
            else:
                self.answers[message["id"]] = (message, buffers)
            self.arrived.notify_all()

    def send(self, id: str, op: str, **args: Any) -> None:
        self.widget._receive(None, {"id": id, "op": op, "args": args}, [])

    def wait(self, id: str) -> tuple[dict[str, Any], Any]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: id in self.answers, 120)
            return self.answers.pop(id)

    def ask(self, op: str, **args: Any) -> Any:
        self.send(op, op, **args)
        return self.wait(op)[0]["result"]


@pytest.fixture
def widget(segmenter: Segmenter) -> Annotator:
    return segzs.annotate(segmenter, EXAMPLES / "desk.png")


@pytest.fixture
def page(widget: Annotator, monkeypatch: pytest.MonkeyPatch) -> Page:
    return Page(widget, monkeypatch)


def test_the_page_opens_prompts_and_python_has_the_segments(
    page: Page, widget: Annotator, segmenter: Segmenter
) -> None:
    assert page.ask("images")["images"] == [{"name": "desk.png", "digest": widget.segments.image.digest}]
    digest = page.ask("open", name="desk.png")["digest"]
    assert page.ask("load", digest=digest) == {"segments": None}
    (segment,) = page.ask("segment", digest=digest, prompts=[APPLE], names=True)["segments"]
    page.ask("keep", digest=digest, segments=[{**segment, "prompt": APPLE, "renamed": False}])
    (kept,) = widget.segments
    (expected,) = segmenter.segment(segmenter.encode(EXAMPLES / "desk.png"), Prompt.point(92, 500))
    assert kept.rle == expected.rle
    assert kept.name == expected.name
    assert widget.segments.image == segzs.read_image(EXAMPLES / "desk.png")
    assert page.ask("load", digest=digest)["segments"][0]["prompt"] == APPLE
    assert {name: len(segments) for name, segments in widget.by_image.items()} == {"desk.png": 1}


def test_files_come_as_bytes(page: Page, widget: Annotator) -> None:
    digest = widget.segments.image.digest
    page.send("1", "file", digest=digest)
    message, (content,) = page.wait("1")
    assert message["result"] == {"name": "desk.jpg", "media_type": "image/jpeg"}
    assert content[:2] == b"\xff\xd8"


@pytest.mark.slow
def test_everything_reports_progress_and_is_cancelled(page: Page, widget: Annotator) -> None:
    digest = widget.segments.image.digest
    page.ask("encode", digest=digest)
    page.send("slow", "everything", digest=digest)
    page.send("slow", "cancel")
    assert page.wait("slow")[0]["error"] == "cancelled"
    assert not widget._jobs
    assert len(page.ask("everything", digest=digest)["segments"]) > 5
    assert page.progress[-1] <= 1


def test_a_renamed_segment_is_an_example_of_the_widgets_segmenter_alone(
    page: Page, widget: Annotator, segmenter: Segmenter
) -> None:
    digest = widget.segments.image.digest
    (segment,) = page.ask("segment", digest=digest, prompts=[APPLE])["segments"]
    page.ask("add_example", digest=digest, rle=segment["rle"], name="my lunch")
    assert page.ask("name", digest=digest, masks=[segment["rle"]])["segments"][0]["name"] == "my lunch"
    assert widget.segmenter.examples is not None
    assert segmenter.examples is None


def test_errors_are_messages(page: Page) -> None:
    page.send("1", "open", name="../secret.png")
    assert "there is no image" in page.wait("1")[0]["error"]
    page.send("2", "segment", digest="0" * 64, prompts=[APPLE])
    assert "no image has the digest" in page.wait("2")[0]["error"]
    page.send("3", "close_all")
    assert "unknown operation" in page.wait("3")[0]["error"]
    page.send("4", "open", file="desk.png")
    assert "file" in page.wait("4")[0]["error"]


def test_it_begins_with_segments(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    image = segmenter.encode(EXAMPLES / "desk.png")
    apple = segmenter.segment(image, Prompt.point(92, 500))
    widget = segzs.annotate(segmenter, image.image, apple)
    assert [segment.rle for segment in widget.segments] == [apple[0].rle]
    page = Page(widget, monkeypatch)
    assert page.ask("load", digest=image.image.digest)["segments"][0]["name"] == apple[0].name


def test_a_folder_is_walked_through(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    widget = segzs.annotate(segmenter, EXAMPLES)
    page = Page(widget, monkeypatch)
    names = [image["name"] for image in page.ask("images")["images"]]
    assert {"desk.png", "picnic.png"} <= set(names)
    picnic = page.ask("open", name="picnic.png")["digest"]
    assert widget.segments.image.digest != picnic  # it is opened ahead, not shown
    page.ask("load", digest=picnic)
    assert widget.segments.image.digest == picnic


@pytest.mark.parametrize("images", ["nowhere.png", b"not an image", []])
def test_what_is_not_an_image_is_refused(segmenter: Segmenter, images: Any) -> None:
    with pytest.raises(ImageError):
        segzs.annotate(segmenter, images)


def test_arrays_are_images(segmenter: Segmenter) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    assert segzs.annotate(segmenter, pixels).segments.image == segzs.read_image(pixels)


def test_the_module_holds_every_module_that_it_needs(tmp_path: Path) -> None:
    text = widget_module()
    for name in ("app.js", "rle.js", "painter.js"):
        assert f'"{name}": ' in text
    assert "page.js" not in text

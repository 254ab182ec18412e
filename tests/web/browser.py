"""Chromium, a server of the example scenes, and the page in it, as a person uses it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from segzs.server.app import build_app
from segzs.server.session import Session

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
MISSING = "this needs Chromium and playwright; run: apt-get install chromium && pip install '.[test]'"


@contextmanager
def serving(session: Session) -> Iterator[str]:
    """The address of a server of a session, which runs in a thread."""
    server = uvicorn.Server(uvicorn.Config(build_app(session), "127.0.0.1", 0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(30)


@dataclass
class Desk:
    """A page of a browser that shows an image, and what it received and complained about."""

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, name: str = "desk.png") -> None:
        """Load the page, and wait until its image is encoded."""
        self.page.goto(self.address)
        if name != "desk.png":
            self.page.locator(".images").click()
            self.page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
        self.wait_encoded(name)

    def wait_encoded(self, name: str) -> None:
        self.page.get_by_role("application", name=f"Image {name}").wait_for()
        self.page.locator(".encoding").wait_for(state="hidden")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The point of the window of an image pixel."""
        box = self.page.locator(".picture").bounding_box()
        width, height = self.page.locator(".picture").evaluate("image => [image.naturalWidth, image.naturalHeight]")
        return box["x"] + (x + 0.5) * box["width"] / width, box["y"] + (y + 0.5) * box["height"] / height

    def click(self, x: float, y: float, **options: Any) -> dict[str, Any]:
        """Click on an image pixel, and wait for its outline; returns the segment."""
        with self.page.expect_response(self.is_named) as answer:
            self.page.mouse.click(*self.at(x, y), **options)
        return self.outlined(answer.value)

    def drag(self, x1: float, y1: float, x2: float, y2: float) -> dict[str, Any]:
        """Draw a box with the mouse, and wait for its outline; returns the segment."""
        with self.page.expect_response(self.is_named) as answer:
            self.page.mouse.move(*self.at(x1, y1))
            self.page.mouse.down()
            self.page.mouse.move(*self.at(x2, y2), steps=4)
            self.page.mouse.up()
        return self.outlined(answer.value)

    def outlined(self, answer: Any) -> dict[str, Any]:
        self.page.locator(".draft:not(.busy) strong").wait_for()
        (segment,) = answer.json()["segments"]
        return segment  # type: ignore[no-any-return]

    def is_named(self, response: Any) -> bool:
        return response.ok and is_prompt(response.request)

    def tint(self, x: float, y: float) -> int:
        """How opaque the masks are over an image pixel, from 0 to 255."""
        self.page.evaluate("new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
        left, top = self.at(x, y)
        return self.page.locator(".masks").evaluate(  # type: ignore[no-any-return]
            """(canvas, [left, top]) => {
                const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
                const at = [(left - box.x) * scale, (top - box.y) * scale];
                return canvas.getContext("2d").getImageData(...at, 1, 1).data[3];
            }""",
            [left, top],
        )

    def names(self) -> list[str]:
        """The names in the list of segments."""
        return self.page.locator(".rows .name").all_inner_texts()  # type: ignore[no-any-return]

    @property
    def status(self) -> str:
        return self.page.get_by_role("status").inner_text()  # type: ignore[no-any-return]

    def wait_status(self, text: str) -> None:
        self.page.get_by_role("status").get_by_text(text).wait_for()

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


def is_prompt(request: Any) -> bool:
    """Whether a request is a click or a box, and not a preview."""
    return request.url.endswith("/segment") and '"names":true' in (request.post_data or "")

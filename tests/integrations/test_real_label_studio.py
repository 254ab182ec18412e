"""A real Label Studio, in an environment of its own, asks a real segzs server for predictions.

SEGZS_LABEL_STUDIO names an executable of Label Studio that is there already; otherwise it is installed.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import requests

from segzs import Prompt, Segmenter
from tests.conftest import EXAMPLES
from tests.web.browser import SCREENSHOTS

pytestmark = pytest.mark.slow

KEY = "0123456789abcdef0123456789abcdef01234567"
EMAIL, PASSWORD = "me@example.com", "a-long-password"
LABELS = ["red apple", "laptop", "key", "cactus", "camera", "coffee cup", "alarm clock", "notebook", "palette", "phone"]
COLOURS = ["#e6194b", "#4363d8", "#f58231", "#3cb44b", "#911eb4", "#42d4f4", "#f032e6", "#469990", "#9a6324", "#000075"]
CONFIG = (
    '<View><Image name="img" value="$image"/><BrushLabels name="tag" toName="img" smart="true">'
    + "".join(f'<Label value="{label}" background="{c}"/>' for label, c in zip(LABELS, COLOURS, strict=True))
    + '</BrushLabels><KeyPointLabels name="point" toName="img" smart="true"><Label value="object"/></KeyPointLabels>'
    + "</View>"
)
DECODE = (
    "import json, sys; from label_studio_sdk.converter.brush import decode_rle; "
    "print(json.dumps(decode_rle(json.load(sys.stdin)).reshape(576, 768, 4)[:, :, 3].tolist()))"
)


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label Studio, beside the Python that it is installed for."""
    if given := os.environ.get("SEGZS_LABEL_STUDIO"):
        return Path(given)
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    install = [folder / "bin" / "pip", "install", "--quiet", "--no-compile", "label-studio>=1.20"]
    try:
        subprocess.run(install, check=True, capture_output=True, timeout=1800)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"Label Studio cannot be installed here: {error}")
    return folder / "bin" / "label-studio"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(command: list[Any], health: str, log: Path, **environment: str) -> Iterator[None]:
    """A process that answers at its health URL."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | environment)
    try:
        until = time.monotonic() + 900  # Label Studio prepares its database
        while True:
            try:
                if requests.get(health, timeout=10).ok:
                    break
            except requests.RequestException:
                assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < until, log.read_text()[-2000:]
            time.sleep(1)
        yield
    finally:
        process.terminate()
        process.wait(60)


class Client:
    """The API of Label Studio, for the owner of the key."""

    def __init__(self, url: str) -> None:
        self.url = url

    def request(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Token {KEY}"}
        reply = requests.request(method, f"{self.url}{path}", headers=headers, timeout=900, **options)
        assert reply.ok, f"{method} {path}: {reply.status_code} {reply.text[:500]}"
        return reply.json() if reply.content else None


@pytest.fixture(scope="module")
def project(executable: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, int, int]]:
    """A client, a project whose ML backend is segzs, and the backend's number."""
    folder = tmp_path_factory.mktemp("label-studio")
    url, backend = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    start = [executable, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", url.rpartition(":")[2]]
    account = ["--username", EMAIL, "--password", PASSWORD, "--user-token", KEY]
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "ML_BLOCK_LOCAL_IP": "false",  # the backend is on loopback, and so are its webhooks
        "SSRF_PROTECTION_ENABLED": "false",
        "ML_TIMEOUT_PREDICT": "900",  # of a batch, on a busy machine
        "SENTRY_DSN": "",  # no reports to its makers
    }
    serve = [sys.executable, "-m", "segzs", "serve", "--port", backend.rpartition(":")[2], "--label-studio", url]
    with (
        running([*start, *account], f"{url}/health", folder / "log", **settings),
        running(serve, f"{backend}/api/health", folder / "segzs.log", LABEL_STUDIO_API_KEY=KEY),
    ):
        client = Client(url)
        number = client.request("POST", "/api/projects", json={"title": "segzs", "label_config": CONFIG})["id"]
        body = {"url": f"{backend}/label-studio", "project": number, "is_interactive": True, "title": "segzs"}
        yield client, number, client.request("POST", "/api/ml", json=body)["id"]


def upload(client: Client, project: int, name: str, image: Path) -> None:
    with image.open("rb") as file:
        client.request("POST", f"/api/projects/{project}/import", files={"file": (name, file, "image/png")})


def tasks_of(client: Client, project: int) -> list[dict[str, Any]]:
    return client.request("GET", "/api/tasks", params={"project": project, "page_size": 100, "fields": "all"})["tasks"]


def test_a_click_of_the_editor_gives_the_mask_and_the_name(
    project: tuple[Client, int, int], executable: Path, segmenter: Segmenter
) -> None:
    client, number, backend = project
    upload(client, number, "desk.png", EXAMPLES / "desk.png")
    (task,) = tasks_of(client, number)
    value = {"x": 92 / 7.68, "y": 500 / 5.76, "width": 0.3, "keypointlabels": ["object"]}
    click = {"type": "keypointlabels", "from_name": "point", "to_name": "img", "value": value, "is_positive": True}
    click |= {"id": "a", "original_width": 768, "original_height": 576, "image_rotation": 0}
    body = {"task": task["id"], "context": {"result": [click]}}
    answer = client.request("POST", f"/api/ml/{backend}/interactive-annotating", json=body)
    (region,) = answer["data"]["result"]
    named = segmenter.with_labels(LABELS)
    (segment,) = named.segment(named.encode(EXAMPLES / "desk.png"), Prompt.point(92, 500))
    decode = [executable.parent / "python", "-c", DECODE]
    done = subprocess.run(decode, input=json.dumps(region["value"]["rle"]), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == (segment.mask * 255).tolist()  # decoded by label-studio-sdk: IoU 1
    assert region["value"]["brushlabels"] == [segment.name] == ["red apple"]


def test_clicks_in_the_editor_add_named_regions(project: tuple[Client, int, int], browser: Any) -> None:
    client, number, _ = project
    (task,) = tasks_of(client, number)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(120_000)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.goto(f"{client.url}/user/login/")
    page.locator("input[name=email]").fill(EMAIL)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("button[type=submit]").first.click()
    page.get_by_text("Projects").first.wait_for()
    page.goto(f"{client.url}/projects/{number}/data?task={task['id']}")
    page.locator(".lsf-outliner-item").first.wait_for()  # a region of the prediction
    page.screenshot(path=SCREENSHOTS / "label-studio-predictions.png")

    page.get_by_label("Create an annotation").click()  # an empty one
    page.get_by_text("Auto-Annotation").click()
    page.get_by_text("Auto-Accept Suggestions").click()
    page.locator(".lsf-tool_smart").first.hover()
    page.locator(".lsf-tool_smart[aria-label=key-point-tool]").click()
    for name, (x, y) in {"red apple": (92, 500), "laptop": (380, 110)}.items():
        page.locator(".lsf-label__text", has_text="object").click()
        canvas = page.locator("canvas").first.bounding_box()
        with page.expect_response(lambda response: "/interactive-annotating" in response.url) as answer:
            page.mouse.click(canvas["x"] + x / 768 * canvas["width"], canvas["y"] + y / 576 * canvas["height"])
        (region,) = answer.value.json()["data"]["result"]
        assert region["value"]["brushlabels"] == [name]
        page.locator(".lsf-outliner-item", has_text=name).wait_for()
        page.keyboard.press("Escape")  # the next click makes a region of its own
    page.screenshot(path=SCREENSHOTS / "label-studio.png")
    page.close()


def test_a_batch_run_fills_a_project_of_20_pictures(project: tuple[Client, int, int], tmp_path: Path) -> None:
    client, number, _ = project
    with PIL.Image.open(EXAMPLES / "desk.png") as desk:
        for index in range(20 - len(tasks_of(client, number))):
            desk.crop((index * 10, 300, index * 10 + 300, 576)).save(tmp_path / f"{index}.png")
            upload(client, number, f"{index}.png", tmp_path / f"{index}.png")
    everything = {"selectedItems": {"all": True, "excluded": []}, "filters": {"conjunction": "and", "items": []}}
    action = {"id": "retrieve_tasks_predictions", "project": number}
    client.request("POST", "/api/dm/actions", params=action, json=everything)
    until = time.monotonic() + 900
    while True:
        predicted = [task for task in tasks_of(client, number) if task["predictions"]]
        if len(predicted) == 20:
            break
        assert time.monotonic() < until, f"{len(predicted)} of 20 tasks have predictions"
        time.sleep(2)
    names = {
        name
        for task in predicted
        for p in task["predictions"]
        for r in p["result"]
        for name in r["value"]["brushlabels"]
    }
    assert names
    assert names <= set(LABELS)

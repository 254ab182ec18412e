"""The HTTP API: every route of the page, its errors, and its OpenAPI document."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import PIL.Image
import pytest
from fastapi.testclient import TestClient
from pycocotools import mask as coco_mask

from segzs import Prompt, Segmenter, read_image
from segzs.formats import FORMATS
from segzs.masks import RLE
from segzs.server.session import Session
from tests.conftest import EXAMPLES

DESK = EXAMPLES / "desk.png"
APPLE = {"points": [[92, 500]]}


@pytest.fixture
def digest(client: TestClient) -> str:
    return client.post("/api/images/open", json={"name": "desk.png"}).json()["digest"]


def events(text: str) -> list[tuple[str, Any]]:
    """The kind and the data of each server-sent event."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event: ")]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in blocks]


def test_local_images_are_listed_and_opened_under_their_digest(client: TestClient) -> None:
    assert {"name": "desk.png", "digest": None} in client.get("/api/images").json()["images"]
    opened = client.post("/api/images/open", json={"name": "desk.png"}).json()
    image = read_image(DESK)
    assert opened == {"digest": image.digest, "name": "desk.png", "width": 768, "height": 576, "encoded": False}
    assert {"name": "desk.png", "digest": image.digest} in client.get("/api/images").json()["images"]
    assert client.post(f"/api/images/{image.digest}/encode").json() == {"digest": image.digest, "encoded": True}
    assert client.post("/api/images/open", json={"name": "desk.png"}).json()["encoded"]


def test_beyond_its_capacity_the_server_says_when_to_try_again(client: TestClient, session: Session) -> None:
    pool = session.pools["files"]
    for _ in range(pool.capacity):
        pool.reserve()
    reply = client.post("/api/images/open", json={"name": "desk.png"})
    assert reply.status_code == 429
    assert int(reply.headers["Retry-After"]) >= 1
    assert "the server is busy" in reply.json()["error"]
    pool.release()
    assert client.post("/api/images/open", json={"name": "desk.png"}).status_code == 200


def test_a_put_image_is_upright(client: TestClient) -> None:
    buffer, exif = io.BytesIO(), PIL.Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    PIL.Image.new("RGB", (30, 20), "red").save(buffer, "JPEG", exif=exif)
    put = client.put("/api/images", params={"name": "turned.jpg"}, content=buffer.getvalue()).json()
    assert (put["width"], put["height"], put["name"]) == (20, 30, "turned.jpg")
    file = client.get(f"/api/images/{put['digest']}/file")
    assert PIL.Image.open(io.BytesIO(file.content)).size == (20, 30)
    assert "immutable" in file.headers["cache-control"]


def test_a_click_gives_the_mask_and_the_name_of_the_segmenter(
    client: TestClient, digest: str, segmenter: Segmenter
) -> None:
    reply = client.post(f"/api/images/{digest}/segment", json={"prompts": [APPLE, {"box": [30, 420, 150, 545]}]}).json()
    image = segmenter.encode(DESK)
    expected = segmenter.segment(image, [Prompt.point(92, 500), Prompt.box(30, 420, 150, 545)])
    assert reply["digest"] == digest == image.image.digest
    assert [segment["rle"] for segment in reply["segments"]] == [segment.rle.coco() for segment in expected]
    assert [segment["name"] for segment in reply["segments"]] == expected.names
    first = reply["segments"][0]
    assert first["box"] == list(expected[0].box)
    assert first["area"] == expected[0].area
    assert first["runners_up"][0]["name"] == expected[0].names[1].label


def test_a_preview_has_the_same_mask_without_a_name(client: TestClient, digest: str) -> None:
    named = client.post(f"/api/images/{digest}/segment", json={"prompts": [APPLE]}).json()["segments"][0]
    preview = client.post(f"/api/images/{digest}/segment", json={"prompts": [APPLE], "names": False}).json()
    assert preview["segments"][0]["rle"] == named["rle"]
    assert preview["segments"][0]["name"] == ""


@pytest.mark.slow
@pytest.mark.parametrize(("route", "body"), [("everything", None), ("find", {"text": "red apple"})])
def test_a_search_reports_progress_and_then_its_result(
    client: TestClient, digest: str, segmenter: Segmenter, route: str, body: Any
) -> None:
    reply = client.post(f"/api/images/{digest}/{route}", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *progress, (kind, result) = events(reply.text)
    assert kind == "result"
    assert result["digest"] == digest
    shares = [data["done"] / data["total"] for kind, data in progress if kind == "progress"]
    assert len(shares) == len(progress) > 1
    assert shares == sorted(shares)
    image = segmenter.encode(DESK)
    expected = segmenter.find(image, "red apple") if body else segmenter.everything(image)
    assert [segment["rle"] for segment in result["segments"]] == [segment.rle.coco() for segment in expected]


def test_a_search_that_fails_ends_with_an_error(client: TestClient, digest: str) -> None:
    reply = client.post(f"/api/images/{digest}/find", json={"text": " "})
    assert events(reply.text)[-1][0] == "error"
    assert "Traceback" not in reply.text


def test_labels_and_examples_change_names_at_once(client: TestClient, digest: str) -> None:
    own = client.put("/api/labels", json={"labels": ["red apple", "key"]}).json()
    assert own == {"labels": ["red apple", "key"], "general": False}
    segment = client.post(f"/api/images/{digest}/segment", json={"prompts": [APPLE]}).json()["segments"][0]
    assert segment["name"] == "red apple"
    example = {"digest": digest, "rle": segment["rle"], "name": "my lunch"}
    assert client.post("/api/examples", json=example).json()["labels"] == ["red apple", "key", "my lunch"]
    again = client.post(f"/api/images/{digest}/name", json={"masks": [segment["rle"]]}).json()["segments"][0]
    assert again["name"] == "my lunch"
    assert again["rle"] == segment["rle"]
    general = client.put("/api/labels", json={"labels": None}).json()
    assert len(general["labels"]) > 100
    assert general["general"]


@pytest.mark.filterwarnings("ignore::segzs.FormatWarning")
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_exported(client: TestClient, digest: str, format: str) -> None:
    segments = client.post(f"/api/images/{digest}/segment", json={"prompts": [APPLE]}).json()["segments"]
    reply = client.post(f"/api/images/{digest}/export", json={"format": format, "segments": segments})
    assert reply.status_code == 200
    assert "desk" in reply.headers["content-disposition"]
    if FORMATS[format].folder:
        assert zipfile.ZipFile(io.BytesIO(reply.content)).namelist()
    if format == "coco":
        (annotation,) = reply.json()["annotations"]
        assert annotation["area"] == segments[0]["area"]
        assert (coco_mask.decode(annotation["segmentation"]) == coco_mask.decode(segments[0]["rle"])).all()


WRONG_SIZE = RLE.encode(np.ones((2, 2), bool)).coco()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "part"),
    [
        ("POST", "/api/images/open", {"name": "../pyproject.toml"}, 404, "no image '../pyproject.toml'"),
        ("POST", "/api/images/open", {"name": str(DESK)}, 404, "no image"),
        ("POST", "/api/images/open", {"nam": "desk.png"}, 422, "name: Field required"),
        ("GET", f"/api/images/{'0' * 64}/file", None, 404, "upload it with PUT"),
        ("POST", f"/api/images/{'0' * 64}/segment", {"prompts": [APPLE]}, 404, "upload it with PUT"),
        ("POST", "/api/images/{digest}/segment", {"prompts": [{"points": [[9999, 5]]}]}, 400, "outside the image"),
        ("POST", "/api/images/{digest}/segment", {"prompts": [{}], "names": False}, 400, "the prompt is empty"),
        ("POST", "/api/images/{digest}/segment", {"prompts": [{"points": [[1, "x"]]}]}, 422, "prompts.0.points"),
        ("POST", "/api/images/{digest}/name", {"masks": [WRONG_SIZE]}, 400, "mask 0: a mask has the size"),
        ("POST", "/api/images/{digest}/export", {"format": "coc", "segments": []}, 400, "unknown format 'coc'"),
        ("PUT", "/api/labels", {"labels": []}, 400, "at least one is expected"),
        ("GET", "/api/other", None, 404, "Not Found"),
        ("DELETE", "/api/images", None, 405, "Method Not Allowed"),
    ],
)
def test_errors_are_one_line(
    client: TestClient, digest: str, method: str, path: str, body: Any, status: int, part: str
) -> None:
    reply = client.request(method, path.replace("{digest}", digest), json=body)
    assert reply.status_code == status
    assert part in reply.json()["error"]
    assert "\n" not in reply.json()["error"]


def test_bytes_that_are_no_image_are_refused(client: TestClient) -> None:
    reply = client.put("/api/images", content=b"<html>")
    assert (reply.status_code, reply.json()["error"]) == (
        415,
        "the image of 6 bytes is not an image of a format that Pillow reads",
    )


def test_a_failure_shows_no_stack_trace(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from segzs.server.app import build_app

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret path")

    monkeypatch.setattr(session, "labels", broken)
    client = TestClient(build_app(session), "http://127.0.0.1:8765", raise_server_exceptions=False)
    reply = client.get("/api/labels")
    assert (reply.status_code, reply.json()) == (500, {"error": "the server failed; its log says why"})


def test_metrics_count_requests_and_encodings(client: TestClient, digest: str) -> None:
    for _ in range(3):
        client.post(f"/api/images/{digest}/segment", json={"prompts": [APPLE]})
    lines = client.get("/api/metrics").text.splitlines()
    assert "segzs_encodings_total 1" in lines
    assert 'segzs_requests_total{operation="segment",status="200"} 3' in lines
    assert 'segzs_request_seconds_count{operation="segment"} 3' in lines


def test_health_names_the_model(client: TestClient) -> None:
    assert client.get("/api/health").json()["model"] == "tiny+tiny"


def test_the_openapi_document_has_every_route(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {path for path in paths if path.startswith("/api")} == {
        "/api/health",
        "/api/metrics",
        "/api/images",
        "/api/images/open",
        "/api/images/{digest}/file",
        "/api/images/{digest}/encode",
        "/api/images/{digest}/segment",
        "/api/images/{digest}/everything",
        "/api/images/{digest}/find",
        "/api/images/{digest}/name",
        "/api/images/{digest}/export",
        "/api/labels",
        "/api/formats",
        "/api/examples",
    }

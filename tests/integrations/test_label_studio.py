"""Label Studio's ML backend: clicks, rectangles and strokes give the mask of `segment` under the predicted name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from segzs import Prompt, RequestError, Segmenter, UsageError
from segzs.formats.label_studio import brush, unbrush
from segzs.integrations.label_studio import Interface, read_prompt
from segzs.integrations.label_studio_images import LabelStudio
from segzs.segments import Segment
from segzs.server.session import Session
from tests.conftest import EXAMPLES
from tests.integrations.conftest import KEY, FakeLabelStudio

LABELS = ["red apple", "laptop", "key"]


def config(labels: list[str], tag: str = "BrushLabels") -> str:
    items = "".join(f'<Label value="{label}"/>' for label in labels)
    return (
        f'<View><Image name="img" value="$photo"/><{tag} name="tag" toName="img">{items}</{tag}>'
        f'<KeyPointLabels name="point" toName="img" smart="true">{items}</KeyPointLabels></View>'
    )


def keypoint(x: float, y: float, **extra: Any) -> dict[str, Any]:
    """A click at image pixels of the 768x576 scene, as the editor sends it, with another label selected."""
    value = {"x": x / 7.68, "y": y / 5.76, "width": 0.3, "keypointlabels": ["laptop"]}
    value |= extra.pop("value", {})
    return {"original_width": 768, "original_height": 576, "type": "keypointlabels", "value": value, **extra}


def request(regions: list[dict[str, Any]] | None, labels: list[str] = LABELS, **extra: Any) -> dict[str, Any]:
    context = None if regions is None else {"result": regions}
    tasks = [{"id": 1, "data": {"photo": "/data/upload/1/desk.png"}}]
    return {"tasks": tasks, "label_config": config(labels), "project": "1.1", "params": {"context": context}, **extra}


def predict(client: TestClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The regions of the prediction of the only task."""
    reply = client.post("/label-studio/predict", json=body)
    assert reply.status_code == 200, reply.text
    (prediction,) = reply.json()["results"]
    assert prediction["model_version"] == "segzs tiny+tiny"
    return prediction["result"]


def expected(segmenter: Segmenter, prompt: Prompt, labels: list[str] = LABELS) -> Segment:
    named = segmenter.with_labels(labels)
    return named.segment(named.encode(EXAMPLES / "desk.png"), prompt)[0]


def test_a_click_gives_the_mask_of_segment_under_the_predicted_name(client: TestClient, segmenter: Segmenter) -> None:
    (region,) = predict(client, request([keypoint(92, 500)]))
    segment = expected(segmenter, Prompt.point(92, 500))
    assert (unbrush(region["value"]["rle"], 576, 768) == segment.mask).all()
    assert region["value"]["brushlabels"] == [segment.name] == ["red apple"]  # and not the selected "laptop"
    assert (region["from_name"], region["to_name"], region["type"]) == ("tag", "img", "brushlabels")
    assert (region["original_width"], region["original_height"]) == (768, 576)
    assert region["score"] == round(segment.probability, 4)
    assert region["value"]["format"] == "rle"
    assert not region["readonly"]


@pytest.mark.parametrize("negative", [{"is_positive": 0}, {"is_positive": False}, {"value": {"positive": False}}])
def test_a_negative_click_in_every_spelling(client: TestClient, segmenter: Segmenter, negative: dict[str, Any]) -> None:
    (region,) = predict(client, request([keypoint(92, 500, is_positive=1), keypoint(110, 515, **negative)]))
    segment = expected(segmenter, Prompt([(92, 500), (110, 515)], [True, False]))
    assert (unbrush(region["value"]["rle"], 576, 768) == segment.mask).all()


def test_a_rectangle_is_the_box(client: TestClient, segmenter: Segmenter) -> None:
    value = {"x": 30 / 7.68, "y": 420 / 5.76, "width": 120 / 7.68, "height": 125 / 5.76, "rotation": 0}
    rectangle = {"type": "rectanglelabels", "value": {**value, "rectanglelabels": ["key"]}, "image_rotation": 90}
    (region,) = predict(client, request([rectangle]))
    segment = expected(segmenter, Prompt.box(30, 420, 150, 545))
    assert (unbrush(region["value"]["rle"], 576, 768) == segment.mask).all()
    assert region["image_rotation"] == 90


def test_a_turned_rectangle_is_the_box_around_it() -> None:
    value = {"x": 50, "y": 50, "width": 20, "height": 10, "rotation": 90}
    assert read_prompt([{"type": "rectangle", "value": value}], 100, 100)["box"] == pytest.approx((40, 50, 50, 70))


def test_a_stroke_is_points_inside_it(client: TestClient) -> None:
    stroke = np.zeros((576, 768), bool)
    stroke[490:506, 70:115] = True
    region = {"type": "brushlabels", "value": {"format": "rle", "rle": brush(stroke), "brushlabels": ["key"]}}
    prompt = read_prompt([region], 768, 576)
    assert len(prompt["points"]) == 3
    assert all(stroke[int(y), int(x)] for x, y in prompt["points"])
    (answer,) = predict(client, request([region]))
    assert answer["value"]["brushlabels"] == ["red apple"]


@pytest.mark.parametrize(
    ("labels", "name"), [(["key", "laptop"], {"key", "laptop"}), (["key", "Unknown"], {"Unknown"})]
)
def test_unknown_is_returned_only_where_the_interface_has_it(
    client: TestClient, labels: list[str], name: set[str]
) -> None:
    (region,) = predict(client, request([keypoint(92, 500)], labels))
    assert region["value"]["brushlabels"][0] in name


def test_polygons_where_the_interface_has_no_brush(client: TestClient, segmenter: Segmenter) -> None:
    body = request([keypoint(92, 500)]) | {"label_config": config(LABELS, "PolygonLabels")}
    regions = predict(client, body)
    points = np.array(regions[0]["value"]["points"]) * (7.68, 5.76)
    x1, y1, x2, y2 = expected(segmenter, Prompt.point(92, 500)).box
    assert regions[0]["value"]["polygonlabels"] == ["red apple"]
    assert points.min(0) == pytest.approx((x1, y1), abs=1)
    assert points.max(0) == pytest.approx((x2, y2), abs=1)


def test_an_empty_context_encodes_ahead_of_the_first_click(client: TestClient, session: Session) -> None:
    assert predict(client, request([])) == []
    assert session.encoding_count == 1
    predict(client, request([keypoint(92, 500)]))
    predict(client, request([keypoint(600, 200)]))
    assert session.encoding_count == 1


@pytest.mark.slow
def test_without_a_context_all_tasks_get_every_object(client: TestClient, segmenter: Segmenter) -> None:
    body = request(None)
    body["tasks"] = [
        {"id": 1, "data": {"photo": "/data/upload/1/desk.png"}},
        {"id": 2, "data": {"photo": "/data/upload/1/missing.png"}},
        {"id": 3, "data": {"photo": "/data/upload/1/picnic.png"}},
    ]
    desk, missing, picnic = client.post("/label-studio/predict", json=body).json()["results"]
    named = segmenter.with_labels(LABELS)
    masks = [segment.mask for segment in named.everything(named.encode(EXAMPLES / "desk.png"))]
    regions = [unbrush(region["value"]["rle"], 576, 768) for region in desk["result"]]
    assert len(regions) == len(masks)
    assert all((one == other).all() for one, other in zip(regions, masks, strict=True))
    assert {region["value"]["brushlabels"][0] for region in desk["result"]} <= set(LABELS)
    assert missing["result"] == []
    assert picnic["result"]


def test_an_image_that_was_replaced_is_not_answered_with_the_old_one(
    client: TestClient, label_studio: FakeLabelStudio
) -> None:
    (before,) = predict(client, request([keypoint(92, 500)]))
    label_studio.files["/data/upload/1/desk.png"] = (EXAMPLES / "picnic.png").read_bytes()
    (after,) = predict(client, request([keypoint(92, 500)]))
    assert before["value"]["rle"] != after["value"]["rle"]


@pytest.mark.parametrize(
    "source",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://evil.example/data/x.png",
        "//evil.example/data/x.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "../../etc/passwd",
        "/data/../api/users",
        "/data/%2e%2e/api/users",
        "/api/projects",
        "http://127.0.0.1:1/data/x.png",
        "http://user@127.0.0.1/data/x.png",
        "http://[::1/data",
        "s3://bucket/x.png",
        "data:image/png;base64,AAAA",
    ],
)
def test_nothing_but_images_of_label_studio_is_fetched(
    client: TestClient, label_studio: FakeLabelStudio, source: str
) -> None:
    body = request([keypoint(92, 500)])
    body["tasks"][0]["data"]["photo"] = source
    reply = client.post("/label-studio/predict", json=body)
    assert reply.status_code == 403
    assert "is not served by the Label Studio at" in reply.json()["error"]
    assert label_studio.requests == []


def test_a_redirect_is_not_followed(label_studio: FakeLabelStudio) -> None:
    with pytest.raises(RequestError, match="redirects to another address"):
        LabelStudio(label_studio.url, KEY).fetch("/data/moved.png")


def test_a_wrong_key_is_reported(label_studio: FakeLabelStudio) -> None:
    with pytest.raises(RequestError, match="refuses the key"):
        LabelStudio(label_studio.url, "wrong").fetch("/data/upload/1/desk.png")


def test_a_key_of_the_new_kind_is_exchanged_once(label_studio: FakeLabelStudio) -> None:
    connected = LabelStudio(label_studio.url, "header.claims.signature")
    for _ in range(2):
        assert connected.fetch("/data/upload/1/desk.png") == (EXAMPLES / "desk.png").read_bytes()
    assert [path for path, _ in label_studio.requests].count("/api/token/refresh") == 1
    assert label_studio.requests[-1][1] == "Bearer access"


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(LabelStudio("http://localhost:8080", "secret"))


def test_a_label_studio_that_is_away(label_studio: FakeLabelStudio) -> None:
    with pytest.raises(RequestError, match="does not answer"):
        LabelStudio("http://127.0.0.1:9", KEY).fetch("/data/x.png")
    with pytest.raises(UsageError, match="is not the address of a Label Studio"):
        LabelStudio("localhost:8080")


def test_set_up_health_and_versions(client: TestClient) -> None:
    assert client.get("/label-studio/health").json()["status"] == "UP"
    setup = {"project": "1.1", "schema": config(LABELS), "hostname": "x", "access_token": "y"}
    assert client.post("/label-studio/setup", json=setup).json() == {"model_version": "segzs tiny+tiny"}
    assert client.get("/label-studio/versions").json() == {"versions": ["segzs tiny+tiny"]}
    assert client.post("/label-studio/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 200
    reply = client.post("/label-studio/setup", json={"schema": "<View/>"})
    assert (reply.status_code, "has no BrushLabels" in reply.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"label_config": "<View>"}, "is not XML"),
        ({"label_config": '<!DOCTYPE x [<!ENTITY a "b">]><View/>'}, "without DOCTYPE"),
        ({"label_config": None}, "is not a short XML"),
        ({"tasks": {}}, "is not a list"),
        ({"tasks": [{"data": {"image": "x"}}]}, "the task has no image under 'photo'"),
        ({"tasks": [7]}, "the task has no image"),
        ({"params": {"context": {"result": [{"type": "choices", "value": {}}]}}}, "draw one with a smart tool"),
        ({"params": {"context": {"result": [keypoint(1, 1, value={"x": "a"})]}}}, "'a' is not a number"),
        ({"params": {"context": {"result": [{"type": "keypoint"}]}}}, "'value' is missing"),
        ({"params": {"context": {"result": [{"type": "brush", "value": {"rle": [1, 2]}}]}}}, "ends early"),
        ({"params": {"context": {"result": "no list"}}}, "is not a list of regions"),
    ],
)
def test_damaged_requests_are_explained(client: TestClient, change: dict[str, Any], part: str) -> None:
    reply = client.post("/label-studio/predict", json=request([keypoint(92, 500)]) | change)
    assert reply.status_code == 400
    assert part in reply.json()["error"]


def test_an_interface_without_label_studio(session: Session) -> None:
    from segzs.integrations.label_studio_backend import label_studio_routes
    from segzs.server.app import build_app

    client = TestClient(build_app(session, tools=[label_studio_routes(session, None)]), "http://127.0.0.1")
    reply = client.post("/label-studio/predict", json=request([keypoint(92, 500)]))
    assert (reply.status_code, "--label-studio URL" in reply.json()["error"]) == (503, True)


def test_the_brush_comes_before_polygons() -> None:
    both = config(LABELS, "PolygonLabels").replace("</View>", "") + config(["cat"]).replace("<View>", "")
    assert Interface.read(both).kind == "brushlabels"

"""CVAT's functions: both forms of requests, replies that cvat-sdk accepts, masks of `segment`."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import cvat_sdk.auto_annotation as cvataa
import cvat_sdk.masks
import cvat_sdk.models
import numpy as np
import PIL.Image
import pytest
from fastapi.testclient import TestClient

import segzs
from segzs import Prompt, Segmenter, UsageError
from segzs.integrations import cvat
from segzs.integrations.cvat_functions import DetectionFunction, InteractionFunction, create
from segzs.masks import RLE
from segzs.server.session import Session
from tests.conftest import EXAMPLES

DESK = EXAMPLES / "desk.png"
IMAGE = base64.b64encode(DESK.read_bytes()).decode()
BOX = [[30, 420], [150, 545]]


def click(**changes: Any) -> dict[str, Any]:
    return {"image": IMAGE, "pos_points": [[92, 500]], "neg_points": [[200, 100]], "obj_bbox": None} | changes


@pytest.mark.parametrize(
    ("changes", "prompt"),
    [
        ({}, Prompt([(92, 500), (200, 100)], [True, False])),
        ({"obj_bbox": BOX, "neg_points": []}, Prompt([(92, 500)], box=(30, 420, 150, 545))),
        ({"obj_bbox": [150, 545, 30, 420], "pos_points": []}, Prompt([(200, 100)], [False], (30, 420, 150, 545))),
        ({"obj_bbox": []}, Prompt([(92, 500), (200, 100)], [True, False])),
    ],
)
def test_a_click_gives_the_mask_of_segment(
    client: TestClient, segmenter: Segmenter, changes: dict[str, Any], prompt: Prompt
) -> None:
    reply = client.post("/cvat/interactor", json=click(**changes)).json()
    (segment,) = segmenter.segment(segmenter.encode(DESK), prompt)
    assert (np.array(reply["mask"]) == segment.mask * 255).all()
    assert reply["label"] == segment.name
    points = np.array(reply["points"])
    assert points.min(0).tolist() >= list(segment.box[:2])
    assert points.max(0).tolist() <= list(segment.box[2:])


def test_older_servers_put_the_box_before_the_points(client: TestClient) -> None:
    newer = click(obj_bbox=BOX)
    older = {"image": IMAGE, "pos_points": [*BOX, [92, 500]], "neg_points": [[200, 100]]}
    assert client.post("/cvat/interactor", json=older).json() == client.post("/cvat/interactor", json=newer).json()


def test_an_image_is_encoded_once_although_it_comes_with_each_click(client: TestClient, session: Session) -> None:
    for x in (80, 92, 100):
        assert client.post("/cvat/interactor", json=click(pos_points=[[x, 500]])).status_code == 200
    assert session.encoding_count == 1


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"image": "no base64!"}, "the request has no image"),
        ({"image": base64.b64encode(b"no image").decode()}, "is not an image"),
        ({"pos_points": []}, "the request has no positive points and no box"),
        ({"obj_bbox": [1, 2]}, "two corners, or null, are expected"),
        ({"obj_bbox": "abcd"}, "two corners, or null, are expected"),
        ({"pos_points": [["x", 1]]}, "is not a point"),
    ],
)
def test_damaged_requests_are_explained(client: TestClient, changes: dict[str, Any], part: str) -> None:
    reply = client.post("/cvat/interactor", json=click(**changes))
    assert reply.status_code in (400, 415)
    assert part in reply.json()["error"]


@pytest.mark.slow
def test_the_detector_gives_masks_polygons_and_labels(client: TestClient, segmenter: Segmenter) -> None:
    segments = segmenter.everything(segmenter.encode(DESK))
    threshold = sorted(segment.probability for segment in segments)[len(segments) // 2]
    reply = client.post("/cvat/detector", json={"image": IMAGE, "threshold": threshold}).json()
    likely = [segment for segment in segments if round(segment.probability, 4) >= threshold]
    assert [item["label"] for item in reply] == [segment.name for segment in likely]
    for item, segment in zip(reply, likely, strict=True):
        *pixels, x1, y1, x2, y2 = item["mask"]  # CVAT's server reads a mask as the pixels of its box
        assert (x1, y1, x2 + 1, y2 + 1) == segment.box
        assert (np.reshape(pixels, (y2 - y1 + 1, x2 - x1 + 1)) == segment.mask[y1 : y2 + 1, x1 : x2 + 1]).all()
        assert item["type"] == "mask"
        assert len(item["points"]) >= 6
        shape = cvat_sdk.models.LabeledShapeRequest(
            type="polygon", frame=0, label_id=0, points=[float(number) for number in item["points"]]
        )
        assert shape.points


@dataclass
class Context:
    """What nuclio gives a handler."""

    user_data: Any

    def Response(self, **values: Any) -> Any:  # noqa: N802
        return SimpleNamespace(**values)


@pytest.mark.parametrize("encode", [dict, lambda body: json.dumps(body).encode()])
def test_the_nuclio_handler_answers_requests_and_errors(session: Session, encode: Any) -> None:
    context = Context(None)
    good = cvat.serve(cvat.interact, session, context, SimpleNamespace(body=encode(click())))
    assert good.status_code == 200
    assert good.content_type == "application/json"
    assert np.shape(json.loads(good.body)["mask"]) == (576, 768)
    bad = cvat.serve(cvat.interact, session, context, SimpleNamespace(body=encode(click(pos_points=[]))))
    assert (bad.status_code, list(json.loads(bad.body))) == (400, ["error"])
    assert cvat.serve(cvat.detect, session, context, SimpleNamespace(body=b"no JSON")).status_code == 400


@dataclass
class DetectionContext(cvataa.DetectionFunctionContext):
    frame_name: str = "desk.png"
    conf_threshold: float | None = None
    conv_mask_to_poly: bool = False


DetectionContext.__abstractmethods__ = frozenset()


@pytest.mark.slow
def test_the_detection_function_of_cvat_sdk(segmenter: Segmenter) -> None:
    function = DetectionFunction(segmenter)
    names = {label.id: label.name for label in function.spec.labels}
    segments = [segment for segment in segmenter.everything(segmenter.encode(DESK)) if segment.area]
    with PIL.Image.open(DESK) as image:
        shapes = function.detect(DetectionContext(), image)
        polygons = function.detect(DetectionContext(conv_mask_to_poly=True), image)
        likely = function.detect(DetectionContext(conf_threshold=0.5), image)
    assert [names[shape.label_id] for shape in shapes] == [segment.name for segment in segments]
    for shape, segment in zip(shapes, segments, strict=True):
        assert isinstance(shape, cvat_sdk.models.LabeledShapeRequest)
        decoded = cvat_sdk.masks.decode_mask(shape.points, image_width=768, image_height=576)
        assert (decoded == segment.mask).all()
    assert {str(shape.type) for shape in polygons} == {"polygon"}
    assert len(likely) == sum(segment.probability >= 0.5 for segment in segments)


def test_the_detection_function_of_cvat_leaves_out_what_is_improbable() -> None:
    image = segzs.read_image(np.zeros((20, 30, 3), np.uint8))
    masks = np.zeros((3, 20, 30), bool)
    masks[0, 2:9, 2:9] = masks[1, 12:15, 2:9] = masks[1, 12:15, 20:29] = True
    names = [("cup", 0.9), ("key", 0.6), ("cup", 0.9)]
    segments = segzs.Segments(
        image,
        tuple(
            segzs.Segment(RLE.encode(mask), 1.0, 1.0, (segzs.Name(*name),))
            for mask, name in zip(masks, names, strict=True)
        ),
    )
    segmenter = SimpleNamespace(
        vocabulary=SimpleNamespace(labels=("cup", "key")), encode=lambda image: image, everything=lambda image: segments
    )
    function = DetectionFunction(segmenter)  # type: ignore[arg-type]
    assert [label.name for label in function.spec.labels] == ["cup", "key", "unknown"]

    def detect(threshold: float | None, polygons: bool) -> list[tuple[str, int]]:
        context = DetectionContext(conf_threshold=threshold, conv_mask_to_poly=polygons)
        shapes = function.detect(context, PIL.Image.new("RGB", (30, 20)))
        return [(shape.type.value, shape.label_id) for shape in shapes]

    assert detect(None, False) == [("mask", 0), ("mask", 1)]
    assert detect(0.8, False) == [("mask", 0)]
    assert detect(None, True) == [("polygon", 0), ("polygon", 1), ("polygon", 1)]


def test_the_interaction_function_of_cvat_sdk(segmenter: Segmenter) -> None:
    function = InteractionFunction(segmenter)
    assert function.spec.min_bounding_boxes == 0
    prompts = SimpleNamespace(pos_points=[(92, 500)], neg_points=[(200, 100)], bounding_box=((30, 420), (150, 545)))
    with PIL.Image.open(DESK) as image:
        encoded = function.preprocess_image(None, image)
    (shape,) = function.detect(None, encoded, prompts)
    assert isinstance(shape, cvataa.InteractionResultShape)
    (segment,) = segmenter.segment(encoded, Prompt([(92, 500), (200, 100)], [True, False], (30, 420, 150, 545)))
    decoded = cvat_sdk.masks.decode_mask(shape.points, image_width=768, image_height=576)
    assert (decoded == segment.mask).all()


@pytest.mark.slow
def test_cvat_cli_creates_the_functions() -> None:
    detection = create(labels="key, laptop", cache=False)
    assert [label.name for label in detection.spec.labels] == ["key", "laptop", "unknown"]
    assert isinstance(create("interaction", cache=False), InteractionFunction)
    with pytest.raises(UsageError, match="choose from detection, interaction"):
        create("tracking")  # type: ignore[arg-type]

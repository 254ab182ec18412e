"""CVAT's serverless functions: an interactor and a detector in the shapes that nuclio functions take and return.

Source: https://docs.cvat.ai/docs/manual/advanced/serverless-tutorial/
"""

from __future__ import annotations

import base64
import json
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from segzs.errors import AnnotationError, PromptError, SegzsError
from segzs.formats.polygons import corners
from segzs.masks import RLE
from segzs.server.app import status_of
from segzs.server.session import Session


def read_prompt(request: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt of an interactor's request, as `Session.segment` takes it.

    ``obj_bbox`` is the box as two corners or four numbers, or null. Servers before CVAT 2 do not send it: they put the
    two corners before the positive points.

    Raises:
        PromptError: the request has no points and no box.

    >>> read_prompt({"pos_points": [[5, 6]], "neg_points": [], "obj_bbox": None})
    {'points': [[5, 6]], 'positive': [True], 'box': None}
    >>> read_prompt({"pos_points": [[1, 2], [9, 8], [5, 6]], "neg_points": []})
    {'points': [[5, 6]], 'positive': [True], 'box': (1.0, 2.0, 9.0, 8.0)}
    """
    inside, outside = list(request.get("pos_points") or ()), list(request.get("neg_points") or ())
    box = request.get("obj_bbox")
    if "obj_bbox" not in request and len(inside) >= 2:
        box, inside = inside[:2], inside[2:]
    try:
        flat = [float(number) for number in np.ravel(box)] if box is not None and len(box) else None
    except (TypeError, ValueError) as error:
        raise PromptError(f"obj_bbox is {str(box)[:80]}; two corners, or null, are expected") from error
    if flat is not None and len(flat) != 4:
        raise PromptError(f"obj_bbox is {str(box)[:80]}; two corners, or null, are expected")
    if not inside and flat is None:
        raise PromptError("the request has no positive points and no box; give at least one")
    return {
        "points": [*inside, *outside],
        "positive": [True] * len(inside) + [False] * len(outside),
        "box": flat and (min(flat[::2]), min(flat[1::2]), max(flat[::2]), max(flat[1::2])),
    }


def interact(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a click: ``mask`` as rows of 0 and 255, ``points`` as the polygon of its largest part, and its name.

    Raises:
        PromptError: the request has no points and no box, or one lies outside of the image.
        ImageError: the image cannot be read.
    """
    digest = _put(session, request)
    answer = session.submit("segment", digest=digest, prompts=[read_prompt(request)]).result()
    (segment,) = answer["segments"]
    mask = _mask(segment)
    return {
        "points": _largest(mask),
        "mask": (mask * np.uint8(255)).tolist(),
        "label": segment["name"],
        "confidence": segment["probability"],
    }


def detect(session: Session, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every object with a probability of at least ``threshold``: masks inside their box, and polygons beside them.

    Raises:
        ImageError: the image cannot be read.
    """
    threshold = request.get("threshold") or 0.0
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise PromptError(f"threshold is {str(threshold)[:80]}; a number from 0 to 1 is expected")
    digest = _put(session, request)
    answer = session.submit("everything", digest=digest).result()
    segments = [segment for segment in answer["segments"] if segment["area"] and segment["probability"] >= threshold]
    return [_detection(segment, group) for group, segment in enumerate(segments, start=1)]


def _detection(segment: Mapping[str, Any], group: int) -> dict[str, Any]:
    mask = _mask(segment)
    x1, y1, x2, y2 = segment["box"]
    return {
        "label": segment["name"],
        "confidence": f"{segment['probability']}",
        "type": "mask",
        "mask": [*mask[y1:y2, x1:x2].astype(int).ravel().tolist(), x1, y1, x2 - 1, y2 - 1],
        "points": [number for point in _largest(mask) for number in point],
        "attributes": [],
        "group_id": group,
    }


def _put(session: Session, request: Mapping[str, Any]) -> str:
    try:
        data = base64.b64decode(request["image"], validate=True)
    except (KeyError, TypeError, ValueError, Base64Error) as error:
        raise AnnotationError("the request has no image; the bytes of a file in base64 are expected") from error
    return session.submit("put", data=data, name="frame").result()["digest"]


def _mask(segment: Mapping[str, Any]) -> np.ndarray:
    height, width = segment["rle"]["size"]
    return RLE(height, width, segment["rle"]["counts"]).decode()


def _largest(mask: np.ndarray) -> list[list[int]]:
    polygons = corners(mask)
    return max(polygons, key=lambda polygon: np.ptp(polygon, axis=0).prod()).tolist() if polygons else []


def serve(call: Callable[[Session, Mapping[str, Any]], Any], session: Session, context: Any, event: Any) -> Any:
    """The body of a nuclio handler: run `interact` or `detect` on an event; an error is answered in one line."""
    try:
        body = event.body if isinstance(event.body, Mapping) else json.loads(event.body)
        reply, status = call(session, body), 200
    except (SegzsError, ValueError, TypeError) as error:
        status = status_of(error) if isinstance(error, SegzsError) else 400
        reply = {"error": " ".join(str(error).split())}
    return context.Response(body=json.dumps(reply), headers={}, content_type="application/json", status_code=status)


def cvat_routes(session: Session) -> APIRouter:
    """The two functions under ``/cvat``, for nuclio functions that pass requests on to one server."""
    routes = APIRouter(prefix="/cvat", tags=["CVAT"])

    @routes.post("/interactor")
    def interactor(body: dict[str, Any]) -> JSONResponse:
        return JSONResponse(interact(session, body))

    @routes.post("/detector")
    def detector(body: dict[str, Any]) -> JSONResponse:
        return JSONResponse(detect(session, body))

    return routes

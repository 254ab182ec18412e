"""The routes that Label Studio calls on an ML backend, over a session that encodes each image once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from segzs.errors import RequestError, SegzsError, UsageError
from segzs.integrations.label_studio import Interface, read_prompt
from segzs.integrations.label_studio_images import LabelStudio
from segzs.server.messages import parse_segments
from segzs.server.session import Session

MAX_TASKS = 1000
log = logging.getLogger("segzs.server")


def label_studio_routes(session: Session, label_studio: LabelStudio | None) -> APIRouter:
    """The routes under ``/label-studio``, which is the backend's URL in Label Studio.

    Without a ``label_studio``, no image can be fetched, and predictions are refused.

    Source: https://labelstud.io/guide/ml_create
    """
    routes, version = APIRouter(prefix="/label-studio", tags=["Label Studio"]), f"segzs {session.segmenter.model}"

    @routes.get("/health")
    @routes.get("/", include_in_schema=False)
    async def health() -> dict[str, Any]:
        return {"status": "UP", "model_class": "segzs", "v2": True}

    @routes.post("/setup")
    async def setup(body: dict[str, Any]) -> dict[str, Any]:
        """Check the labeling configuration."""
        if body.get("schema"):
            Interface.read(body["schema"])
        return {"model_version": version}

    @routes.get("/versions")
    async def versions() -> dict[str, Any]:
        return {"versions": [version]}

    @routes.post("/webhook")
    async def webhook(body: dict[str, Any]) -> dict[str, Any]:
        """Events of annotations, which segzs does not need."""
        return {}

    @routes.post("/predict")
    async def predict(body: dict[str, Any], request: Request) -> dict[str, Any]:
        """Predictions of tasks: of what a smart tool drew, or without a context of every object."""
        tasks, params = body.get("tasks"), body.get("params")
        if not isinstance(tasks, list) or len(tasks) > MAX_TASKS:
            raise UsageError(f"tasks is not a list of at most {MAX_TASKS} tasks")
        context = params.get("context") if isinstance(params, Mapping) else None
        interface = Interface.read(body.get("label_config"))
        results = []
        for task in tasks:
            if await request.is_disconnected():  # Label Studio does not wait long, and asks again
                raise RequestError("the client left before all tasks had predictions")
            try:
                results.append(await prediction(interface, task, context))
            except SegzsError as error:
                if context is not None or (isinstance(error, RequestError) and error.status == 429):
                    raise
                log.warning(
                    "no predictions for task %s: %s", task.get("id") if isinstance(task, Mapping) else "?", error
                )
                results.append({"result": [], "score": 0.0})
        return {"results": [{"model_version": version, **result} for result in results], "model_version": version}

    async def prediction(interface: Interface, task: Any, context: Any) -> dict[str, Any]:
        if label_studio is None:
            raise RequestError("the server does not know a Label Studio; start it with --label-studio URL", 503)
        source = interface.image_of(task)
        data = await asyncio.wrap_future(session.start_in("fetches", lambda: label_studio.fetch(source)))
        opened = await asyncio.wrap_future(session.submit("put", data=data, name=source.rpartition("/")[2]))
        digest = opened["digest"]
        regions = context.get("result") if isinstance(context, Mapping) else None
        if context is not None and not regions:  # nothing is drawn yet: the image is encoded ahead of the first click
            session.submit("encode", digest=digest)
            return {"result": [], "score": 0.0}
        labels, rotation = list(interface.labels) or None, 0
        if context is None:
            job = session.submit("everything", digest=digest, labels=labels)
        else:
            if not isinstance(regions, list):
                raise UsageError("the result of the context is not a list of regions")
            prompt = read_prompt(regions, opened["width"], opened["height"])
            rotation = next((turn for region in regions if isinstance(turn := region.get("image_rotation"), int)), 0)
            job = session.submit("segment", digest=digest, prompts=[prompt], labels=labels)
        answer = await asyncio.wrap_future(job)
        return interface.write(parse_segments(answer["segments"], session.store.get(digest).image), rotation)

    return routes

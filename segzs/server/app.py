"""The FastAPI application: thin routes over a `Session`, and the page at ``/``."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from segzs import __version__
from segzs.errors import ImageError, ImageTooLargeError, ModelError, OutOfMemoryError, RequestError, SegzsError
from segzs.server import schema
from segzs.server.metrics import Counter, Metrics
from segzs.server.security import Guard, Security
from segzs.server.session import Download, Session
from segzs.server.workers import Job
from segzs.settings import PACKAGE

HEARTBEAT_SECONDS = 1.0
log = logging.getLogger("segzs.server")


def build_app(session: Session, security: Security = Security(), tools: Iterable[APIRouter] = ()) -> FastAPI:
    """The application that serves a session; ``/openapi.json`` describes it. ``tools`` are routes of other tools.

    >>> import segzs
    >>> app = build_app(Session(segzs.load(cache=False)))
    >>> "/api/images/{digest}/segment" in app.openapi()["paths"]
    True
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        session.close()

    errors: Any = {status: {"model": schema.Error} for status in (400, 401, 403, 404, 413, 415, 422, 429, 503)}
    app = FastAPI(
        title="segzs",
        version=__version__,
        description="Promptable segmentation with names. Coordinates are image pixels, x to the right, y down.",
        lifespan=lifespan,
        docs_url=None,  # they load scripts from other hosts
        redoc_url=None,
        responses=errors,
    )
    app.state.session, metrics = session, Metrics()

    async def submit(operation: str, **arguments: Any) -> Job:
        """Start an operation; in a thread, because an image that was dropped is decoded again first."""
        return await asyncio.to_thread(session.submit, operation, **arguments)

    async def run(operation: str, **arguments: Any) -> Any:
        return await asyncio.wrap_future(await submit(operation, **arguments))

    @app.get("/api/health")
    async def health() -> schema.Health:
        return schema.Health(status="UP", model=session.segmenter.model, version=__version__)

    @app.get("/api/metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        return Response(metrics.text(session), media_type="text/plain; version=0.0.4")

    @app.get("/api/images", response_model=schema.Images)
    async def images() -> Any:
        return JSONResponse(await run("images"))

    @app.put("/api/images", response_model=schema.Opened, openapi_extra=schema.IMAGE_BODY)
    async def put(request: Request, name: str = "") -> Any:
        return JSONResponse(await run("put", data=await request.body(), name=name[:200]))

    @app.post("/api/images/open", response_model=schema.Opened)
    async def open_image(body: schema.Open) -> Any:
        return JSONResponse(await run("open", name=body.name))

    @app.get("/api/images/{digest}/file", responses={200: {"content": {"image/jpeg": {}}}}, response_class=Response)
    async def file(digest: str) -> Response:
        download: Download = await run("file", digest=digest)
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(download.content, media_type=download.media_type, headers=headers)

    @app.post("/api/images/{digest}/encode", response_model=schema.Encoded)
    async def encode(digest: str) -> Any:
        return JSONResponse(await run("encode", digest=digest))

    @app.post("/api/images/{digest}/segment", response_model=schema.Segments)
    async def segment(digest: str, body: schema.Prompts) -> Any:
        prompts = [prompt.model_dump(exclude_none=True) for prompt in body.prompts]
        return JSONResponse(await run("segment", digest=digest, prompts=prompts, names=body.names))

    @app.post("/api/images/{digest}/everything", **schema.EVENTS)
    async def everything(digest: str) -> StreamingResponse:
        return await _events(partial(submit, "everything", digest=digest))

    @app.post("/api/images/{digest}/find", **schema.EVENTS)
    async def find(digest: str, body: schema.Find) -> StreamingResponse:
        return await _events(partial(submit, "find", digest=digest, text=body.text))

    @app.post("/api/images/{digest}/name", response_model=schema.Segments)
    async def name(digest: str, body: schema.Masks) -> Any:
        return JSONResponse(await run("name", digest=digest, masks=[mask.model_dump() for mask in body.masks]))

    @app.post("/api/images/{digest}/export", responses={200: {"content": {"*/*": {}}}}, response_class=Response)
    async def export(digest: str, body: schema.Export) -> Response:
        segments = [segment.model_dump() for segment in body.segments]
        arguments = {"digest": digest, "format": body.format, "segments": segments, "name": body.name}
        download: Download = await run("export", **arguments)
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(download.name)}"}
        return Response(download.content, media_type=download.media_type, headers=headers)

    @app.get("/api/formats", response_model=schema.Formats)
    async def formats() -> Any:
        return JSONResponse(await run("formats"))

    @app.get("/api/labels", response_model=schema.Labels)
    async def labels() -> Any:
        return JSONResponse(await run("labels"))

    @app.put("/api/labels", response_model=schema.Labels)
    async def set_labels(body: schema.NewLabels) -> Any:
        return JSONResponse(await run("set_labels", labels=body.labels))

    @app.post("/api/examples", response_model=schema.Labels)
    async def add_example(body: schema.Example) -> Any:
        arguments = {"digest": body.digest, "rle": body.rle.model_dump(), "name": body.name}
        return JSONResponse(await run("add_example", **arguments))

    @app.exception_handler(SegzsError)
    async def refused(_: Request, error: SegzsError) -> Response:
        after = error.retry_after if isinstance(error, RequestError) else None
        return _error(status_of(error), str(error), {} if after is None else {"Retry-After": f"{after}"})

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, error: ClientDisconnect) -> Response:
        return _error(400, "the client left before its request was complete")

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return _error(422, f"{where or 'the body'}: {first['msg']}; /openapi.json describes what is expected")

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return _error(500, "the server failed; its log says why")  # starlette logs the traceback

    for routes in tools:
        app.include_router(routes)
    page = PACKAGE / "web"
    if page.is_dir():
        app.mount("/", StaticFiles(directory=page, html=True), name="page")
    app.add_middleware(Counter, metrics=metrics)
    app.add_middleware(Guard, security=security)
    return app


def status_of(error: SegzsError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, RequestError):
        return error.status
    statuses = {ImageTooLargeError: 413, ImageError: 415, ModelError: 503, OutOfMemoryError: 503}
    return next((status for kind, status in statuses.items() if isinstance(error, kind)), 400)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": " ".join(message.split())[:1000]}, status, headers)


async def _events(submit: Callable[..., Awaitable[Job]]) -> StreamingResponse:
    """Progress and the result of a job as server-sent events; a client that leaves cancels the job."""
    loop, shares = asyncio.get_running_loop(), asyncio.Queue[float | None]()

    def put(share: float | None) -> None:
        loop.call_soon_threadsafe(shares.put_nowait, share)

    job = await submit(progress=put)
    job.add_done_callback(lambda _: put(None))

    async def events() -> AsyncIterator[str]:
        try:
            while True:
                try:
                    share = await asyncio.wait_for(shares.get(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield ": waiting\n\n"  # a write is how a lost connection shows
                    continue
                if share is None:
                    break
                yield _event("progress", {"done": round(share, 4), "total": 1})
            yield _outcome(job)
        finally:
            job.cancel()

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _outcome(job: Job) -> str:
    try:
        return _event("result", job.result())
    except CancelledError:
        return _event("error", {"message": "cancelled"})
    except SegzsError as error:
        return _event("error", {"message": " ".join(str(error).split())})
    except Exception:
        log.exception("a search failed")
        return _event("error", {"message": "the server failed; its log says why"})


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"

"""Annotator: the widget of `annotate`, a thin layer between the page and a `Session`."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Sequence
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import PIL.Image

from segzs.errors import RequestError, SegzsError
from segzs.image import ImageSource, read_image
from segzs.notebook.modules import widget_module
from segzs.segmenter import Segmenter
from segzs.segments import Segments
from segzs.server.messages import parse_segments, to_messages
from segzs.server.session import Download, Session
from segzs.server.workers import Job

log = logging.getLogger("segzs.notebook")


class Annotator(anywidget.AnyWidget):
    """The page in a cell; make one with `annotate`.

    ``segments`` are those of the image that is open, and ``by_image`` those of all images that were open.
    """

    _esm = widget_module()

    def __init__(self, segmenter: Segmenter, images: ImageSource, segments: Segments | None = None) -> None:
        super().__init__()
        self.session, self._digest = _session(segmenter, images)
        self._kept: dict[str, list[Any]] = {}
        self._jobs: dict[str, Job] = {}
        if segments is not None:
            self._digest = segments.image.digest
            self._kept[self._digest] = to_messages(segments)
        self.on_msg(self._receive)

    @property
    def segmenter(self) -> Segmenter:
        """The segmenter with the labels and examples of the page."""
        return self.session.segmenter

    @property
    def segments(self) -> Segments:
        """The segments that the page holds of the image that is open."""
        return self._segments(self._digest)

    @property
    def by_image(self) -> dict[str, Segments]:
        """The segments of each image that has any, by the name of the image."""
        return {
            self.session.store.get(digest).name: self._segments(digest) for digest, kept in self._kept.items() if kept
        }

    def _segments(self, digest: str) -> Segments:
        image = self.session.store.get(digest).image
        kept = [{**each, "prompt": None} for each in self._kept.get(digest, [])]
        return Segments(image, tuple(parse_segments(kept, image)), self.segmenter.model)

    def _receive(self, _: object, message: dict[str, Any], __: object) -> None:
        id, operation, arguments = message["id"], message["op"], message.get("args", {})
        if operation == "cancel":
            if id in self._jobs:
                self._jobs[id].cancel()
        elif operation == "load":
            self._digest = arguments["digest"]
            self.send({"id": id, "result": {"segments": self._kept.get(self._digest)}})
        elif operation == "keep":
            self._kept[arguments["digest"]] = arguments["segments"]
            self.send({"id": id, "result": {}})
        else:
            self._submit(id, operation, arguments)

    def _submit(self, id: str, operation: str, arguments: dict[str, Any]) -> None:
        try:
            job = self.session.submit(operation, progress=partial(self._report, id), **arguments)
        except (SegzsError, TypeError) as error:
            self.send({"id": id, "error": str(error)})
            return
        self._jobs[id] = job
        job.add_done_callback(partial(self._answer, id))

    def _report(self, id: str, share: float) -> None:
        self.send({"id": id, "progress": round(share, 4)})

    def _answer(self, id: str, job: Any) -> None:
        self._jobs.pop(id, None)
        try:
            result = job.result()
        except CancelledError:
            self.send({"id": id, "error": "cancelled"})
        except SegzsError as error:
            self.send({"id": id, "error": str(error)})
        except Exception as error:
            log.exception("a request of the page failed")
            self.send({"id": id, "error": f"{type(error).__name__}: {error}"})
        else:
            if isinstance(result, Download):
                about = {"name": result.name, "media_type": result.media_type}
                self.send({"id": id, "result": about}, [result.content])
            else:
                self.send({"id": id, "result": result})


def _session(segmenter: Segmenter, images: ImageSource) -> tuple[Session, str]:
    """A session of the images, and the digest of the first one."""
    if isinstance(images, str | os.PathLike):
        images = [images]
    if isinstance(images, Sequence) and images and all(isinstance(one, str | os.PathLike) for one in images):
        session = Session(segmenter, [Path(one) for one in images])
        listed = session.images()["images"]
        if not listed:
            raise RequestError("there is no image; give a file, or a folder with images")
        return session, session.open(listed[0]["name"])["digest"]
    session, buffer = Session(segmenter), io.BytesIO()
    PIL.Image.fromarray(read_image(images).pixels).save(buffer, "PNG", compress_level=1)
    return session, session.put(buffer.getvalue(), "image.png")["digest"]

"""Session: the operations of the page, the notebook widget and the annotation tools, with plain values for JSON."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import PIL.Image

from segzs.cache import MEBI
from segzs.clip.text_features import general_vocabulary
from segzs.errors import PromptError, RequestError, UsageError
from segzs.formats import FORMATS, find_format, write
from segzs.formats.annotations import ImageAnnotations
from segzs.image import Image
from segzs.sam.encode import EncodedImage
from segzs.segmenter import Segmenter
from segzs.segments import Segment, Segments
from segzs.server.images import Entry, ImageStore
from segzs.server.messages import parse_masks, parse_prompts, parse_segments, to_messages
from segzs.server.workers import Job, Report, WorkerPool

_FORMAT = ("name", "suffix", "folder", "loses")
MAX_VOCABULARIES = 8
"""Lists of labels of requests whose text features are kept; each project of a tool has its own list."""
MAX_WAITING_IMAGES = 16
"""Images that may wait for the image encoder; the pixels of each are in memory."""


@dataclass(frozen=True)
class Limits:
    """The limits of a session.

    Args:
        memory: bytes of images and image embeddings that are kept.
        max_pixels: pixels of an image; larger images are refused before they are decoded.
        clicks: threads that answer clicks.
        files: threads that decode images and write files.
        searches: threads that search whole images (everything, find).
        queue: requests that may wait in each pool; further ones are refused.
    """

    memory: int = 1024 * MEBI
    max_pixels: int = 50_000_000
    clicks: int = max(2, min(8, os.cpu_count() or 2))
    files: int = 2
    searches: int = 1
    queue: int = 64


class Download(NamedTuple):
    """A file to hand out."""

    name: str
    media_type: str
    content: bytes


class Session:
    """A segmenter, and the images that its users work on.

    Methods take and return plain values for JSON and may be called from many threads; `submit` runs them in bounded
    pools. An image is encoded once for all users, and a request about an encoded image does not wait for the encoding
    of another one. All users share the labels and examples.

    Args:
        segmenter: the models, with their first labels.
        paths: folders and files of images that may be opened.
        limits: sizes of the pools, their queues and the memory.

    Raises:
        ImageError: a path does not exist, or a folder holds no image.
        UsageError: two paths have the same name.

    >>> import segzs
    >>> session = Session(segzs.load(cache=False), ["examples"])
    >>> digest = session.open("desk.png")["digest"]
    >>> reply = session.submit("segment", digest=digest, prompts=[{"points": [[92, 500]]}]).result()
    >>> reply["digest"] == digest, reply["segments"][0]["rle"]["size"]
    (True, [576, 768])
    """

    def __init__(
        self, segmenter: Segmenter, paths: Sequence[str | os.PathLike[str]] = (), *, limits: Limits = Limits()
    ) -> None:
        self.segmenter = segmenter
        self.limits = limits
        self.store = ImageStore(paths, memory=limits.memory, max_pixels=limits.max_pixels)
        self.encoding_count = 0
        threads = {"clicks": limits.clicks, "files": limits.files, "searches": limits.searches}
        threads |= {"encodings": 1, "fetches": 4}
        queues = {"encodings": min(limits.queue, MAX_WAITING_IMAGES)}
        self.pools = {name: WorkerPool(name, count, queues.get(name, limits.queue)) for name, count in threads.items()}
        self._with_labels: dict[tuple[str, ...], Segmenter] = {}
        self._guard = threading.Lock()

    def submit(self, operation: str, /, *, progress: Report | None = None, **arguments: Any) -> Job:
        """Start one of `OPERATIONS` in its pool; if it needs an encoded image, it starts after the encoding.

        Args:
            operation: the name of a method.
            progress: called with the share done, from 0 to 1, by "everything" and "find".
            **arguments: the arguments of the method.

        Raises:
            RequestError: too many requests wait, or there is no such image or operation.
        """
        if operation not in OPERATIONS:
            raise RequestError(f"unknown operation {operation!r}; choose from {', '.join(OPERATIONS)}", 404)
        kind = OPERATIONS[operation]
        pool, job = self.pools[kind.pool], Job(progress)
        if kind.pool == "searches":
            arguments["progress"] = job.report
        call = partial(getattr(self, operation), **arguments)
        pool.reserve()
        try:
            encoding = self._encoding(arguments["digest"]) if kind.needs_encoding else None
        except BaseException:
            pool.release()
            raise
        if encoding is None:
            pool.submit(job, call)
        else:
            encoding.add_done_callback(lambda done: pool.submit(job, partial(_call_after, done, call)))
        return job

    def start_in(self, pool: str, call: Callable[[], Any]) -> Job:
        """Run a function in a pool.

        Raises:
            RequestError: too many requests wait.
        """
        job = Job()
        self.pools[pool].reserve()
        self.pools[pool].submit(job, call)
        return job

    def images(self) -> dict[str, Any]:
        """The images that can be opened: ``{"images": [{"name", "digest"}]}``; the digest is null until one is."""
        return {"images": self.store.listing()}

    def put(self, data: bytes, name: str = "") -> dict[str, Any]:
        """Keep the image of a file's bytes, and describe it."""
        return _describe(self.store.put(data, name or "image"))

    def open(self, name: str) -> dict[str, Any]:
        """Describe the image of a name: ``{"digest", "name", "width", "height", "encoded"}``."""
        return _describe(self.store.open(name)) | {"name": name}

    def file(self, digest: str) -> Download:
        """The upright image as a JPEG file, for display."""
        entry, buffer = self.store.get(digest), io.BytesIO()
        PIL.Image.fromarray(entry.image.pixels).save(buffer, "JPEG", quality=95, subsampling=0)
        return Download(f"{Path(entry.name).stem}.jpg", "image/jpeg", buffer.getvalue())

    def encode(self, digest: str) -> dict[str, Any]:
        """Wait until an image is encoded."""
        self.encoded(digest)
        return {"digest": digest, "encoded": True}

    def segment(
        self, digest: str, prompts: Any, names: bool = True, labels: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """A mask for each prompt, with names unless ``names`` is false, which is faster.

        ``labels`` are used for this request alone; None takes those of the session.
        """
        image, parsed = self.encoded(digest), parse_prompts(prompts)
        if names:
            return _answer(self._segmenter(labels).segment(image, parsed))
        masks = self.segmenter.decode(image, parsed)
        segments = (Segment(mask.rle, mask.predicted_iou, mask.stability_score) for (mask,) in masks)
        return _answer(Segments(image.image, tuple(segments)))

    def everything(
        self, digest: str, labels: Sequence[str] | None = None, progress: Report | None = None
    ) -> dict[str, Any]:
        """Every object; ``labels`` as in `segment`."""
        return _answer(self._segmenter(labels).everything(self.encoded(digest), progress=progress))

    def find(self, digest: str, text: str, progress: Report | None = None) -> dict[str, Any]:
        """The objects that a text describes, best first."""
        return _answer(self.segmenter.find(self.encoded(digest), text, progress=progress))

    def name(self, digest: str, masks: Any) -> dict[str, Any]:
        """Name masks, each ``{"size", "counts"}``, with the current labels and examples."""
        image = self.store.get(digest).image
        segments = tuple(Segment(rle, 1.0, 1.0) for rle in parse_masks(masks, image))
        return _answer(self.segmenter.name(Segments(image, segments, self.segmenter.model)))

    def export(self, digest: str, format: str, segments: Any, name: str = "") -> Download:
        """The segments in a format, as a file, or as a zip file where the format is a folder.

        ``name`` is the file name of the image; an empty one means the name that it was opened under.
        """
        entry = self.store.get(digest)
        items = tuple(parse_segments(segments, entry.image))
        chosen = find_format(format)
        annotations = ImageAnnotations.of(Segments(entry.image, items, self.segmenter.model), name or entry.name)
        stem = Path(annotations.file).stem or "image"
        with tempfile.TemporaryDirectory() as folder:
            path = write([annotations], Path(folder) / f"{stem}{chosen.suffix}", format)
            if path.is_file():
                return Download(path.name, _media_type(path), path.read_bytes())
            return Download(f"{path.name}.zip", "application/zip", _zip(path))

    def formats(self) -> dict[str, Any]:
        """The formats of `export`: ``{"formats": [{"name", "suffix", "folder", "loses"}]}``."""
        return {"formats": [{key: getattr(one, key) for key in _FORMAT} for one in FORMATS.values()]}

    def labels(self) -> dict[str, Any]:
        """The labels that objects may get, and whether the general ones are used: ``{"labels", "general"}``."""
        labels, general = self.segmenter.vocabulary.labels, general_vocabulary(self.segmenter.clip).labels
        return {"labels": list(labels), "general": labels[: len(general)] == general}  # examples add labels at the end

    def set_labels(self, labels: Any) -> dict[str, Any]:
        """Use other labels; null means the general ones. Images stay encoded."""
        with self._guard:
            vocabulary = general_vocabulary(self.segmenter.clip) if labels is None else _texts(labels)
            self.segmenter, self._with_labels = self.segmenter.with_labels(vocabulary), {}
        return self.labels()

    def add_example(self, digest: str, rle: Any, name: str) -> dict[str, Any]:
        """Let a corrected segment be an example of its name; later names use it."""
        image = self.store.get(digest).image
        (mask,) = parse_masks([rle], image)
        if not mask.area:
            raise PromptError("the mask of the example is empty; give a mask with pixels")
        with self._guard:
            example = Segment(mask, 1.0, 1.0, image=image)
            self.segmenter, self._with_labels = self.segmenter.with_examples({name: example}), {}
        return self.labels()

    def encoded(self, digest: str) -> EncodedImage:
        """The encoded image of a digest; waits for its one encoding."""
        return self._encoding(digest).result()

    def close(self) -> None:
        """Cancel what waits and what runs."""
        for pool in self.pools.values():
            pool.close()

    def _segmenter(self, labels: Sequence[str] | None) -> Segmenter:
        """The segmenter with other labels; those of the latest requests are kept."""
        if labels is None:
            return self.segmenter
        key = tuple(labels)
        with self._guard:
            segmenter = self._with_labels.pop(key, None) or self.segmenter.with_labels(list(key))
            self._with_labels[key] = segmenter  # at the end: the first is the least recently used
            if len(self._with_labels) > MAX_VOCABULARIES:
                del self._with_labels[next(iter(self._with_labels))]
            return segmenter

    def _encoding(self, digest: str) -> Future[EncodedImage]:
        return self.store.encoding(digest, self._start_encoding)

    def _start_encoding(self, image: Image) -> Future[EncodedImage]:
        job = self.start_in("encodings", partial(self.segmenter.encode, image))
        self.encoding_count += 1
        return job


class Operation(NamedTuple):
    """The pool that a method runs in, and whether its image must be encoded first."""

    pool: str
    needs_encoding: bool = False


OPERATIONS: Mapping[str, Operation] = {
    **dict.fromkeys(("images", "name", "formats", "labels"), Operation("clicks")),
    **dict.fromkeys(("put", "open", "file", "export", "set_labels", "add_example"), Operation("files")),
    **dict.fromkeys(("encode", "segment"), Operation("clicks", needs_encoding=True)),
    **dict.fromkeys(("everything", "find"), Operation("searches", needs_encoding=True)),
}


def _call_after(encoding: Future[EncodedImage], call: Callable[[], Any]) -> Any:
    encoding.result()  # raises the error of an encoding that failed
    return call()


def _describe(entry: Entry) -> dict[str, Any]:
    image = entry.image
    return {
        "digest": image.digest,
        "name": entry.name,
        "width": image.width,
        "height": image.height,
        "encoded": entry.is_encoded,
    }


def _answer(segments: Segments) -> dict[str, Any]:
    return {"digest": segments.image.digest, "segments": to_messages(segments)}


def _texts(labels: Any) -> list[str]:
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels) or len(labels) > 10_000:
        raise UsageError(f"labels is {str(labels)[:80]}; a list of at most 10,000 texts, or null, is expected")
    return labels


def _media_type(path: Path) -> str:
    return {".json": "application/json", ".xml": "application/xml"}.get(path.suffix, "application/octet-stream")


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return buffer.getvalue()

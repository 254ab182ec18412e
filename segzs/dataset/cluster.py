"""Label a folder or bucket with many processes or machines on Ray: ``pip install 'segzs[ray]'``.

The output folder, on a disk or in an object store, holds:

- ``segzs-run.json``, ``segzs-settings.json``: the images and the settings;
- ``segments/*.parquet``: a row per segment, 100 images per file; see `segzs.formats.parquet.schema`;
- ``failures/*.jsonl``: the images that failed, with path and reason; one file for each of those that has failures.

Files and rows are in the order of paths. Files are written atomically, and the images of a file are complete when the
file exists, so the same call resumes a run that was stopped.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from segzs.checks import check_number
from segzs.dataset.listing import RUN_FILE, ImageList, list_images
from segzs.dataset.pipeline import Failure, ImageLabeller, label_files
from segzs.dataset.run import check_run
from segzs.dataset.storage import INSTALL, StorageFolder
from segzs.errors import OutputError, SegzsError, UsageError
from segzs.formats import parquet
from segzs.formats.annotations import ImageAnnotations

SETTINGS_FILE = "segzs-settings.json"
FORMAT = "segzs-ray/1"
PART = 100
RETRIES = 2
THREADS = 2
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Part:
    """Images whose results are in one file: how many were labelled, and which failed."""

    name: str
    labelled: int
    failures: tuple[Failure, ...] = ()


def label_cluster(
    load: Callable[[], ImageLabeller],
    images: ImageList | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    address: str = "auto",
    actors: int | None = None,
    cpus: float = 1,
    gpus: float = 0,
    part: int = PART,
) -> Generator[Part, None, None]:
    """Label all images of a folder on a Ray cluster; yields each part when it is complete, in any order.

    Parts that ``out`` holds already come first. An image that cannot be labelled is a failure. If a worker dies, Ray
    restarts it and its part is repeated. If a part kills its worker three times, its images are labelled one by one, so
    that only the image that kills the worker fails.

    Args:
        load: makes the labeller, once in each actor. It is pickled: ``partial(load_labeller, "vit_b")``.
        images: a folder that every machine can read, a URI that PyArrow or fsspec opens (``s3://bucket/photos``), or
            the result of `list_images`.
        out: a folder or URI for the results.
        address: the address of the cluster; "auto" is the cluster of this machine, "local" starts one.
        actors: the number of processes that hold models; None is as many as fit into the cluster.
        cpus: CPUs of each actor, and its number of threads unless ``OMP_NUM_THREADS`` is set.
        gpus: GPUs of each actor, or a fraction of one.
        part: images per file of results; this many are repeated when a worker dies.

    Raises:
        ImageError: the folder holds no image.
        UsageError: ``out`` holds results of other images or settings, or a number is out of range.
        OutputError: ``out`` cannot be written.
        SegzsError: Ray is not installed, the cluster cannot be reached or is too small, or a worker cannot load the
            models.

    >>> from functools import partial
    >>> from segzs.dataset.labeller import load_labeller
    >>> load = partial(load_labeller, "vit_b", labels=["cat", "dog"])
    >>> for part in label_cluster(load, "s3://bucket/photos", "s3://bucket/out"):  # doctest: +SKIP
    ...     print(part.labelled, part.failures)
    """
    _check_numbers(actors, cpus, gpus, part)
    ray, results = _import_ray(), StorageFolder.at(out)
    if not isinstance(images, ImageList):
        images = list_images(images)
    source, names = StorageFolder.at(images.root), images.names
    run = {"folder": source.name, "glob": images.glob, "part": part, "images": len(names), "listing": images.digest}
    _check_run(results, RUN_FILE, run)
    parts = {f"{start // part:06}": list(names[start : start + part]) for start in range(0, len(names), part)}
    done = {name for name in results.stems("segments", ".parquet") if name.partition("-")[0] in parts}
    for name in sorted(done):
        yield _earlier(results, name, 1 if "-" in name else len(parts[name]))
    split = {name.partition("-")[0] for name in done if "-" in name}  # parts whose images were labelled one by one
    waiting = {name: members for name, members in parts.items() if name not in done | split}
    with _connection(ray, address):
        fitting = _fitting_actors(ray, cpus, gpus, may_grow=actors is not None and address != "local")
        worker = (load, source.address, results.address)

        def work(remaining: dict[str, list[str]]) -> Iterator[Part]:
            for result in _label_parts(ray, remaining, worker, min(actors or fitting, len(remaining)), cpus, gpus):
                done.add(result.name)
                yield result

        yield from work(waiting)
        lost = {name: members for name, members in parts.items() if name not in done}
        singles = {f"{name}-{index:06}": [one] for name, members in lost.items() for index, one in enumerate(members)}
        yield from work({name: members for name, members in singles.items() if name not in done})
        for name, (image,) in singles.items():
            if name not in done:
                failure = Failure(image, f"the worker died in {RETRIES + 1} of {RETRIES + 1} attempts")
                _save(results, name, [], [failure])
                yield Part(name, 0, (failure,))


def read_cluster(out: str | os.PathLike[str]) -> Iterator[ImageAnnotations]:
    """The annotations that `label_cluster` wrote, one at a time, in the order of paths.

    Raises:
        AnnotationError: a file is damaged.

    >>> [image.file for image in read_cluster("s3://bucket/out")]  # doctest: +SKIP
    ['2024/cat.jpg', '2024/dog.jpg']
    """
    results = StorageFolder.at(out)
    for name in results.stems("segments", ".parquet"):
        data = results.read(f"segments/{name}.parquet")
        yield from parquet.from_bytes(data, f"{results.name}/segments/{name}.parquet")


class _Worker:
    """A Ray actor: it loads the models once and labels parts."""

    def __init__(self, load: Callable[[], ImageLabeller], source: str, out: str) -> None:
        self.problem = ""
        try:
            self.source, self.results = StorageFolder.at(source), StorageFolder.at(out)
            self.labeller = load()
            _check_run(self.results, SETTINGS_FILE, self.labeller.settings)
        except Exception as error:  # returned with the first part: Ray restarts an actor that raises here for ever
            self.problem = str(error) if isinstance(error, SegzsError) else f"{type(error).__name__}: {error}"

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        answer = {"part": row["part"], "labelled": 0, "failures": b"", "problem": self.problem}
        if self.problem:
            return answer
        names = [os.fsdecode(name) for name in row["names"]]
        with closing(label_files(self.labeller, names, self.source.read, threads=THREADS)) as labelled:
            results = [result for result, _ in labelled]
        records = [result for result in results if not isinstance(result, Failure)]
        failures = [result for result in results if isinstance(result, Failure)]
        try:
            _save(self.results, row["part"], records, failures)
        except OutputError as error:
            return answer | {"problem": str(error)}
        return answer | {"labelled": len(records), "failures": _lines(failures)}


def _label_parts(
    ray: Any, parts: dict[str, list[str]], worker: tuple[Any, ...], actors: int, cpus: float, gpus: float
) -> Iterator[Part]:
    """Run the actors over parts. Parts that killed their worker too often are missing from the result."""
    if not parts:
        return
    items = [{"part": name, "names": list(map(os.fsencode, members))} for name, members in parts.items()]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))  # one part per block, the unit of retries
    dataset.context.enable_progress_bars = False
    dataset.context.max_errored_blocks = -1
    rows = dataset.map(
        _Worker,
        fn_constructor_args=worker,
        # one task at a time: a task that waits for an actor that dies would count as an attempt, too
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
        num_cpus=cpus,
        num_gpus=gpus,
        ray_remote_args_fn=lambda: {"max_task_retries": RETRIES},  # otherwise Ray retries for ever
    )
    try:
        for row in rows.iter_rows():
            if row["problem"]:
                raise SegzsError(f"a worker cannot continue: {row['problem']}")
            yield Part(row["part"], row["labelled"], _failures(row["failures"]))
    except ray.exceptions.RayError as error:
        raise SegzsError(f"the cluster failed ({error}); once this is fixed, repeat the call to resume") from error


def _save(results: StorageFolder, name: str, records: Sequence[ImageAnnotations], failures: Sequence[Failure]) -> None:
    if failures:
        results.write(f"failures/{name}.jsonl", _lines(failures))
    results.write(f"segments/{name}.parquet", parquet.to_bytes(records))  # last: it marks the part as complete


def _earlier(results: StorageFolder, name: str, images: int) -> Part:
    """A part that an earlier run completed."""
    try:
        failures = _failures(results.read(f"failures/{name}.jsonl"))
    except FileNotFoundError:
        failures = ()
    return Part(name, images - len(failures), failures)


def _lines(failures: Iterable[Failure]) -> bytes:
    return b"".join(failure.to_line() for failure in failures)


def _failures(lines: bytes) -> tuple[Failure, ...]:
    return tuple(Failure(**json.loads(line)) for line in lines.splitlines())


def _check_run(results: StorageFolder, file: str, values: dict[str, Any]) -> None:
    path, run = f"{results.name}/{file}", {"format": FORMAT, **values}
    check_run(path, run, partial(results.read, file), partial(results.write, file))


def _check_numbers(actors: int | None, cpus: float, gpus: float, part: int) -> None:
    for name, value in (("actors", 1 if actors is None else actors), ("part", part)):
        check_number(name, value, "a whole number from 1 on", 1, whole=True, error=UsageError)
    for name, amount in (("cpus", cpus), ("gpus", gpus)):
        check_number(name, amount, "a number from 0 on", 0, error=UsageError)
    if gpus > 1 and gpus != int(gpus):
        raise UsageError(f"gpus is {gpus}; a fraction of one GPU or a whole number is expected")


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise SegzsError(f"a cluster needs Ray; {INSTALL}") from error
    return ray


@contextmanager
def _connection(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster, and disconnect at the end unless the caller was connected before."""
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options = {"include_dashboard": False}
    try:
        _check_listening(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise SegzsError(
            f"no Ray cluster answers at {address!r} ({error}); start one with 'ray start --head', or use local"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Raise `OSError` if nothing listens at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def _fitting_actors(ray: Any, cpus: float, gpus: float, may_grow: bool) -> int:
    """The number of actors that fit into the cluster; an error if that is none and the cluster cannot grow."""
    available = ray.cluster_resources()
    needed = {"CPU": cpus, "GPU": gpus}
    count = min((int(available.get(kind, 0) / amount) for kind, amount in needed.items() if amount), default=1)
    if count < 1 and not may_grow:
        has = " and ".join(f"{available.get(kind, 0):g} {kind}s" for kind in needed)
        raise SegzsError(f"the cluster has {has}, and one actor needs {cpus:g} CPUs and {gpus:g} GPUs")
    return count

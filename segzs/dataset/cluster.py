"""The pictures of a folder or bucket, labelled by many processes or machines on Ray: ``pip install 'segzs[ray]'``.

In the folder ``out``, here or in a store:

- ``segzs-run.json``, ``segzs-settings.json``: the pictures and the settings;
- ``segments/*.parquet``: a row a segment, of 100 pictures a file; see `segzs.formats.parquet.schema`;
- ``failures/*.jsonl``: the bad pictures, with path and reason; a file where there are some among those pictures.

Files and rows are in the order of paths. A file is there whole or not at all, and its pictures are done when it is: the
same call goes on after whatever stopped it.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from segzs.checks import check_number
from segzs.dataset.directory import LARGEST_FILE, Labels, ahead, differences, reason_of
from segzs.dataset.journal import Failure
from segzs.dataset.listing import RUN_FILE
from segzs.dataset.storage import INSTALL, Listing, StorageFolder, list_stored_images
from segzs.errors import OutputError, SegzsError, UsageError
from segzs.formats import parquet
from segzs.formats.annotations import ImageAnnotations

SETTINGS_FILE = "segzs-settings.json"
PART = 100
RETRIES = 2
THREADS = 2
PATIENCE = 10
"""Seconds in which a cluster must answer."""


@dataclass(frozen=True)
class Part:
    """Some pictures that are done: how many were labelled, those that failed, and whether an earlier run did it."""

    name: str
    labelled: int
    failures: tuple[Failure, ...] = ()
    known: bool = field(default=False, compare=False)


def label_cluster(
    load: Callable[[], Labels],
    pictures: Listing | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    address: str = "auto",
    actors: int | None = None,
    cpus: float = 1,
    gpus: float = 0,
    part: int = PART,
) -> Generator[Part, None, None]:
    """Label all pictures below a folder on a Ray cluster; gives parts as they are done, in any order.

    Those that ``out`` holds already come first. A picture that cannot be labelled is a failure. When a worker dies, Ray
    starts it anew and its part is done again; pictures of a part that takes its worker along three times are tried one
    by one, so that only the one that does it fails.

    Args:
        load: makes the labeller, once in each actor; it is pickled, as ``partial(load_labeller, "vit_b")``.
        pictures: a folder that every machine sees, or a URI that pyarrow or fsspec opens: ``s3://bucket/photos``; or
            what `list_stored_images` found there.
        out: a folder or URI for the results.
        address: of the cluster; "auto" is the one of this machine, "local" starts one in this machine.
        actors: processes that hold the models; left out, as many as there is room for.
        cpus: processors of an actor, and its threads unless ``OMP_NUM_THREADS`` says how many.
        gpus: GPUs of an actor, or the fraction of one.
        part: pictures of a file of results, and what is done again when a worker dies.

    Raises:
        ImageError: there is no picture.
        UsageError: ``out`` holds the results of other pictures or settings, or a number is out of range.
        OutputError: ``out`` cannot be written.
        SegzsError: Ray is not installed, there is no such cluster, or the models cannot be loaded on a worker.

    >>> from functools import partial
    >>> from segzs.dataset.labeller import load_labeller
    >>> load = partial(load_labeller, "vit_b", labels=["cat", "dog"])
    >>> for part in label_cluster(load, "s3://bucket/photos", "s3://bucket/out"):  # doctest: +SKIP
    ...     print(part.labelled, part.failures)
    """
    _check(actors, cpus, gpus, part)
    ray, results = _ray(), StorageFolder.at(out)
    if not isinstance(pictures, Listing):
        pictures = list_stored_images(pictures)
    source, names = pictures.place.address, [name for name, _, _ in pictures.pictures]
    listing = hashlib.sha256(json.dumps(pictures.pictures).encode()).hexdigest()
    run = {
        "folder": pictures.place.name,
        "glob": pictures.glob,
        "part": part,
        "pictures": len(pictures),
        "listing": listing,
    }
    _agree(results, RUN_FILE, run)

    parts = {f"{start // part:06}": names[start : start + part] for start in range(0, len(names), part)}
    done = {name for name in results.names("segments", ".parquet") if name.partition("-")[0] in parts}
    for name in sorted(done):
        yield _earlier(results, name, parts)
    apart = {name.partition("-")[0] for name in done if "-" in name}  # whose pictures were tried one by one
    waiting = {name: of for name, of in parts.items() if name not in done | apart}
    with _connected(ray, address):
        room = _room(ray, cpus, gpus, may_grow=actors is not None and address != "local")
        size = actors or room

        def work(on: dict[str, list[str]]) -> Iterator[Part]:
            for result in _rows(ray, on, (load, source, results.address), min(size, len(on)), cpus, gpus):
                done.add(result.name)
                yield result

        yield from work(waiting)
        lost = {name: of for name, of in parts.items() if name not in done}
        single = {f"{name}-{index:06}": [of] for name, each in lost.items() for index, of in enumerate(each)}
        yield from work({name: of for name, of in single.items() if name not in done})
        for name, (picture,) in single.items():
            if name not in done:
                failure = Failure(picture, f"the worker died of it, {RETRIES + 1} times out of {RETRIES + 1}")
                _save(results, name, [], [failure])
                yield Part(name, 0, (failure,))


def read_cluster(out: str | os.PathLike[str]) -> Iterator[ImageAnnotations]:
    """The records that `label_cluster` wrote, one at a time, in the order of paths.

    Raises:
        AnnotationError: a file is damaged.

    >>> [record.file for record in read_cluster("s3://bucket/out")]  # doctest: +SKIP
    ['2024/cat.jpg', '2024/dog.jpg']
    """
    results = StorageFolder.at(out)
    for name in results.names("segments", ".parquet"):
        yield from parquet.from_bytes(
            results.read(f"segments/{name}.parquet"), f"{results.name}/segments/{name}.parquet"
        )


class _Worker:
    """The actor: models that were loaded once, and parts that come by."""

    def __init__(self, load: Callable[[], Labels], source: str, out: str) -> None:
        self.problem = ""
        try:
            self.photos, self.results = StorageFolder.at(source), StorageFolder.at(out)
            self.labeller = load()
            _agree(self.results, SETTINGS_FILE, self.labeller.settings)
        except Exception as error:  # told by the first part: an actor that does not start is started for ever
            self.problem = str(error) if isinstance(error, SegzsError) else f"{type(error).__name__}: {error}"

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        records: list[ImageAnnotations] = []
        failures: list[Failure] = []
        problem = self.problem
        if not problem:
            for result in self._results([os.fsdecode(name) for name in row["names"]]):
                if isinstance(result, Failure):
                    failures.append(result)
                else:
                    records.append(result)
            try:
                _save(self.results, row["part"], records, failures)
            except OutputError as error:
                problem = str(error)
        return {"part": row["part"], "labelled": len(records), "failures": _lines(failures), "problem": problem}

    def _results(self, names: list[str]) -> Iterator[ImageAnnotations | Failure]:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="segzs") as pool:
            for name, ready in ahead(pool, self._read, names, THREADS + 1):
                yield ready if isinstance(ready, Failure) else self._label(name, *ready)

    def _read(self, name: str) -> tuple[str, Any] | Failure:
        try:
            data = self.photos.read(name, LARGEST_FILE)
            return hashlib.sha256(data).hexdigest(), self.labeller.prepare(data)
        except Exception as error:  # whatever a damaged picture does to a decoder, the others are not lost
            return Failure(name, reason_of(error))

    def _label(self, name: str, sha256: str, image: Any) -> ImageAnnotations | Failure:
        try:
            return self.labeller.label(name, sha256, image)
        except Exception as error:  # one too large for the device's memory, for instance
            return Failure(name, reason_of(error))


def _rows(
    ray: Any, parts: dict[str, list[str]], construction: tuple, actors: int, cpus: float, gpus: float
) -> Iterator[Part]:
    """Run the actors over parts; those that took their actor along too often are missing from the answer."""
    if not parts:
        return
    items = [{"part": name, "names": list(map(os.fsencode, of))} for name, of in parts.items()]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))  # a part a block: what is done again
    dataset.context.enable_progress_bars = False
    dataset.context.max_errored_blocks = -1
    answers = dataset.map(
        _Worker,
        fn_constructor_args=construction,
        # one at a time: what waits for an actor that dies would be blamed, too
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
        num_cpus=cpus,
        num_gpus=gpus,
        ray_remote_args_fn=lambda: {"max_task_retries": RETRIES},  # Ray tries for ever, and 2.64 knows no other number
    )
    try:
        for row in answers.iter_rows():
            if row["problem"]:
                raise SegzsError(f"a worker could not go on: {row['problem']}")
            yield Part(row["part"], row["labelled"], _failures(row["failures"]))
    except ray.exceptions.RayError as error:
        raise SegzsError(f"the cluster gave up ({error}); once that is mended, the same call goes on") from error


def _save(results: StorageFolder, name: str, records: Sequence[ImageAnnotations], failures: Sequence[Failure]) -> None:
    if failures:
        results.write(f"failures/{name}.jsonl", _lines(failures))
    results.write(f"segments/{name}.parquet", parquet.to_bytes(records))  # last: it says that the part is done


def _earlier(results: StorageFolder, name: str, parts: dict[str, list[str]]) -> Part:
    """A part that an earlier run did."""
    try:
        failures = _failures(results.read(f"failures/{name}.jsonl"))
    except FileNotFoundError:
        failures = ()
    return Part(name, (1 if "-" in name else len(parts[name])) - len(failures), failures, known=True)


def _lines(failures: Iterable[Failure]) -> bytes:
    return b"".join(failure.to_line() for failure in failures)


def _failures(lines: bytes) -> tuple[Failure, ...]:
    return tuple(Failure(**json.loads(line)) for line in lines.splitlines())


def _agree(results: StorageFolder, file: str, ours: dict[str, Any]) -> None:
    """Write down what this run is of, or make sure that it is what the place holds.

    Raises:
        UsageError: it is not.
        OutputError: it cannot be read.
    """
    ours = json.loads(json.dumps({"format": "segzs-ray/1", **ours}))
    try:
        theirs = json.loads(results.read(file))
    except FileNotFoundError:
        results.write(file, f"{json.dumps(ours, indent=1)}\n".encode())
        return
    except (OSError, ValueError) as error:
        raise OutputError(f"{results.name}/{file} cannot be read: {error}; choose another folder") from error
    if changed := differences(theirs, ours):
        raise UsageError(
            f"{results.name} holds results of other pictures or settings ({'; '.join(changed)}); choose another "
            "folder, or repeat the command as it was to go on"
        )


def _check(actors: int | None, cpus: float, gpus: float, part: int) -> None:
    check = partial(check_number, error=UsageError)
    for name, value in (("actors", 1 if actors is None else actors), ("part", part)):
        check(name, value, "a whole number from 1 on", 1, whole=True)
    for name, amount in (("cpus", cpus), ("gpus", gpus)):
        check(name, amount, "a number from 0 on", 0)
    if gpus > 1 and gpus != int(gpus):
        raise UsageError(f"gpus is {gpus}; a fraction of one GPU or a whole number is expected")


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise SegzsError(f"a cluster needs Ray; {INSTALL}") from error
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Be connected to a cluster, and leave one that was joined for this."""
    if ray.is_initialized():
        yield
        return
    alone: dict[str, Any] = {}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unasked
        alone = {"include_dashboard": False}
    try:
        _check_listening(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **alone)
    except (OSError, ValueError, RuntimeError) as error:
        raise SegzsError(
            f"there is no Ray cluster at {address!r} ({error}); start one by ray start --head, or say local"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Raise `OSError` where nothing answers at HOST:PORT, for which Ray would wait for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()


def _room(ray: Any, cpus: float, gpus: float, may_grow: bool) -> int:
    """How many actors there is room for.

    Raises:
        SegzsError: there is none for a single one, in a cluster that cannot grow.
    """
    there = ray.cluster_resources()
    wanted = {"CPU": cpus, "GPU": gpus}
    room = min((int(there.get(kind, 0) / amount) for kind, amount in wanted.items() if amount), default=1)
    if room < 1 and not may_grow:
        has = " and ".join(f"{there.get(kind, 0):g} {kind}s" for kind in wanted)
        raise SegzsError(f"the cluster has {has}, and one actor wants {cpus:g} CPUs and {gpus:g} GPUs")
    return room

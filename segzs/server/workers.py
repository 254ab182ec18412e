"""Worker pools: threads with a bounded queue, and jobs that report progress and can be cancelled."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from segzs.errors import RequestError

Report = Callable[[float], object]


class Job(Future[Any]):
    """The result of a request, later. ``cancel`` stops it at its next report of progress."""

    def __init__(self, progress: Report | None = None) -> None:
        super().__init__()
        self._progress = progress
        self._stopped = threading.Event()

    def cancel(self) -> bool:
        """Ask the job to stop; True if it had not started."""
        self._stopped.set()
        return super().cancel()

    def report(self, share: float) -> None:
        """Pass on the share done, from 0 to 1.

        Raises:
            CancelledError: the job is cancelled.
        """
        if self._stopped.is_set():
            raise CancelledError
        if self._progress is not None:
            self._progress(share)

    def run(self, call: Callable[[], Any]) -> None:
        """Run ``call`` unless the job was cancelled, and keep its result or its error."""
        if not self.set_running_or_notify_cancel():
            return
        try:
            self.set_result(call())
        except BaseException as error:  # it is the caller's, who asks for the result
            self.set_exception(error)


class WorkerPool:
    """Threads with a bounded queue: ``threads`` jobs run, ``queue`` more wait, further ones are refused."""

    def __init__(self, name: str, threads: int, queue: int) -> None:
        self.name = name
        self.threads = threads
        self.capacity = threads + queue
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"segzs-{name}")
        self._guard = threading.Lock()
        self._pending = 0
        self._jobs: set[Job] = set()
        self._seconds = 0.1  # of a job, a moving average

    @property
    def pending(self) -> int:
        """Jobs that run or wait."""
        return self._pending

    def reserve(self) -> None:
        """Reserve a slot in the queue for a job that `submit` gets later.

        Raises:
            RequestError: the queue is full; says when to try again.
        """
        with self._guard:
            if self._pending >= self.capacity:
                wait = max(1, math.ceil(self._pending * self._seconds / self.threads))
                raise RequestError(
                    f"the server is busy: {self._pending} requests wait ({self.name}); try again in {wait} s", 429, wait
                )
            self._pending += 1

    def release(self) -> None:
        """Free a reserved slot."""
        with self._guard:
            self._pending -= 1

    def submit(self, job: Job, call: Callable[[], Any]) -> None:
        """Run a job in a slot that `reserve` gave."""
        with self._guard:
            self._jobs.add(job)
        try:
            self._pool.submit(self._run, job, call)
        except RuntimeError:  # the pool is closed
            self.release()
            job.cancel()

    def close(self) -> None:
        """Cancel what waits, and what runs at its next report of progress."""
        with self._guard:
            jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Job, call: Callable[[], Any]) -> None:
        start = time.monotonic()
        try:
            job.run(call)
        finally:
            with self._guard:
                self._pending -= 1
                self._jobs.discard(job)
                self._seconds += 0.1 * (time.monotonic() - start - self._seconds)

"""Bounded pools: what waits, what is refused, what is cancelled."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from segzs import RequestError
from segzs.server.workers import Job, WorkerPool


def start(pool: WorkerPool, gate: threading.Event) -> Job:
    job = Job()
    pool.reserve()
    pool.submit(job, gate.wait)
    return job


def test_a_full_lane_refuses_with_the_seconds_to_wait_and_recovers() -> None:
    pool, gate = WorkerPool("clicks", threads=1, queue=1), threading.Event()
    jobs = [start(pool, gate), start(pool, gate)]
    with pytest.raises(RequestError, match="the server is busy: 2 requests wait") as refusal:
        pool.reserve()
    assert refusal.value.status == 429
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after >= 1
    gate.set()
    assert all(job.result(5) for job in jobs)
    pool.reserve()
    pool.close()


def test_a_waiting_job_is_cancelled_before_it_starts() -> None:
    pool, gate = WorkerPool("clicks", threads=1, queue=1), threading.Event()
    running, waiting = start(pool, gate), start(pool, gate)
    assert waiting.cancel()
    gate.set()
    running.result(5)
    with pytest.raises(CancelledError):
        waiting.result(5)
    pool.close()


def test_a_running_job_is_cancelled_at_its_next_report() -> None:
    pool, started, shares = WorkerPool("searches", threads=1, queue=0), threading.Event(), []
    job = Job(shares.append)

    def search() -> None:
        job.report(0.5)
        started.set()
        while True:
            job.report(0.6)

    pool.reserve()
    pool.submit(job, search)
    started.wait(5)
    pool.close()
    with pytest.raises(CancelledError):
        job.result(5)
    assert shares[0] == 0.5


def test_an_error_reaches_who_asks_for_the_result() -> None:
    pool, job = WorkerPool("clicks", threads=1, queue=0), Job()
    pool.reserve()
    pool.submit(job, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        job.result(5)
    pool.close()


def test_a_closed_lane_cancels_what_comes_late() -> None:
    pool, job = WorkerPool("clicks", threads=1, queue=0), Job()
    pool.close()
    pool.reserve()
    pool.submit(job, lambda: None)
    assert job.cancelled()
    assert pool.pending == 0

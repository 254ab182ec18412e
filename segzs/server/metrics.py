"""Metrics of a session in the text format of Prometheus, and the middleware that counts requests."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import defaultdict

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segzs.server.session import Session

BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Upper bounds of the histogram of seconds."""


class Metrics:
    """Counts of requests by operation and status, and histograms of their seconds."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = defaultdict(int)
        self._seconds: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        self._sums: dict[str, float] = defaultdict(float)
        self._guard = threading.Lock()

    def count(self, operation: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        with self._guard:
            self._requests[operation, status] += 1
            self._seconds[operation][bisect_left(BUCKETS, seconds)] += 1
            self._sums[operation] += seconds

    def text(self, session: Session) -> str:
        """All metrics, a line each.

        Source: https://prometheus.io/docs/instrumenting/exposition_formats
        """
        lines = [
            "# TYPE segzs_encodings_total counter",
            f"segzs_encodings_total {session.encoding_count}",
            "# TYPE segzs_images_bytes gauge",
            f"segzs_images_bytes {session.store.nbytes}",
            "# TYPE segzs_pending gauge",
            *(f'segzs_pending{{pool="{pool.name}"}} {pool.pending}' for pool in session.pools.values()),
        ]
        with self._guard:
            lines.append("# TYPE segzs_requests_total counter")
            for (operation, status), count in sorted(self._requests.items()):
                lines.append(f'segzs_requests_total{{operation="{operation}",status="{status}"}} {count}')
            lines.append("# TYPE segzs_request_seconds histogram")
            for operation, counts in sorted(self._seconds.items()):
                total = 0
                for bound, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
                    total += count
                    lines.append(f'segzs_request_seconds_bucket{{operation="{operation}",le="{bound}"}} {total}')
                lines.append(f'segzs_request_seconds_sum{{operation="{operation}"}} {self._sums[operation]:.3f}')
                lines.append(f'segzs_request_seconds_count{{operation="{operation}"}} {total}')
        return "\n".join(lines) + "\n"


class Counter:
    """ASGI middleware that counts requests under the names of their routes, to the end of the answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, status = time.monotonic(), 500

        async def noting_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noting_status)
        finally:
            if (route := scope.get("route")) is not None:  # names of routes are few; paths are not
                self.metrics.count(route.name, status, time.monotonic() - start)

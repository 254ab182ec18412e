"""Many clients click on a few images of one server: ``python -m benchmarks.speed.server --seconds 120``.

Each answer is compared with the mask that the segmenter gives without a server: their IoU must be above 0.99, as
batches round differently. For a soak, add ``--seconds 600``: the memory after a tenth of the time is compared with that
at the end.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import requests

import segzs
from benchmarks.speed.directory import draw
from segzs import Prompt
from segzs.masks import RLE, iou


def start(photos: Path) -> tuple[subprocess.Popen[str], str]:
    """A server on a free port, and its address."""
    command = [sys.executable, "-m", "segzs", "serve", str(photos), "--port", "0", "--no-cache"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in server.stderr or ():
        if address := re.search(r"http://\S+?(?=/)", line):
            return server, address[0]
    raise SystemExit("the server did not start")


def memory(process: int) -> int:
    """Resident bytes of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]


class Client:
    """Clicks at random until the time is over, and keeps times and faults."""

    def __init__(self, address: str, expected: dict[str, dict[tuple[int, int], str]]) -> None:
        self.address, self.expected = address, expected
        self.seconds: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self.without_delay = 0
        self.guard = threading.Lock()

    def click(self, seed: int, until: float) -> None:
        chance, session = random.Random(seed), requests.Session()
        while time.monotonic() < until:
            digest = chance.choice(list(self.expected))
            point = chance.choice(list(self.expected[digest]))
            begin = time.monotonic()
            try:
                reply = session.post(
                    f"{self.address}/api/images/{digest}/segment", json={"prompts": [{"points": [point]}]}, timeout=60
                )
            except requests.RequestException:
                with self.guard:
                    self.outcomes["no answer"] += 1
                continue
            took = time.monotonic() - begin
            with self.guard:
                if reply.status_code != 200:
                    self.outcomes[f"status {reply.status_code}"] += 1
                    self.without_delay += reply.status_code == 429 and not reply.headers.get("Retry-After")
                    continue
                answer = reply.json()
                self.seconds.append(took)
                size, counts = (answer["segments"][0]["rle"][key] for key in ("size", "counts"))
                overlap = iou([RLE(*size, counts)], [RLE(*size, self.expected[digest][point])])[0, 0]
                is_same = overlap > 0.99 or np.isnan(overlap)  # nan: both are empty
                right = answer["digest"] == digest and is_same
                self.outcomes["right" if right else "WRONG"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--points", type=int, default=8, help="different clicks on each image")
    parser.add_argument("--seconds", type=float, default=120)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos, chance = Path(folder), random.Random(0)
        draw(photos, arguments.images, bad=0)
        server, address = start(photos)
        segmenter = segzs.load(cache=False)
        expected: dict[str, dict[tuple[int, int], str]] = {}
        for listed in requests.get(f"{address}/api/images", timeout=60).json()["images"]:
            opened = requests.post(f"{address}/api/images/open", json={"name": listed["name"]}, timeout=60).json()
            image = segmenter.encode(photos / listed["name"])
            points = [
                (chance.randrange(opened["width"]), chance.randrange(opened["height"])) for _ in range(arguments.points)
            ]
            masks = segmenter.decode(image, [Prompt.point(*point) for point in points])
            expected[opened["digest"]] = {point: mask.rle.counts for point, (mask,) in zip(points, masks, strict=True)}
        client, begin = Client(address, expected), time.monotonic()
        until = begin + arguments.seconds
        sizes = []
        with ThreadPoolExecutor(arguments.clients) as pool:
            clicking = [pool.submit(client.click, seed, until) for seed in range(arguments.clients)]
            while time.monotonic() < until:
                time.sleep(arguments.seconds / 10)
                sizes.append(memory(server.pid))
        for each in clicking:
            each.result()
        metrics = requests.get(f"{address}/api/metrics", timeout=60).text
        server.terminate()
        server.wait()
    encodings = int(re.search(r"segzs_encodings_total (\d+)", metrics)[1])  # type: ignore[index]
    p50, p95, p99 = np.percentile(client.seconds, [50, 95, 99]) * 1000
    print(f"{arguments.clients} clients, {len(expected)} images, {arguments.seconds:g} s")
    print(f"answers: {dict(client.outcomes)}; {len(client.seconds) / arguments.seconds:.1f} a second")
    print(f"encodings per image: {encodings / len(expected):g}")
    print(f"milliseconds: p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f}")
    refused = client.outcomes["status 429"] / max(1, sum(client.outcomes.values()))
    print(f"refused with 429: {refused:.1%}; without Retry-After: {client.without_delay}")
    failed = sum(number for outcome, number in client.outcomes.items() if outcome.startswith(("status 5", "no answer")))
    print(f"answers of status 5xx, or none: {failed}")
    growth = sizes[-1] / sizes[0] - 1
    print(f"memory of the server: {sizes[0] / 2**20:.0f} MiB after a tenth of the time, {growth:+.1%} at the end")
    raise SystemExit(1 if failed or client.outcomes["WRONG"] else 0)


if __name__ == "__main__":
    main()

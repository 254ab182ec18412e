"""A small Label Studio that serves images, and a segzs server that is connected to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from segzs import Segmenter
from segzs.integrations.cvat import cvat_routes
from segzs.integrations.label_studio_backend import label_studio_routes
from segzs.integrations.label_studio_images import LabelStudio
from segzs.server.app import build_app
from segzs.server.session import Session
from tests.conftest import EXAMPLES

KEY = "legacy-token-of-a-user"


@dataclass
class FakeLabelStudio:
    """What was requested, with which key, and where it is."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def label_studio() -> Iterator[FakeLabelStudio]:
    fake = FakeLabelStudio(files={f"/data/upload/1/{name}": (EXAMPLES / name).read_bytes() for name in images()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.requests.append((self.path, self.headers.get("Authorization", "")))
            if self.path == "/data/moved.png":
                self.send_response(302)
                self.send_header("Location", "http://169.254.169.254/latest/meta-data")
                self.end_headers()
                return
            data = fake.files.get(self.path, b"")
            allowed = self.headers.get("Authorization") in (f"Token {KEY}", "Bearer access")
            self.send_response(200 if data and allowed else 404 if allowed else 401)
            self.end_headers()
            self.wfile.write(data if allowed else b"")

        def do_POST(self) -> None:
            fake.requests.append((self.path, ""))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"access": "access"}')

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


def images() -> list[str]:
    return sorted(path.name for path in Path(EXAMPLES).glob("*.png"))


@pytest.fixture
def session(segmenter: Segmenter) -> Iterator[Session]:
    session = Session(segmenter)
    yield session
    session.close()


@pytest.fixture
def client(session: Session, label_studio: FakeLabelStudio) -> Iterator[TestClient]:
    tools = [label_studio_routes(session, LabelStudio(label_studio.url, KEY)), cvat_routes(session)]
    with TestClient(build_app(session, tools=tools), "http://127.0.0.1:8765") as client:
        yield client

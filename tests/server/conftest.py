"""A session over the example scenes, and a client of its application."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from segzs import Segmenter
from segzs.server.app import build_app
from segzs.server.session import Session
from tests.conftest import EXAMPLES

ADDRESS = "http://127.0.0.1:8765"


@pytest.fixture
def session(segmenter: Segmenter) -> Iterator[Session]:
    session = Session(segmenter, [EXAMPLES])
    yield session
    session.close()


@pytest.fixture
def client(session: Session) -> Iterator[TestClient]:
    with TestClient(build_app(session), ADDRESS) as client:
        yield client

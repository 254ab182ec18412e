"""Hosts, origins, tokens and sizes: who is let in, and what is refused."""

from __future__ import annotations

import base64

import pytest
from fastapi.testclient import TestClient

from segzs.server.app import build_app
from segzs.server.security import COOKIE, Security
from segzs.server.session import Session
from tests.server.conftest import ADDRESS

TOKEN = "0123456789abcdef"


@pytest.fixture
def guarded(session: Session) -> TestClient:
    return TestClient(build_app(session, Security(TOKEN, ("segzs.example",))), ADDRESS)


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765", "192.168.1.7:8765"])
def test_addresses_and_loopback_names_are_own_hosts(client: TestClient, host: str) -> None:
    assert client.get("/api/labels", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example:8765", "localhost.evil.example", "", "[::1", "127.0.0.1.evil.example"])
def test_another_host_is_refused(client: TestClient, host: str) -> None:
    """A page of another site whose name was pointed at this machine (DNS rebinding)."""
    assert client.get("/api/labels", headers={"host": host}).status_code == 403


def test_a_named_host_is_allowed(guarded: TestClient) -> None:
    headers = {"host": "segzs.example", "authorization": f"Bearer {TOKEN}"}
    assert guarded.get("/api/labels", headers=headers).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8765"])
def test_pages_of_other_origins_are_refused(client: TestClient, origin: str) -> None:
    reply = client.put("/api/labels", json={"labels": ["cat"]}, headers={"origin": origin})
    assert reply.status_code == 403
    assert "access-control-allow-origin" not in reply.headers


def test_the_own_page_is_allowed(client: TestClient) -> None:
    reply = client.get("/api/labels", headers={"origin": ADDRESS, "sec-fetch-site": "same-origin"})
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


def test_an_image_tag_of_another_site_is_refused(client: TestClient) -> None:
    assert client.get("/api/images", headers={"sec-fetch-site": "cross-site"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Basic !!"},
        {"cookie": f"{COOKIE}=wrong"},
        {"cookie": "\x01"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/images", "/openapi.json", "/api/metrics"])
def test_without_the_token_nothing_is_answered(guarded: TestClient, path: str, headers: dict[str, str]) -> None:
    reply = guarded.get(path, headers=headers)
    assert reply.status_code == 401
    assert "a token is missing or wrong" in reply.json()["error"]


def test_the_token_is_taken_as_bearer_password_and_cookie(guarded: TestClient) -> None:
    basic = base64.b64encode(f"label-studio:{TOKEN}".encode()).decode()
    for headers in (
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer {TOKEN}"},
        {"authorization": f"Basic {basic}"},
        {"cookie": f"{COOKIE}={TOKEN}"},
    ):
        assert guarded.get("/api/labels", headers=headers).status_code == 200


def test_the_token_of_the_address_becomes_a_cookie(guarded: TestClient) -> None:
    reply = guarded.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert (reply.status_code, reply.headers["location"]) == (303, "./")
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert guarded.get("/api/labels").status_code == 200  # the client keeps the cookie
    guarded.cookies.clear()
    assert guarded.get("/", params={"token": "wrong"}).status_code == 401
    assert guarded.get("/api/labels", params={"token": TOKEN}).status_code == 401  # it would stay in logs


def test_health_needs_no_token(guarded: TestClient) -> None:
    assert guarded.get("/api/health").status_code == 200


def test_large_bodies_are_refused(session: Session) -> None:
    client = TestClient(build_app(session, Security(max_bytes=1000)), ADDRESS)
    assert client.put("/api/images", content=b"x" * 1001).status_code == 413
    assert client.put("/api/images", content=iter([b"x" * 600, b"x" * 600])).status_code == 413  # of unknown length
    assert client.put("/api/images", content=b"x" * 1000).status_code == 415
    reply = client.put("/api/labels", json={"labels": ["x" * 2000]})
    assert reply.json() == {"error": "the request is larger than 0.000953674 MiB; send a smaller image"}


@pytest.mark.parametrize("length", ["-1", "one", "9" * 5000, "٣"])
def test_a_lying_length_is_refused(client: TestClient, length: str) -> None:
    reply = client.put("/api/images", content=b"x", headers={"content-length": length.encode("utf-8")})
    assert reply.status_code == 413


def test_answers_bring_the_headers_of_a_safe_page(client: TestClient) -> None:
    headers = client.get("/api/labels").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'self'" in headers["content-security-policy"]

"""Who may ask: hosts, origins, a token, and the size of a request; one ASGI middleware before everything else."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import secrets
import time
from binascii import Error as Base64Error
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segzs.cache import MEBI

COOKIE = "segzs-token"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PUBLIC = ("/api/health",)
SMALL = MEBI
"""Larger bodies are received a few at a time, so that memory stays bounded."""
LARGE_AT_ONCE = 4
BODY_SECONDS = 60
"""A client that takes longer to send a body is cut off."""
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True)
class Security:
    """What the server demands of a request.

    Args:
        token: the secret that every request must bring; empty demands none, which is right on loopback only.
        hosts: names of this machine besides those of loopback. IP addresses are always right.
        max_bytes: of the body of a request.
    """

    token: str = ""
    hosts: tuple[str, ...] = ()
    max_bytes: int = 64 * MEBI


class Guard:
    """Refuse requests that another site makes a browser send, that bring no token, or that are too large."""

    def __init__(self, app: ASGIApp, security: Security) -> None:
        self.app = app
        self.security = security
        self.hosts = {*LOOPBACK, *(host.lower() for host in security.hosts)}
        self.large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the lifespan; there are no websockets
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_large = "transfer-encoding" in headers or not _is_at_most(headers.get("content-length", "0"), SMALL)
        refusal = self._refusal(scope, headers)
        if refusal is None and is_large and self.large.locked():
            refusal = _error(
                429, f"{LARGE_AT_ONCE} large requests are being received; try again in 1 s", {"Retry-After": "1"}
            )
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        async with self.large if is_large else nullcontext():
            await self.app(scope, self._limited(receive), _with_headers(send))

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._is_own(host):
            return _error(
                403, f"the host {host[:100]!r} is not this server's; start it with --allow-host, or use its address"
            )
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return _error(403, f"a page of {origin[:100]!r} may not use this server; open the page of the server")
        if site == "cross-site" and scope["path"].startswith("/api"):
            return _error(403, "a page of another site may not use this server; open the page of the server")
        if not _is_at_most(headers.get("content-length", "0"), self.security.max_bytes):
            return _error(413, self._too_large())
        return self._without_token(scope, headers)

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        token = self.security.token
        if not token or scope["path"] in PUBLIC or any(_same(token, given) for given in _tokens(headers)):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and scope["method"] == "GET" and _same(token, given):
            response = RedirectResponse("./", 303)  # so that the token leaves the address
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return response
        return _error(
            401, "a token is missing or wrong; open the address that `segzs serve` printed, or send it as a bearer"
        )

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)  # no other site's page can have it as its host
        except ValueError:
            return name in self.hosts
        return True

    def _limited(self, receive: Receive) -> Receive:
        received, is_complete, deadline = 0, False, time.monotonic() + BODY_SECONDS

        async def limited() -> Message:
            nonlocal received, is_complete
            if is_complete:  # what comes now is that the client has left
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), deadline - time.monotonic())
            except TimeoutError:
                raise HTTPException(408, f"the request took more than {BODY_SECONDS} s to arrive") from None
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if received > self.security.max_bytes:
                raise HTTPException(413, self._too_large())
            return message

        return limited

    def _too_large(self) -> str:
        return f"the request is larger than {self.security.max_bytes / MEBI:g} MiB; send a smaller image"


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers


def _tokens(headers: Headers) -> Iterable[str]:
    """The secrets of a request: a bearer token, the password of Basic authentication, a cookie."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield value.strip()
    if scheme.lower() == "basic":
        with suppress(Base64Error, UnicodeDecodeError):
            yield base64.b64decode(value).decode().partition(":")[2]
    try:
        cookie = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return
    if COOKIE in cookie:
        yield cookie[COOKIE].value


def _same(token: str, given: str) -> bool:
    return secrets.compare_digest(token.encode(), given.encode())


def _is_at_most(length: str, limit: int) -> bool:
    return length.isdecimal() and len(length) < 20 and int(length) <= limit


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, HEADERS | (headers or {}))

"""Fetch the images of tasks from the one Label Studio that the server was started with, and from nowhere else."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from urllib.parse import unquote, urljoin, urlsplit

import requests

from segzs.cache import MEBI
from segzs.errors import RequestError, UsageError

FOLDERS = ("data/", "storage-data/")
"""Where Label Studio serves the images of tasks."""
TIMEOUT = (5, 60)
MAX_BYTES = 64 * MEBI


@dataclass(eq=False)
class LabelStudio:
    """A Label Studio and the key to it: an access token of the new or of the old ("legacy") kind.

    Raises:
        UsageError: the URL is not one of HTTP.
    """

    url: str
    key: str = field(default="", repr=False)
    _access: str = field(default="", init=False, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise UsageError(f"{self.url!r} is not the address of a Label Studio, such as http://localhost:8080")
        self.url = f"{self.url.rstrip('/')}/"

    def resolve(self, source: str) -> str:
        """The URL of an image of a task.

        Raises:
            RequestError: it is not an image that this Label Studio serves.

        >>> LabelStudio("http://localhost:8080").resolve("/data/upload/1/desk.png")
        'http://localhost:8080/data/upload/1/desk.png'
        """
        try:
            base, parts = urlsplit(self.url), urlsplit(urljoin(self.url, source))
            path = unquote(parts.path).removeprefix(base.path)
            is_plain = ".." not in path.split("/") and "\\" not in path
            if parts[:2] == base[:2] and is_plain and path.startswith(FOLDERS):
                return parts._replace(fragment="").geturl()
        except ValueError:
            pass
        raise RequestError(
            f"the image {source[:200]!r} is not served by the Label Studio at {self.url}; segzs fetches from there "
            "alone: upload the images, or use local storage",
            403,
        )

    def fetch(self, source: str) -> bytes:
        """The bytes of an image of a task.

        Raises:
            RequestError: it is not an image that this Label Studio serves, it cannot be fetched, or it is too large.
        """
        url = self.resolve(source)
        try:
            reply = self._get(url)
            if reply.status_code == 401 and self._access:  # it has expired
                self._access = ""
                reply = self._get(url)
            with reply:
                if reply.status_code != 200:
                    raise RequestError(_explain(reply.status_code, self.url), 502)
                data = bytearray()
                for chunk in reply.iter_content(MEBI):
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise RequestError(f"the image is larger than {MAX_BYTES // MEBI} MiB", 413)
                return bytes(data)
        except requests.RequestException as error:
            raise RequestError(f"Label Studio at {self.url} does not answer ({type(error).__name__})", 502) from error

    def _get(self, url: str) -> requests.Response:
        headers = {"Authorization": self._authorization()} if self.key else {}
        return requests.get(url, headers=headers, timeout=TIMEOUT, stream=True, allow_redirects=False)

    def _authorization(self) -> str:
        if self.key.count(".") != 2:
            return f"Token {self.key}"
        with self._guard:  # a JSON Web Token, which buys access tokens of a few minutes
            if not self._access:
                reply = requests.post(
                    urljoin(self.url, "api/token/refresh"),
                    json={"refresh": self.key},
                    timeout=TIMEOUT,
                    allow_redirects=False,
                )
                if reply.status_code != 200:
                    raise RequestError(_explain(reply.status_code, self.url), 502)
                self._access = str(reply.json()["access"])
            return f"Bearer {self._access}"


def _explain(status: int, url: str) -> str:
    if status in (401, 403):
        return f"Label Studio at {url} refuses the key ({status}); set LABEL_STUDIO_API_KEY to a token of your account"
    if 300 <= status < 400:
        return f"Label Studio at {url} redirects to another address ({status}); let it serve the images itself"
    return f"Label Studio at {url} answers {status} for the image of the task"

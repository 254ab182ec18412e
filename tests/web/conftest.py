"""A server for all tests of the page; each test gets a page of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from segzs import Segmenter
from tests.conftest import EXAMPLES
from tests.web.browser import Desk


@pytest.fixture
def address(segmenter: Segmenter) -> Iterator[str]:
    from segzs.server.session import Session
    from tests.web.browser import serving

    with serving(Session(segmenter, [EXAMPLES])) as address:  # examples and labels of a test stay in its session
        yield address


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A browser without a past, of 1280 x 800 pixels."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.set_default_timeout(90_000)
    yield context
    context.close()


@pytest.fixture
def desk(context: Any, address: str) -> Iterator[Desk]:
    """The page with the desk opened; it must not complain."""
    desk = Desk(context.new_page(), address)
    desk.open()
    yield desk
    assert desk.complaints == []

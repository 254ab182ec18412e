"""Run the command line inside the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segzs.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``segzs``; returns the exit status, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code  # type: ignore[assignment]
        return code, *capsys.readouterr()

    return run

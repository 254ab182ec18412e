"""A sample of the faults of the machine: nothing is lost, and nothing wrong is served."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and disks are mounted")
def test_killed_processes_and_lost_disks_cost_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.reliability.faults", "--kills", "4", "--only", "cache,batch"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 4
    assert "4 kills" in done.stdout

"""The benchmark that is prepared for a GPU, on a CPU and with a small SAM."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks.speed import accelerator
from benchmarks.speed.contest import Contest, against_sam
from tests.sam.conftest import Pair


def test_every_task_is_timed_against_the_peer(
    small_pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(device: str) -> Contest:
        return against_sam(small_pair.sam, small_pair.predictor.model, small_pair.encoded.image)

    monkeypatch.setitem(accelerator.TASKS, "everything, 32x32 grid", partial(Contest.everything, points_per_side=2))
    monkeypatch.setattr("benchmarks.speed.contest.CLICK", (100.0, 100.0))
    accelerator.main(["--device", "cpu", "--repeats", "1"], {"small": build})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [f"{task}, small" for task in accelerator.TASKS]
    assert all(line.split("|")[5].strip().endswith(" x") for line in lines[2:])

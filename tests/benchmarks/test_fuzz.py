"""A sample of the fuzzer: hostile files are read or refused, and the fuzzer reports what is neither."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

from benchmarks.reliability import fuzz
from benchmarks.reliability.mutate import mutated_bytes, mutated_json

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")


@pytest.mark.slow
@pytest.mark.parametrize("part", fuzz.PARTS)
def test_hostile_files_are_read_or_refused(part: str) -> None:
    outcomes, faults = fuzz.run(part, 100, 0)
    assert not faults
    assert outcomes.total() == 100
    assert len({text.rpartition(": ")[2] for text in outcomes}) > 1


@pytest.mark.slow
def test_crashes_hangs_and_tracebacks_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text(
        "import os, signal\n"
        "def check(seed):\n"
        "    if seed == 1: raise IndexError('no such row')\n"
        "    if seed == 2: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if seed == 3: os.kill(os.getpid(), signal.SIGALRM)\n"
        "    if seed == 4: bytearray(2**30)\n"
        "    return 'a: read'\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    outcomes, faults = fuzz.run("broken", 6, 0)
    assert outcomes == {"a: read": 2}
    assert list(faults) == [1, 2, 3, 4]
    for seed, says in {1: "no such row", 2: "SIGSEGV", 3: "more than", 4: "MemoryError"}.items():
        assert says in faults[seed]


def test_mutations_depend_on_the_seed_alone() -> None:
    data, content = bytes(range(200)), {"a": [1, {"b": 2}], "c": "text"}
    made = [(mutated_bytes(data, Random(seed)), repr(mutated_json(content, Random(seed)))) for seed in range(50)]
    assert made == [
        (mutated_bytes(data, Random(seed)), repr(mutated_json(content, Random(seed)))) for seed in range(50)
    ]
    assert len(set(made)) > 45
    assert content == {"a": [1, {"b": 2}], "c": "text"}

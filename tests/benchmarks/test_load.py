"""A sample of mixed calls from many threads: they give what single calls give."""

from __future__ import annotations

import pytest

from benchmarks.reliability import load


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::segzs.SegzsWarning")
def test_calls_of_many_threads_give_the_results_of_single_calls() -> None:
    assert load.run(threads=4, count=5) == (20, 0)

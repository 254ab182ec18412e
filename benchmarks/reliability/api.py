"""Requests that schemathesis derives from the OpenAPI document: ``python -m benchmarks.reliability.api --examples 50``.

Needs ``pip install schemathesis`` and the extra ``segzs[serve]``. The server runs in this process. No answer may have
another status, type or form than the document says, or a status of 500; and a request that the document forbids must
be refused. A request that it permits may be refused, as for a point outside of the image.
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections import Counter
from contextlib import suppress

import numpy as np
import PIL.Image
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import positive_data_acceptance

import segzs
from segzs.server.app import build_app
from segzs.server.session import Limits, Session

HOST = {"Host": "127.0.0.1"}


def check(examples: int) -> tuple[Counter[int], list[str]]:
    """How often each status came, and the faults: the request and what is wrong with the answer."""
    session = Session(segzs.load(cache=False), ["examples"], limits=Limits(max_pixels=1_000_000))
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.full((30, 40, 3), 200, np.uint8)).save(buffer, "PNG")
    digest = session.put(buffer.getvalue(), "small.png")["digest"]
    document = schemathesis.openapi.from_asgi("/openapi.json", build_app(session), headers=HOST)
    statuses: Counter[int] = Counter()
    faults: list[str] = []

    def send(case: schemathesis.Case) -> None:
        if case.path_parameters.get("digest") and sum(statuses.values()) % 2:
            case.path_parameters["digest"] = digest  # every other request is about an image that exists
        response = case.call(headers=HOST)
        statuses[response.status_code] += 1
        try:
            case.validate_response(response, excluded_checks=[positive_data_acceptance])
        except FailureGroup as group:
            lines = (" ".join(str(error).split())[:400] for error in group.exceptions)
            faults.extend(f"{case.method} {case.path} answers {response.status_code}: {line}" for line in lines)

    options = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for operation in document.get_all_operations():
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            with suppress(Unsatisfiable):  # an operation without arguments has no invalid requests
                options(given(operation.ok().as_strategy(mode))(send))()
    session.close()
    return statuses, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--examples", type=int, default=50, help="valid requests of each operation, and as many invalid ones"
    )
    warnings.simplefilter("ignore", segzs.SegzsWarning)
    statuses, faults = check(parser.parse_args().examples)
    counts = ", ".join(f"{number} of status {status}" for status, number in sorted(statuses.items()))
    print(f"{sum(statuses.values())} requests: {counts}; {len(faults)} faults")
    for fault, number in Counter(faults).items():
        print(f"  {number} times: {fault}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())

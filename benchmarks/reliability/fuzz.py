"""Read mutated files in a child process with limits: ``python -m benchmarks.reliability.fuzz --count 2000 --seed 0``.

A file must be read, left out in part with a warning of segzs, or refused with an error of segzs. Anything else, such
as a traceback, a crash, a hang or too much memory, is printed with the seed of the file; ``--count 1 --seed SEED``
repeats it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path

PARTS = ("benchmarks.reliability.images", "benchmarks.reliability.files")
"""Modules with a function ``check(seed)``."""
CPU_SECONDS, SECONDS = 20, 300
"""A file that takes longer hangs. Reading one takes milliseconds of the CPU; a busy machine may make it wait."""
MEMORY = 512 * 2**20
"""Bytes that may be allocated beyond what the process has before the first file."""


def run(part: str, count: int, seed: int) -> tuple[Counter[str], dict[int, str]]:
    """How often each outcome of a part came, and the faults by seed."""
    outcomes: Counter[str] = Counter()
    faults: dict[int, str] = {}
    at, end = seed, seed + count
    while at < end:
        command = [sys.executable, "-m", __spec__.name, "--child", part, "--count", f"{end - at}"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(
            [*command, "--seed", f"{at}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        with child:
            for line in child.stdout or ():
                verdict, _, text = line.rstrip("\n").partition(" ")
                if verdict == "ok":
                    outcomes[text] += 1
                else:
                    faults[at] = text
                at += 1
        if at < end:
            name = signal.Signals(-child.returncode).name if child.returncode < 0 else f"exit {child.returncode}"
            hung = {"SIGPROF": f"took more than {CPU_SECONDS} s of the CPU", "SIGALRM": f"took more than {SECONDS} s"}
            faults[at] = hung.get(name, f"the process ended: {name}")
            at += 1
    return outcomes, faults


def child(part: str, count: int, seed: int) -> None:
    """Check one file after the other, and print a line about each."""
    module = importlib.import_module(part)
    module.check(0)  # imports what it needs
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for number in range(seed, seed + count):
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # ends the process, also in C code
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            text = f"ok {module.check(number)}"
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"fault {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        print(" ".join(text.split())[:500], flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="files of each part")
    parser.add_argument("--seed", type=int, default=0, help="of the first file")
    parser.add_argument("--only", help="images or files")
    parser.add_argument("--child", metavar="MODULE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.count, arguments.seed)
        return 0
    failed = 0
    for part in (part for part in PARTS if part.endswith(arguments.only or "")):
        outcomes, faults = run(part, arguments.count, arguments.seed)
        ends = Counter(dict.fromkeys(("read", "read in part", "refused"), 0))
        for text, number in outcomes.items():
            ends[text.rpartition(": ")[2]] += number
        counts = ", ".join(f"{number} {end}" for end, number in ends.items() if number)
        print(f"{part.rpartition('.')[2]}: {arguments.count} files, {counts}, {len(faults)} faults", flush=True)
        for seed, text in faults.items():
            print(f"  seed {seed}: {text}")
        failed += len(faults)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

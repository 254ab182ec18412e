"""``segzs doctor``: check packages, devices and checkpoints."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from segzs import __version__
from segzs.checks import counted
from segzs.cli.parser import add_command
from segzs.cli.terminal import print_line, print_table
from segzs.errors import ModelError, SegzsError, WeightsError


def add_parser(commands: Any) -> None:
    add_command(commands, "doctor", run, "check packages, devices and checkpoints on this machine")


def run(args: argparse.Namespace) -> int:
    from segzs.checkpoints.locate import locate_sam, verify_clip
    from segzs.checkpoints.registry import CLIPS, SAMS, preset
    from segzs.environment import devices, require_fitting_torchvision, versions
    from segzs.settings import cache_folder, default_model, is_offline

    print_table([("package", "version"), ("segzs", __version__), *versions().items()])
    print_line("")
    problems = [f"{package} is missing" for package, version in versions().items() if version == "missing"]
    rows = [("check", "result")]
    try:
        require_fitting_torchvision()
        rows += [("torch and torchvision", "compatible"), ("devices", ", ".join(devices()))]
    except SegzsError as error:
        problems.append(str(error))
    try:
        rows.append(("default model", preset(default_model()).name))
    except ModelError as error:
        problems.append(f"SEGZS_MODEL: {error}")
    rows.append(("cache", f"{cache_folder()}{' (offline)' if is_offline() else ''}"))
    checks: dict[str, Callable[[], Any]] = {f"SAM {name}": partial(locate_sam, name) for name in SAMS}
    checks |= {f"CLIP {name}": partial(verify_clip, name) for name in CLIPS}
    rows += [(name, state) for name, check in checks.items() if (state := _state(check, problems))]
    print_table(rows)
    print_line("")
    for problem in problems:
        print_line(f"PROBLEM: {problem}")
    print_line(counted(len(problems), "problem") if problems else "no problems")
    return 1 if problems else 0


def _state(check: Callable[[], Any], problems: list[str]) -> str:
    """The state of a checkpoint; empty if it is not on this machine."""
    try:
        file = check()
        return f"intact, {getattr(file, 'path', file)}"
    except WeightsError as error:
        problems.append(str(error))
        return "DAMAGED"
    except ModelError:
        return ""

"""``segzs fetch``: download a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from segzs.cli.parser import add_command
from segzs.cli.terminal import message, print_line


def add_parser(commands: Any) -> None:
    fetch = add_command(commands, "fetch", run, "download a preset, a SAM alone (sam:NAME), or a CLIP")
    fetch.add_argument("name", metavar="NAME", help="vit_b, or ViT-B-16:datacomp_xl_s13b_b90k, or hf-hub:ORG/NAME")
    fetch.add_argument("--to", metavar="DIR", help="the folder for it (default: the user cache, or SEGZS_CACHE)")


def run(args: argparse.Namespace) -> int:
    from segzs.checkpoints.download import fetch
    from segzs.settings import search_folders

    paths = fetch(args.name, Path(args.to) if args.to else None)
    for path in paths:
        print_line(str(path), keep_going=True)
    searched = {folder.resolve() for folder in search_folders()}
    if elsewhere := {path.parent for path in paths if not {path.resolve(), path.parent.resolve()} & searched}:
        message(f"note: segzs does not search {elsewhere.pop()}; set SEGZS_CACHE to it, or name it ./checkpoints")
    return 0

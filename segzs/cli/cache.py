"""``segzs cache``: the size of the embedding cache, or clear it."""

from __future__ import annotations

import argparse
from typing import Any

from segzs.checks import counted
from segzs.cli.parser import add_command
from segzs.cli.terminal import print_line


def add_parser(commands: Any) -> None:
    cache = add_command(commands, "cache", run, "show the size of the embedding cache, or clear it")
    cache.add_argument("--clear", action="store_true", help="delete all entries")


def run(args: argparse.Namespace) -> int:
    from segzs.settings import embeddings_folder

    folder = embeddings_folder()
    files = list(folder.glob("*.safetensors*"))  # read here, because importing EmbeddingCache imports torch
    size = sum(file.stat().st_size for file in files)
    entries = counted(sum(file.suffix == ".safetensors" for file in files), "entry", "entries")
    if args.clear:
        for file in files:
            file.unlink(missing_ok=True)
    print_line(f"{folder}: {entries}, {size / 1e6:.1f} MB{' (now cleared)' if args.clear else ''}")
    return 0

"""``segzs cache``: the size of the embedding cache, or clear it."""

from __future__ import annotations

import argparse
from typing import Any

from segzs.checks import counted
from segzs.cli.parser import add_command
from segzs.cli.terminal import print_line


def add_parser(commands: Any) -> None:
    cache = add_command(
        commands,
        "cache",
        run,
        "show the size of the embedding cache, or clear it",
        "Show how much disk space cached image embeddings and label features take, or delete them.",
    )
    cache.add_argument("--clear", action="store_true", help="delete all entries")


def run(args: argparse.Namespace) -> int:
    from segzs.cache import EmbeddingCache
    from segzs.settings import embeddings_folder

    cache = EmbeddingCache(embeddings_folder())
    size = cache.size()
    if args.clear:
        cache.clear()
    entries, cleared = counted(size.entries, "entry", "entries"), " (now cleared)" if args.clear else ""
    print_line(f"{cache.folder}: {entries}, {size.bytes / 1e6:.1f} MB of {cache.disk / 1e6:.0f} MB{cleared}")
    return 0

"""``segzs models``: the models, and which of them are on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from segzs.cli.parser import add_command
from segzs.cli.terminal import print_line, print_table


def add_parser(commands: Any) -> None:
    add_command(commands, "models", run, "list the models, and which of them are on this machine")


def run(args: argparse.Namespace) -> int:
    from segzs.checkpoints.locate import find_file, is_clip_here
    from segzs.checkpoints.registry import CLIPS, PRESETS, SAMS
    from segzs.settings import default_model

    default = default_model()
    presets = [
        (f"{p.name} (default)" if p.name == default else p.name, p.sam, p.clip, p.note) for p in PRESETS.values()
    ]
    print_table([("preset", "SAM", "CLIP", "for"), *presets])
    print_line("")
    sams = []
    for sam in SAMS.values():
        path = find_file(sam.file)
        size = path.stat().st_size if path else sam.bytes
        sams.append((sam.name, sam.file, f"{size / 1e6:,.0f}", sam.licence, str(path or "-")))
    print_table([("SAM", "file", "MB", "licence", "path"), *sams])
    print_line("")
    clips = [
        (clip.name, clip.hub or "embedded", clip.licence, "yes" if is_clip_here(clip.name) else "-")
        for clip in CLIPS.values()
    ]
    print_table([("CLIP", "source", "licence", "here"), *clips])
    print_line(
        "\ndownload a model: segzs fetch NAME; any other open_clip model: segzs fetch ARCHITECTURE:TAG, then --clip"
    )
    return 0

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
    presets = []
    for p in PRESETS.values():
        sam, clip = SAMS[p.sam], CLIPS[p.clip]
        download = f"{(sam.bytes + clip.bytes) / 1e6:,.0f}" if sam.url else "-"
        licences = ", ".join(sorted({sam.licence, clip.licence}))
        name = f"{p.name} (default)" if p.name == default else p.name
        presets.append((name, p.sam, p.clip, download, licences, p.note))
    print_table([("preset", "SAM", "CLIP", "MB", "licences", "for"), *presets])
    print_line("")
    sams = []
    for sam in SAMS.values():
        path = find_file(sam.file)
        sams.append((sam.name, sam.file, f"{sam.bytes / 1e6:,.0f}", f"{sam.gflop:,}", sam.licence, str(path or "-")))
    print_table([("SAM", "file", "MB", "GFLOP an image", "licence", "path"), *sams])
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

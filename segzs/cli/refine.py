"""``segzs refine``: names that take those of similar segments of a labelled directory into account."""

from __future__ import annotations

import argparse
from typing import Any

from segzs.checks import counted
from segzs.cli.parser import add_command
from segzs.cli.terminal import message, share_progress

EXAMPLES = """examples:
  segzs refine labelled/ --out refined/                     similar objects get similar names; see refined/names.csv
  segzs convert labelled/ --to labelme --out edited/        correct a few names in labelme, then:
  segzs refine labelled/ --corrected edited/ --out refined/     ... they are kept, and correct their neighbours
"""


def add_parser(commands: Any) -> None:
    refine = add_command(
        commands, "refine", run, "improve the names of a labelled directory by its own objects", EXAMPLES
    )
    add = refine.add_argument
    add("labelled", metavar="DIR", help="the output folder of segzs label DIR --out OUT; it keeps the first names")
    add("--out", required=True, metavar="DIR", help="the folder for the new names")
    add("--corrected", metavar="FILE|DIR", help="annotations of DIR with names that a person corrected")
    add("--clip", help="the CLIP: ARCHITECTURE:TAG, a folder, ... (default: that of DIR)")
    add("--device", default="auto", help="cpu, cuda, mps, or auto (default)")
    add("--quiet", action="store_true", help="no progress on stderr")


def run(args: argparse.Namespace) -> int:
    from segzs.search.index import load_clip_for
    from segzs.search.refine import refine

    clip = load_clip_for(args.labelled, args.clip, args.device)
    with share_progress(quiet=args.quiet) as progress:
        done = refine(args.labelled, args.out, clip, corrected=args.corrected, progress=progress)
    segments, given = counted(done.segments, "segment"), counted(done.given, "name")
    corrected = f"; {given} by a person" if done.given else ""
    message(f"{done.changed} of {segments} renamed: {args.out}/names.csv{corrected}", quiet=args.quiet)
    if done.skipped:
        message(f"error: {counted(done.skipped, 'image')} removed or changed; their segments have no neighbours")
    return 1 if done.skipped else 0

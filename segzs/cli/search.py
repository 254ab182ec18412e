"""``segzs index`` and ``segzs search``: search the segments of a labelled directory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzs.checks import counted
from segzs.cli.parser import add_command, positive
from segzs.cli.terminal import message, print_line, print_table, share_progress
from segzs.errors import OutputError, UsageError

if TYPE_CHECKING:
    from segzs.search.index import Match, SegmentIndex

EXAMPLES = """examples:
  segzs search out/ "red bicycle"                           a table: score, file, name, box
  segzs search out/ --like crop.png -n 50 --sheet sheet.png     ... and a contact sheet of the matches
  segzs search out/ red --like cup.png                      red things like the one in the image
"""
COLUMNS = 5


def add_parser(commands: Any) -> None:
    index = add_command(commands, "index", run_index, "make the segments of a labelled directory searchable")
    help = "search the segments of an indexed directory by words or by an image"
    search = add_command(commands, "search", run_search, help, EXAMPLES)
    for command in (index, search):
        command.add_argument("out", metavar="OUT", help="the output folder of segzs label DIR --out OUT")
        command.add_argument("--clip", help="the CLIP: ARCHITECTURE:TAG, a folder, ... (default: that of OUT)")
        command.add_argument("--device", default="auto", help="cpu, cuda, mps, or auto (default)")
    index.add_argument("--quiet", action="store_true", help="no progress on stderr")
    search.add_argument("query", nargs="?", metavar="WORDS", help="what to look for")
    search.add_argument(
        "--like",
        metavar="FILE",
        help="an image of one object: look for similar segments; with WORDS, for those that differ as they say",
    )
    search.add_argument("-n", "--limit", type=positive, default=10, metavar="N", help="number of matches (default 10)")
    search.add_argument("--json", action="store_true", help="print a line of JSON per match instead of a table")
    search.add_argument("--sheet", metavar="FILE.png", help="draw the matches, with scores and names")


def run_index(args: argparse.Namespace) -> int:
    from segzs.search.index import index, load_clip_for

    clip = load_clip_for(args.out, args.clip, args.device)
    with share_progress(quiet=args.quiet) as progress:
        done = index(args.out, clip, progress=progress)
    added, segments = counted(done.added, "image"), counted(done.segments, "segment")
    message(f"{segments} in the index; {added} added, {done.removed} removed", quiet=args.quiet)
    if done.skipped:
        skipped = counted(len(done.skipped), "image")
        message(f"error: {skipped} skipped, such as {done.skipped[0].file}: {done.skipped[0].reason}")
    return 1 if done.skipped else 0


def run_search(args: argparse.Namespace) -> int:
    if args.query is None and args.like is None:
        raise UsageError("give what to look for: words, an image with --like FILE, or both")
    from segzs.files import check_apart
    from segzs.formats import IMAGE_SUFFIXES
    from segzs.search.index import SegmentIndex, load_clip_for

    if args.sheet and Path(args.sheet).suffix.lower() not in IMAGE_SUFFIXES:
        raise UsageError(f"--sheet {args.sheet} must end with one of {', '.join(IMAGE_SUFFIXES)}")
    index = SegmentIndex.open(args.out, load_clip_for(args.out, args.clip, args.device))
    if args.sheet:
        check_apart([Path(args.sheet)], [index.root, *([Path(args.like)] if args.like else [])])
    matches = index.search(args.query, like=args.like, limit=args.limit)
    if args.sheet:
        _write_sheet(index, matches, Path(args.sheet))
    if args.json:
        for match in matches:
            print_line(json.dumps(match.to_dict()))
    else:
        rows = [(f"{m.score:.3f}", m.file, m.name, ",".join(map(str, m.box))) for m in matches]
        print_table([("score", "file", "name", "box"), *rows])
    return 0


def _write_sheet(index: SegmentIndex, matches: list[Match], path: Path) -> None:
    from segzs.draw import contact_sheet

    crops = list(index.crops(matches))
    captions = [f"{match.score:.2f} {match.name}\n{Path(match.file).name}" for match in matches]
    sheet = contact_sheet(crops, captions, columns=COLUMNS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
    if missing := [match.file for match, crop in zip(matches, crops, strict=True) if crop is None]:
        images = counted(len(missing), "match", "matches")
        message(f"note: {images} without an image, which was removed or changed, such as {missing[0]}")
    message(f"wrote {path}")

"""``segzs find``: the objects of an image that match words or an example."""

from __future__ import annotations

import argparse
from typing import Any

from segzs.cli import parser, results
from segzs.errors import UsageError

EXAMPLES = """examples:
  segzs find desk.jpg "the red mug"                         a table, the best match first
  segzs find desk.jpg --like mug.png --out out/             ... and files with an overlay
"""


def add_parser(commands: Any) -> None:
    find = parser.add_command(commands, "find", run, "find objects of an image by words or by an example", EXAMPLES)
    add, threshold = find.add_argument, "drop lower scores, 0 to 1 (default 0.5)"
    add("image", metavar="IMAGE", help="an image file")
    add("words", nargs="?", metavar="WORDS", help="what to look for")
    add("--like", metavar="FILE", help="an image of one object: look for similar objects")
    add("--score-threshold", type=float, default=0.5, metavar="X", help=threshold)
    parser.add_white(find)
    parser.add_models(find)
    parser.add_everything(find, merge=False)
    add("--out", metavar="DIR", help="write NAME.overlay.png, NAME.segzs.json and NAME.coco.json there")
    add("--json", action="store_true", help="print a line of JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    if (args.words is None) == (args.like is None):
        raise UsageError("give what to look for: either words, or an image with --like FILE")
    import segzs

    everything = parser.everything_options(args)
    (files,) = results.output_files(args.out, [args.image], results.ENDINGS, [args.like]) if args.out else [[]]
    segmenter = segzs.load(**parser.load_options(args))
    image = segmenter.encode(segzs.read_image(args.image, white=args.white))
    segments = segmenter.find(image, args.words, like=args.like, score_threshold=args.score_threshold, **everything)
    results.report(segments, args.image, files, as_json=args.json)
    return 0

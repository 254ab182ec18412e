"""``segzs find``: the objects of an image that match words or an example."""

from __future__ import annotations

import argparse
from typing import Any

from segzs.cli.parser import add_command, add_everything, add_models, everything_options, load_options
from segzs.cli.results import ENDINGS, output_files, print_result, write_result
from segzs.errors import UsageError

EXAMPLES = """examples:
  segzs find desk.jpg "the red mug"                         a table, the best match first
  segzs find desk.jpg --like mug.png --out out/             ... and files with an overlay
"""


def add_parser(commands: Any) -> None:
    find = add_command(
        commands,
        "find",
        run,
        "find objects of an image by words or by an example",
        "Find the objects of an image that match words, or that look like an example; there may be none.",
        EXAMPLES,
    )
    find.add_argument("image", metavar="IMAGE", help="an image file")
    find.add_argument("words", nargs="?", metavar="WORDS", help="what to look for")
    find.add_argument("--like", metavar="FILE", help="an image of one object: look for similar objects")
    find.add_argument(
        "--score-threshold", type=float, default=0.5, metavar="X", help="drop lower scores, 0 to 1 (default 0.5)"
    )
    add_models(find)
    add_everything(find, merge=False)
    find.add_argument("--out", metavar="DIR", help="write NAME.overlay.png, NAME.segzs.json and NAME.coco.json there")
    find.add_argument("--json", action="store_true", help="print a line of JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    if (args.words is None) == (args.like is None):
        raise UsageError("give what to look for: either words, or an image with --like FILE")
    import segzs
    from segzs.sam.mask_generator import GeneratorOptions

    everything = everything_options(args)
    GeneratorOptions(**everything)  # so that wrong values are reported before models are loaded
    (files,) = output_files(args.out, [args.image], ENDINGS, [args.like]) if args.out else [[]]
    segmenter = segzs.load(**load_options(args))
    image = segmenter.encode(args.image)
    segments = segmenter.find(image, args.words, like=args.like, score_threshold=args.score_threshold, **everything)
    print_result(segments, args.image, as_json=args.json, keep_going=bool(args.out))
    write_result(segments, args.image, files)
    return 0

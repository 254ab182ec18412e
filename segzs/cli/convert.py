"""``segzs convert``: write annotations in another format."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzs.checks import counted
from segzs.cli.parser import add_command, parse_labels
from segzs.cli.terminal import message

if TYPE_CHECKING:
    from segzs.formats import ImageAnnotations

EXAMPLES = """examples:
  segzs convert out/ --to yolo --out dataset/               results of segzs label --out out/, for ultralytics
  segzs convert out/desk.segzs.json --to cvat               writes out/desk.cvat.xml
  segzs convert people.json --to labelme --polygons         a COCO file, to be edited in labelme
"""
# The names of `FORMATS`, repeated here because importing it would slow down --help.
READABLE = ("segzs", "coco", "labelme", "parquet")
WRITABLE = (*READABLE, "coco-panoptic", "yolo", "label-studio", "cvat", "voc")


def add_parser(commands: Any) -> None:
    help = "convert results of segzs, or annotations of other tools, to another format"
    convert = add_command(commands, "convert", run, help, EXAMPLES)
    convert.add_argument("inputs", nargs="+", metavar="IN", help="files or folders; several are joined")
    convert.add_argument("--to", required=True, metavar="FORMAT", help=f"one of {', '.join(WRITABLE)}")
    convert.add_argument("--out", metavar="PATH", help="the file or folder to write (default: next to the first IN)")
    source = f"one of {', '.join(READABLE)} (default: detected)"
    convert.add_argument("--from", dest="source", metavar="FORMAT", help=source)
    convert.add_argument("--categories", metavar="A,B,C|FILE", help="the first labels, in the order of their ids")
    convert.add_argument("--base", type=int, metavar="N", help="id of the first category (COCO; default 1)")
    convert.add_argument("--polygons", action="store_true", default=None, help="write polygons instead of masks")


def run(args: argparse.Namespace) -> int:
    from segzs.files import check_apart
    from segzs.formats import find_format, read, write

    format = find_format(args.to)
    categories = parse_labels(args.categories).labels if args.categories is not None else None
    options = {"categories": categories, "base": args.base, "polygons": args.polygons}
    options = {name: value for name, value in options.items() if value is not None}
    first = Path(args.inputs[0])
    out = Path(args.out or first.parent / (_stem(first) + format.suffix))
    check_apart([out], [Path(file) for file in args.inputs])
    counts: Counter[str] = Counter()

    def annotations() -> Iterator[ImageAnnotations]:
        for path in args.inputs:
            for image in read(path, args.source):
                counts[image.file] += 1
                yield image

    write(annotations(), out, format.name, **options)
    message(f"wrote {out}: {counted(counts.total(), 'image')}")
    if repeated := [file for file, number in counts.items() if number > 1]:
        message(f"note: the inputs repeat {counted(len(repeated), 'image')}, such as {repeated[0]}")
    return 0


def _stem(path: Path) -> str:
    """The name of a file or folder without the suffix of its format."""
    from segzs.formats import FORMATS

    name = path.name or path.resolve().name
    suffixes = (".segzs.json", *(format.suffix for format in FORMATS.values()), "" if path.is_dir() else path.suffix)
    suffix = next(suffix for suffix in suffixes if name.lower().endswith(suffix.lower()))
    return name[: len(name) - len(suffix)] or name

"""``segzs classify``: name whole images with CLIP alone."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzs.cli.parser import add_command, add_models, add_names, add_white, load_options
from segzs.cli.terminal import message, print_line, print_table
from segzs.errors import ImageError

if TYPE_CHECKING:
    from segzs.image import Image

BATCH = 32
NAMES = 5


def add_parser(commands: Any) -> None:
    classify = add_command(commands, "classify", run, "name whole images with CLIP alone")
    classify.add_argument("images", nargs="+", metavar="FILE|DIR", help="image files, or folders of them")
    add_white(classify)
    add_names(classify, regions=False)
    add_models(classify, sam=False)
    glob = "of a directory: only such files, as '*.jpg'"
    classify.add_argument("--glob", action="append", default=[], metavar="PATTERN", help=glob)
    classify.add_argument("--json", action="store_true", help="print a line of JSON per image instead of a table")


def run(args: argparse.Namespace) -> int:
    from segzs.clip.image_features import encode_images
    from segzs.image import read_image
    from segzs.loading import load_classifier

    files = list(dict.fromkeys(_files(args)))
    classifier = load_classifier(**load_options(args))
    rows, failed, pending = [("file", "name", "probability")], 0, iter(files)
    while batch := list(islice(pending, BATCH)):
        images: dict[str, Image] = {}
        for file in batch:
            try:
                images[file] = read_image(file, white=args.white)
            except ImageError as error:
                failed += 1
                message(f"error: {error}" if file in str(error) else f"error: {file}: {error}")
        if not images:
            continue
        names = classifier.names(encode_images(classifier.clip, (image.pixels for image in images.values())))
        for file, ranked in zip(images, names, strict=True):
            best = [{"label": name.label, "probability": round(name.probability, 4)} for name in ranked[:NAMES]]
            if args.json:
                print_line(json.dumps({"file": file, **best[0], "names": best}))
            rows.append((file, ranked[0].label, f"{ranked[0].probability:.2f}"))
    if not args.json and len(rows) > 1:
        print_table(rows)
    if failed and len(files) > 1:
        message(f"{failed} of {len(files)} images failed")
    return 1 if failed else 0


def _files(args: argparse.Namespace) -> Iterator[str]:
    from segzs.dataset.listing import list_images

    for path in args.images:
        if Path(path).is_dir():
            yield from (str(Path(path) / name) for name in list_images(path, glob=args.glob).names)
        else:
            yield path

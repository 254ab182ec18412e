"""``segzs evaluate``: measure masks and names on annotated images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzs.checks import counted
from segzs.cli import parser
from segzs.cli.terminal import message, print_table, share_progress
from segzs.errors import UsageError

if TYPE_CHECKING:
    from segzs.evaluate.measure import Plan
    from segzs.evaluate.truth import Truth

EXAMPLES = """examples:
  segzs evaluate annotations.json --images photos/ --out report/         masks, everything mode and names
  segzs evaluate annotations.json --what names --limit 100               names only, of 100 images
  segzs evaluate imagenette/val --labels labels.txt                      a folder per class; labels in their order
"""


def add_parser(commands: Any) -> None:
    evaluate = parser.add_command(commands, "evaluate", run, "measure masks and names on annotated images", EXAMPLES)
    add = evaluate.add_argument
    add("annotations", metavar="FILE|DIR", help="a COCO file, or a folder with a folder per class")
    add("--images", metavar="DIR", help="the images of a COCO file (default: next to it)")
    add("--what", type=_parts, metavar="A,B", help="measure only these: masks, everything, names (default: all)")
    add("--limit", type=parser.positive, metavar="N", help="a random sample of N images")
    add("--objects-per-image", type=parser.positive, metavar="N", help="at most N objects of each image")
    add("--clicks", type=parser.positive, default=10, metavar="N", help="at most N clicks for an object (default 10)")
    add("--seed", type=int, default=0, metavar="N", help="seed of random samples (default 0)")
    parser.add_names(evaluate)
    parser.add_models(evaluate)
    parser.add_everything(evaluate)
    output = evaluate.add_argument_group("output")
    output.add_argument("--out", metavar="DIR", help="write report.json and report.md there")
    output.add_argument("--quiet", action="store_true", help="no progress on stderr")


def run(args: argparse.Namespace) -> int:
    import segzs
    from segzs.evaluate.measure import measure
    from segzs.evaluate.report import report
    from segzs.files import atomic_write, check_apart, make_folder

    plan, options, truth = _plan(args), parser.load_options(args), _truth(args)
    files = [Path(args.out) / name for name in ("report.json", "report.md")] if args.out else []
    check_apart(files, [Path(args.annotations), *truth.paths])
    if args.out:
        make_folder(Path(args.out))
    counts = f"{counted(truth.objects, 'object')} in {counted(len(truth.images), 'image')}"
    message(f"{counts}; loading models", quiet=args.quiet)
    segmenter = segzs.load(**{"labels": truth.labels, **options})
    vocabulary = segmenter.vocabulary
    labels = vocabulary.labels
    if Path(args.annotations).is_dir() and len(labels) == len(truth.labels) and set(labels).isdisjoint(truth.labels):
        message(f"note: labels are assigned to folders in order: {truth.labels[0]} is {labels[0]!r}, ...")
        truth = truth.renamed(labels)
    with share_progress(quiet=args.quiet) as progress:
        rows = measure(segmenter, truth, plan, progress)
    about = {
        "data": str(args.annotations),
        "images": len(truth.images),
        "objects": truth.objects,
        "model": segmenter.model,
        "labels": len(labels),
        "templates": len(vocabulary.templates),
        **segmenter.settings,
        "seed": args.seed,
    }
    result = report(rows, about, args.seed)
    print_table(result.table())
    texts = (json.dumps(result.to_dict(), indent=1, ensure_ascii=False) + "\n", result.markdown())
    for path, text in zip(files, texts, strict=False):
        with atomic_write(path) as file:
            file.write(text)
        message(f"wrote {path}")
    return 0


def _plan(args: argparse.Namespace) -> Plan:
    from segzs.evaluate.measure import WHAT, Plan

    is_folder = Path(args.annotations).is_dir()
    what = tuple(args.what or (("names",) if is_folder else WHAT))
    if is_folder and what != ("names",):
        raise UsageError(f"{args.annotations} is a folder per class, without masks; use --what names")
    return Plan(what, args.clicks, seed=args.seed, grid=parser.everything_options(args))


def _truth(args: argparse.Namespace) -> Truth:
    from segzs.evaluate.truth import read_classes, read_coco

    is_folder = Path(args.annotations).is_dir()
    truth = read_classes(args.annotations) if is_folder else read_coco(args.annotations, args.images)
    return truth.sample(args.limit, args.objects_per_image, args.seed)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]

"""``segzs evaluate``: measure masks and names on annotated images."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzs.checks import counted
from segzs.cli.parser import (
    add_command,
    add_everything,
    add_models,
    add_names,
    everything_options,
    load_options,
    positive,
)
from segzs.cli.terminal import message, print_table, share_progress
from segzs.errors import UsageError

if TYPE_CHECKING:
    from segzs.evaluate.measure import Plan, Row
    from segzs.evaluate.report import Report
    from segzs.evaluate.truth import Truth
    from segzs.segmenter import Segmenter

EXAMPLES = """examples:
  segzs evaluate annotations.json --images photos/ --out report/         masks, everything mode and names
  segzs evaluate annotations.json --what names --limit 100               names only, of 100 images
  segzs evaluate annotations.json --what names --compare a.yaml b.yaml   two configurations and a paired test
  segzs evaluate imagenette/val --labels labels.txt                      a folder per class; labels in their order
"""
WRITTEN = ("report.json", "report.md")


def add_parser(commands: Any) -> None:
    evaluate = add_command(
        commands,
        "evaluate",
        run,
        "measure masks and names on annotated images",
        "Measure the quality of masks and names on annotated images.",
        EXAMPLES,
    )
    evaluate.add_argument("annotations", metavar="FILE|DIR", help="a COCO file, or a folder with a folder per class")
    evaluate.add_argument("--images", metavar="DIR", help="the images of a COCO file (default: next to it)")
    evaluate.add_argument(
        "--what", type=_parts, metavar="A,B", help="measure only these: masks, everything, names (default: all)"
    )
    evaluate.add_argument("--limit", type=positive, metavar="N", help="a random sample of N images")
    evaluate.add_argument("--objects-per-image", type=positive, metavar="N", help="at most N objects of each image")
    evaluate.add_argument("--clicks", type=positive, metavar="N", help="at most N clicks for an object (default 10)")
    evaluate.add_argument(
        "--removed", type=float, metavar="SHARE", help="share of labels removed to measure 'unknown' (default 0.5)"
    )
    evaluate.add_argument("--seed", type=int, default=0, metavar="N", help="seed of random samples (default 0)")
    evaluate.add_argument("--compare", nargs=2, metavar="YAML", help="compare two files of segzs.load's options")
    add_names(evaluate)
    add_models(evaluate)
    add_everything(evaluate)
    output = evaluate.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write all figures there")
    output.add_argument("--out", metavar="DIR", help="write report.json and report.md there")
    output.add_argument("--quiet", action="store_true", help="no progress on stderr")


def run(args: argparse.Namespace) -> int:
    from segzs.evaluate.measure import measure
    from segzs.evaluate.options import read_options
    from segzs.evaluate.report import report

    plan, truth = _plan(args), None
    options = [load_options(args) | read_options(path) for path in args.compare or []] or [load_options(args)]
    truth = _truth(args)
    _make_outputs(args, truth)
    message(
        f"{counted(truth.objects, 'object')} in {counted(len(truth.images), 'image')}; loading models",
        quiet=args.quiet,
    )
    segmenters = [_load(one, truth) for one in options]
    labels = segmenters[0].vocabulary.labels
    if Path(args.annotations).is_dir() and len(labels) == len(truth.labels) and set(labels).isdisjoint(truth.labels):
        message(f"note: labels are assigned to folders in order: {truth.labels[0]} is {labels[0]!r}, ...")
        truth = truth.renamed(labels)
    with share_progress(quiet=args.quiet) as progress:
        rows = measure(segmenters, truth, plan, progress)
    about = [_about(args, plan, truth, segmenter) for segmenter in segmenters]
    reports = [report(some, facts, args.seed) for some, facts in zip(rows, about, strict=True)]
    content, page = _compare(args, rows, reports) if args.compare else _single(reports[0])
    _write(args, content, page)
    return 0


def _plan(args: argparse.Namespace) -> Plan:
    from segzs.evaluate.measure import WHAT, Plan

    classes = Path(args.annotations).is_dir()
    what = tuple(args.what or (("names",) if classes else WHAT))
    if classes and what != ("names",):
        raise UsageError(f"{args.annotations} is a folder per class, without masks; use --what names")
    if args.json and Path(args.json).suffix.lower() != ".json":
        raise UsageError(f"--json {args.json} must end with .json")
    given = {name: value for name in ("clicks", "removed") if (value := getattr(args, name)) is not None}
    return Plan(what, seed=args.seed, grid=everything_options(args), **given)


def _truth(args: argparse.Namespace) -> Truth:
    from segzs.evaluate.truth import read_classes, read_coco

    classes = Path(args.annotations).is_dir()
    truth = read_classes(args.annotations) if classes else read_coco(args.annotations, args.images)
    return truth.sample(args.limit, args.objects_per_image, args.seed)


def _make_outputs(args: argparse.Namespace, truth: Truth) -> None:
    """Make the folders of the outputs, before hours are spent measuring.

    Raises:
        UsageError: an output would overwrite an input.
        OutputError: a folder cannot be made.
    """
    from segzs.files import check_apart, make_folder

    inputs = [Path(file) for file in (args.annotations, *(args.compare or []))]
    check_apart(_output_files(args), [*inputs, *truth.paths])
    for folder in (args.out, args.json and Path(args.json).parent):
        if folder:
            make_folder(Path(folder))


def _output_files(args: argparse.Namespace) -> Iterator[Path]:
    if args.json:
        yield Path(args.json)
    if args.out:
        yield from (Path(args.out) / name for name in WRITTEN)


def _load(options: dict[str, Any], truth: Truth) -> Segmenter:
    import segzs

    return segzs.load(**{"labels": truth.labels, **options})


def _about(args: argparse.Namespace, plan: Plan, truth: Truth, segmenter: Segmenter) -> dict[str, Any]:
    return {
        "data": str(args.annotations),
        "pictures": len(truth.images),
        "objects": truth.objects,
        "model": segmenter.model,
        "labels": len(segmenter.vocabulary.labels),
        "templates": len(segmenter.vocabulary.templates),
        **segmenter.settings,
        "seed": args.seed,
        "removed": plan.removed,
    }


def _single(report: Report) -> tuple[dict[str, Any], str]:
    """Print a report; returns its JSON and its Markdown."""
    print_table(report.table())
    return report.to_dict(), report.markdown()


def _compare(args: argparse.Namespace, rows: list[list[Row]], reports: list[Report]) -> tuple[dict[str, Any], str]:
    """Print the comparison of two reports; returns its JSON and its Markdown."""
    from segzs.evaluate.report import compare, comparison_table, markdown

    stems = [Path(path).stem for path in args.compare]
    names = stems if stems[0] != stems[1] else args.compare
    differences = compare(rows[0], rows[1], seed=args.seed)
    table = comparison_table(names, differences)
    print_table(table)
    content = {
        "configurations": [{"options": name, **one.to_dict()} for name, one in zip(names, reports, strict=True)],
        "differences": {key: one.to_dict() for key, one in differences.items()},
    }
    pages = [f"# {names[0]} and {names[1]}\n\n{markdown(table)}\n", *(one.markdown() for one in reports)]
    return content, "\n".join(pages)


def _write(args: argparse.Namespace, content: dict[str, Any], page: str) -> None:
    from segzs.files import atomic_write

    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    files = {Path(args.json): text} if args.json else {}
    if args.out:
        files |= {Path(args.out) / "report.json": text, Path(args.out) / "report.md": page}
    for path, content_of_file in files.items():
        with atomic_write(path) as file:
            file.write(content_of_file)
        message(f"wrote {path}")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]

"""``segzs evaluate``: annotated images -> tables, JSON and Markdown."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzs.checks import counted
from segzs.cli.options import generator_options, model_options
from segzs.cli.progress import progress_bar
from segzs.errors import PromptError, UsageError

if TYPE_CHECKING:
    from segzs.evaluate.measure import Row
    from segzs.evaluate.report import Report
    from segzs.evaluate.truth import Truth
    from segzs.segmenter import Segmenter

Table = Callable[[Sequence[tuple[str, ...]]], None]
Results = tuple[dict, list[str]]
"""What becomes JSON, and the pages of Markdown."""
WRITTEN = ("report.json", "report.md")


def evaluate(parsed: argparse.Namespace, say: Callable[[str], None], table: Table) -> int:
    """Measure one configuration, or two beside each other."""
    given = {name: value for name in ("clicks", "removed") if (value := getattr(parsed, name)) is not None}
    from segzs.evaluate.measure import WHAT, Plan
    from segzs.evaluate.options import read_options
    from segzs.files import check_apart, make_folder

    classes = Path(parsed.annotations).is_dir()
    what = tuple(parsed.what or (("names",) if classes else WHAT))
    if classes and what != ("names",):
        raise PromptError(f"{parsed.annotations} is a folder of classes, without masks; only names can be measured")
    plan = Plan(what, seed=parsed.seed, grid=generator_options(parsed), **given)
    options = [{**model_options(parsed), **read_options(path)} for path in parsed.compare or []] or [
        model_options(parsed)
    ]
    if parsed.json and Path(parsed.json).suffix.lower() != ".json":
        raise UsageError(f"{parsed.json}: the name of a file of JSON ends with .json")
    truth = _truth(parsed, classes)
    inputs = [Path(one) for one in (parsed.annotations, *(parsed.compare or []))]
    check_apart(_files(parsed), [*inputs, *truth.paths])
    for folder in (parsed.out, parsed.json and Path(parsed.json).parent):
        if folder:
            make_folder(Path(folder))  # before hours are spent for nothing
    if not parsed.quiet:
        say(f"{counted(truth.objects, 'object')} in {counted(len(truth.images), 'picture')}; loading models")
    segmenters = [_load(one, truth, parsed) for one in options]
    labels = segmenters[0].vocabulary.labels
    if classes and len(labels) == len(truth.labels) and set(labels).isdisjoint(truth.labels):
        say(f"note: the labels are taken for the folders in their order: {truth.labels[0]} is {labels[0]!r}, ...")
        truth = truth.renamed(labels)
    about = [_about(parsed, truth, segmenter) for segmenter in segmenters]
    from segzs.evaluate.measure import measure
    from segzs.evaluate.report import report

    with progress_bar(parsed.quiet) as progress:
        rows = measure(segmenters, truth, plan, progress)
    about = [{**facts, "removed": plan.removed} for facts in about]
    reports = [report(some, facts, parsed.seed) for some, facts in zip(rows, about, strict=True)]
    results = _two(rows, reports, parsed, table) if parsed.compare else _one(reports, table)
    return _write(results, parsed, say)


def _files(parsed: argparse.Namespace) -> Iterator[Path]:
    """What may be written."""
    if parsed.json:
        yield Path(parsed.json)
    if parsed.out:
        yield from (Path(parsed.out) / name for name in WRITTEN)


def _one(reports: list[Report], table: Table) -> Results:
    table(reports[0].table())
    return reports[0].to_dict(), [reports[0].markdown()]


def _two(rows: list[list[Row]], reports: list[Report], parsed: argparse.Namespace, table: Table) -> Results:
    from segzs.evaluate.report import compare, comparison_table, markdown

    stems = [Path(path).stem for path in parsed.compare]
    names = stems if stems[0] != stems[1] else parsed.compare
    differences = compare(rows[0], rows[1], seed=parsed.seed)
    compared = comparison_table(names, differences)
    table(compared)
    content = {
        "configurations": [{"options": name, **one.to_dict()} for name, one in zip(names, reports, strict=True)],
        "differences": {key: one.to_dict() for key, one in differences.items()},
    }
    pages = [f"# {names[0]} and {names[1]}\n\n{markdown(compared)}\n", *(one.markdown() for one in reports)]
    return content, pages


def _truth(parsed: argparse.Namespace, classes: bool) -> Truth:
    from segzs.evaluate.truth import read_classes, read_coco

    truth = read_classes(parsed.annotations) if classes else read_coco(parsed.annotations, parsed.images)
    return truth.sample(parsed.limit, parsed.objects_per_image, parsed.seed)


def _load(options: dict[str, Any], truth: Truth, parsed: argparse.Namespace) -> Segmenter:
    import segzs

    known = {"cache": not parsed.no_cache, **options}
    return segzs.load(**{**known, "labels": truth.labels if known["labels"] is None else known["labels"]})


def _about(parsed: argparse.Namespace, truth: Truth, segmenter: Segmenter) -> dict[str, Any]:
    return {
        "data": str(parsed.annotations),
        "pictures": len(truth.images),
        "objects": truth.objects,
        "model": segmenter.model,
        "labels": len(segmenter.vocabulary.labels),
        "templates": len(segmenter.vocabulary.templates),
        **segmenter.settings,
        "seed": parsed.seed,
    }


def _write(results: Results, parsed: argparse.Namespace, say: Callable[[str], None]) -> int:
    from segzs.files import atomic_write

    content, pages = results
    as_json = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    texts = {Path(parsed.json): as_json} if parsed.json else {}
    if parsed.out:
        texts |= {Path(parsed.out) / "report.json": as_json, Path(parsed.out) / "report.md": "\n".join(pages)}
    for path, text in texts.items():
        with atomic_write(path) as file:
            file.write(text)
        say(f"wrote {path}")
    return 0

"""Rows of figures -> a report: means with intervals, by source, size and category, as a table, Markdown and JSON."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from segzs.evaluate.measure import SIZES, Row
from segzs.evaluate.statistics import (
    Difference,
    Estimate,
    auroc,
    calibration_error,
    difference,
    difference_of_means,
    estimate,
    estimate_mean,
)

TITLES = {
    "iou_1": "IoU after 1 click",
    "iou_3": "IoU after 3 clicks",
    "iou_5": "IoU after 5 clicks",
    "clicks_85": "clicks to 85 % IoU",
    "clicks_90": "clicks to 90 % IoU",
    "iou_box": "IoU from a box",
    "average_recall": "everything: average recall",
    "recall_75": "everything: recall at IoU 0.75",
    "own_top_1": "names, own masks: top-1",
    "own_top_5": "names, own masks: top-5",
    "own_answered": 'names, own masks: top-1 beside "unknown"',
    "top_1": "names: top-1",
    "top_5": "names: top-5",
    "answered": 'names: top-1 beside "unknown"',
    "calibration_error": "names: calibration error",
    "unknown_auroc": '"unknown": AUROC',
}
NOTES = """\
Intervals hold 95 % of the bootstrap over images. A click goes where the error is largest; an object that never reaches
an IoU counts with all its clicks. Average recall is over IoU 0.5 to 0.95, whatever the names. Own masks are those of
everything mode that overlap an object with an IoU of 0.5 at least. Top-1 and top-5 set "unknown" aside; where it
stands beside the labels, it is a wrong answer. The calibration error is over 15 bins; resampling raises it. AUROC is
that of the probability of "unknown" for objects whose label was left out of the list.
"""
FEW_CONFUSIONS = 30
By = dict[str, dict[str, Estimate]]


@dataclass(frozen=True)
class Report:
    """What rows come to.

    ``about`` says what was measured with what, in plain values; ``figures`` are those of all objects by their names
    in `TITLES`; ``by`` has those of each group of "source", "size" and "category"; ``confusions`` are pairs of the
    right and the most probable label with how often they occur, most frequent first.
    """

    about: Mapping[str, Any]
    figures: dict[str, Estimate]
    by: dict[str, By]
    confusions: tuple[tuple[str, str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            **self.about,
            "figures": _plain(self.figures),
            **{
                f"by_{kind}": {group: _plain(figures) for group, figures in groups.items()}
                for kind, groups in self.by.items()
            },
            "confusions": [{"name": name, "answer": answer, "count": count} for name, answer, count in self.confusions],
        }

    def table(self) -> list[tuple[str, ...]]:
        """Rows of text, a header first: each figure with its interval, and by source and size without."""
        groups = [(f"{group} ({kind})", f) for kind in ("source", "size") for group, f in self.by[kind].items()]
        header = ("", "all", "95 % interval", "objects", *(title for title, _ in groups))
        return [header] + [
            (
                TITLES[key],
                _shown(key, one.value),
                one.interval(_digits(key)),
                str(one.count),
                *(_shown(key, figures[key].value) if key in figures else "" for _, figures in groups),
            )
            for key, one in self.figures.items()
        ]

    def markdown(self) -> str:
        """All of it as a page of Markdown."""
        about = [f"- {name}: {_plainly(value)}" for name, value in self.about.items()]
        keys = [key for key in self.figures if key not in ("calibration_error", "unknown_auroc")]
        categories = [
            (
                category,
                str(max((one.count for one in figures.values()), default=0)),
                *(_shown(key, figures[key].value) if key in figures else "" for key in keys),
            )
            for category, figures in self.by["category"].items()
        ]
        confusions = [(name, answer, str(count)) for name, answer, count in self.confusions[:FEW_CONFUSIONS]]
        parts = ["# How good the masks and the names are", "\n".join(about), markdown(self.table()), NOTES.strip()]
        parts += ["## By category", markdown([("category", "objects", *(TITLES[key] for key in keys)), *categories])]
        if confusions:
            parts += ["## Most confused", markdown([("right", "most probable label", "objects"), *confusions])]
        return "\n\n".join(parts) + "\n"


def report(rows: Sequence[Row], about: Mapping[str, Any] | None = None, seed: int = 0) -> Report:
    """The report of the rows of one segmenter."""
    by: dict[str, By] = {}
    for kind in ("source", "size", "category"):
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            groups[row.name if kind == "category" else getattr(row, kind)].append(row)
        order = [size for size in SIZES if size in groups] if kind == "size" else sorted(groups)
        lone = kind != "category" and len(order) == 1  # says what is said of all
        by[kind] = {} if lone else {group: estimates(groups[group], seed, means=kind == "category") for group in order}
    counted = Counter((row.name, row.best) for row in rows if row.best and not row.values.get("top_1", 1.0))
    confusions = tuple((name, best, count) for (name, best), count in counted.most_common())
    return Report(about or {}, estimates(rows, seed), by, confusions)


def estimates(rows: Sequence[Row], seed: int = 0, *, means: bool = False) -> dict[str, Estimate]:
    """The figures of rows by their names in `TITLES`, those that were measured; of ``means`` alone if wanted."""
    values, pictures = columns(rows)
    found = {key: estimate_mean(values[key], pictures, seed=seed) for key in TITLES if key in values}
    if not means:
        for key, (_, *parts) in STATISTICS.items():
            if all(part in values for part in parts):
                there = ~np.isnan(np.stack([values[part] for part in parts])).any(0)
                found[key] = estimate(_statistic(key, values, there), pictures[there], seed=seed)
    return {key: one for key, one in found.items() if not math.isnan(one.value)}


def compare(first: Sequence[Row], second: Sequence[Row], seed: int = 0) -> dict[str, Difference]:
    """The figures of two segmenters on the same objects, by their names in `TITLES`, those that both have."""
    ours, pictures = columns(first)
    theirs, _ = columns(second)
    found = {
        key: difference_of_means(ours[key], theirs[key], pictures, seed=seed)
        for key in TITLES
        if key in ours and key in theirs
    }
    for key, (_, *parts) in STATISTICS.items():
        if all(part in ours and part in theirs for part in parts):
            both = np.stack([values[part] for values in (ours, theirs) for part in parts])
            there = ~np.isnan(both).any(0)
            found[key] = difference(
                _statistic(key, ours, there), _statistic(key, theirs, there), pictures[there], seed=seed
            )
    return {key: one for key, one in found.items() if one.difference.count}


def comparison_table(names: Sequence[str], differences: Mapping[str, Difference]) -> list[tuple[str, ...]]:
    """Rows of text, a header first: each figure of both, the second less the first with its interval, and the test."""
    header = ("", *names, "difference", "95 % interval", "p", "test", "objects")
    return [header] + [
        (
            TITLES[key],
            _shown(key, one.first),
            _shown(key, one.second),
            f"{one.difference.value:+.{_digits(key)}f}",
            one.difference.interval(_digits(key), "+"),
            "" if math.isnan(one.p) else f"{one.p:.2g}",
            one.test,
            str(one.difference.count),
        )
        for key, one in differences.items()
    ]


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """Rows of text, a header first, as a table of Markdown.

    >>> print(markdown([("name", "objects"), ("cat", "3")]))
    | name | objects |
    | --- | --- |
    | cat | 3 |
    """
    header, *others = (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
    return "\n".join([header, "|" + " --- |" * (header.count("|") - 1), *others])


def columns(rows: Sequence[Row]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The values of rows by name, float (rows,) with NaN where there is none, and the numbers of their pictures."""
    keys = dict.fromkeys(key for row in rows for key in row.values)
    values = {key: np.array([row.values.get(key, math.nan) for row in rows]) for key in keys}
    return values, np.array([row.image for row in rows], int)


STATISTICS = {
    "calibration_error": (calibration_error, "confidence", "answered"),
    "unknown_auroc": (auroc, "unknown_score", "removed"),
}
"""Figures that are no means, and the values that they are made from."""


def _statistic(key: str, values: Mapping[str, np.ndarray], there: np.ndarray) -> partial[float]:
    function, scores, right = STATISTICS[key]
    return partial(function, values[scores][there], values[right][there] > 0)


def _plain(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    return {key: one.to_dict() for key, one in figures.items()}


def _plainly(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plainly(part)}" for name, part in value.items())
    return ", ".join(map(_plainly, value)) if isinstance(value, list) else str(value)


def _digits(key: str) -> int:
    return 1 if key.startswith("clicks_") else 3


def _shown(key: str, value: float) -> str:
    return "" if math.isnan(value) else f"{value:.{_digits(key)}f}"

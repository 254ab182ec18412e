"""Rows of values -> a report: means with intervals, by source, size and category, as a table, Markdown and JSON."""

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
Intervals are 95 % intervals of the bootstrap over images. A click is placed where the error is largest; an object that
does not reach an IoU counts with all clicks. Average recall is over IoU 0.5 to 0.95, whatever the names. Own masks are
the masks of everything mode with an IoU of at least 0.5 with an object. Top-1 and top-5 ignore "unknown"; 'top-1 beside
"unknown"' counts it as a wrong answer. The calibration error has 15 bins; resampling raises it. The AUROC is of the
probability of "unknown" for objects whose labels were removed from the list.
"""
FEW_CONFUSIONS = 30
By = dict[str, dict[str, Estimate]]


@dataclass(frozen=True)
class Report:
    """The figures of one segmenter.

    Args:
        about: what was measured with which settings, as plain values.
        figures: of all objects, by the keys of `TITLES`.
        by: of each group of "source", "size" and "category".
        confusions: right name, most probable label, and how often both occur together, most frequent first.
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
        """Rows of text, a header first: each figure with its interval, and by source and size without intervals."""
        groups = [(f"{group} ({kind})", f) for kind in ("source", "size") for group, f in self.by[kind].items()]
        header = ("", "all", "95 % interval", "objects", *(title for title, _ in groups))
        return [header] + [
            (
                TITLES[key],
                _text(key, one.value),
                one.interval(_digits(key)),
                str(one.count),
                *(_text(key, figures[key].value) if key in figures else "" for _, figures in groups),
            )
            for key, one in self.figures.items()
        ]

    def markdown(self) -> str:
        """The report as a page of Markdown."""
        about = [f"- {name}: {_words(value)}" for name, value in self.about.items()]
        keys = [key for key in self.figures if key not in ("calibration_error", "unknown_auroc")]
        categories = [
            (
                category,
                str(max((one.count for one in figures.values()), default=0)),
                *(_text(key, figures[key].value) if key in figures else "" for key in keys),
            )
            for category, figures in self.by["category"].items()
        ]
        confusions = [(name, answer, str(count)) for name, answer, count in self.confusions[:FEW_CONFUSIONS]]
        parts = ["# Quality of masks and names", "\n".join(about), markdown(self.table()), NOTES.strip()]
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
        single = kind != "category" and len(order) == 1  # the same as all objects
        by[kind] = (
            {} if single else {group: estimates(groups[group], seed, means=kind == "category") for group in order}
        )
    pairs = Counter((row.name, row.best) for row in rows if row.best and not row.values.get("top_1", 1.0))
    confusions = tuple((name, best, count) for (name, best), count in pairs.most_common())
    return Report(about or {}, estimates(rows, seed), by, confusions)


def estimates(rows: Sequence[Row], seed: int = 0, *, means: bool = False) -> dict[str, Estimate]:
    """The figures of rows by the keys of `TITLES`, as far as they were measured; only means where ``means`` is True."""
    values, images = columns(rows)
    figures = {key: estimate_mean(values[key], images, seed=seed) for key in TITLES if key in values}
    if not means:
        for key, (_, *parts) in STATISTICS.items():
            if all(part in values for part in parts):
                given = ~np.isnan(np.stack([values[part] for part in parts])).any(0)
                figures[key] = estimate(_statistic(key, values, given), images[given], seed=seed)
    return {key: one for key, one in figures.items() if not math.isnan(one.value)}


def compare(first: Sequence[Row], second: Sequence[Row], seed: int = 0) -> dict[str, Difference]:
    """The figures that two segmenters have on the same objects, by the keys of `TITLES`."""
    ours, images = columns(first)
    theirs, _ = columns(second)
    differences = {
        key: difference_of_means(ours[key], theirs[key], images, seed=seed)
        for key in TITLES
        if key in ours and key in theirs
    }
    for key, (_, *parts) in STATISTICS.items():
        if all(part in ours and part in theirs for part in parts):
            both = np.stack([values[part] for values in (ours, theirs) for part in parts])
            given = ~np.isnan(both).any(0)
            differences[key] = difference(
                _statistic(key, ours, given), _statistic(key, theirs, given), images[given], seed=seed
            )
    return {key: one for key, one in differences.items() if one.difference.count}


def comparison_table(names: Sequence[str], differences: Mapping[str, Difference]) -> list[tuple[str, ...]]:
    """Rows of text, a header first: both figures, second minus first with its interval, and the test."""
    header = ("", *names, "difference", "95 % interval", "p", "test", "objects")
    return [header] + [
        (
            TITLES[key],
            _text(key, one.first),
            _text(key, one.second),
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
    """The values of rows by name, float (rows,), NaN where not measured, and the images, int (rows,)."""
    keys = dict.fromkeys(key for row in rows for key in row.values)
    values = {key: np.array([row.values.get(key, math.nan) for row in rows]) for key in keys}
    return values, np.array([row.image for row in rows], int)


STATISTICS = {
    "calibration_error": (calibration_error, "confidence", "answered"),
    "unknown_auroc": (auroc, "unknown_score", "removed"),
}
"""Figures that are not means: the statistic and the names of its two values."""


def _statistic(key: str, values: Mapping[str, np.ndarray], given: np.ndarray) -> partial[float]:
    function, scores, right = STATISTICS[key]
    return partial(function, values[scores][given], values[right][given] > 0)


def _plain(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    return {key: one.to_dict() for key, one in figures.items()}


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items())
    return ", ".join(map(_words, value)) if isinstance(value, list) else str(value)


def _digits(key: str) -> int:
    return 1 if key.startswith("clicks_") else 3


def _text(key: str, value: float) -> str:
    return "" if math.isnan(value) else f"{value:.{_digits(key)}f}"

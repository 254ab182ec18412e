"""Rows of values to a report: means with intervals, by source, size and category, as a table, Markdown and JSON."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from segzs.evaluate.measure import SIZES, Row
from segzs.evaluate.statistics import Estimate, auroc, calibration_error, estimate, estimate_mean

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
STATISTICS = {
    "calibration_error": (calibration_error, "confidence", "answered"),
    "unknown_auroc": (auroc, "unknown_score", "removed"),
}
"""Figures that are not means: the statistic and the names of its two values."""
NOTES = """\
Intervals are 95 % intervals of the bootstrap over images. A click is placed where the error is largest; an object that
does not reach an IoU counts with all clicks. Average recall is over IoU 0.5 to 0.95, whatever the names. Own masks are
the masks of everything mode with an IoU of at least 0.5 with an object. Top-1 and top-5 ignore "unknown"; 'top-1 beside
"unknown"' counts it as a wrong answer. The calibration error has 15 bins; resampling raises it. The AUROC is of the
probability of "unknown" for objects whose labels were removed from the list.
"""
MAX_CONFUSIONS = 30
Figures = dict[str, Estimate]


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
    figures: Figures
    by: dict[str, dict[str, Figures]]
    confusions: tuple[tuple[str, str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        by = {
            f"by_{kind}": {group: _plain(figures) for group, figures in groups.items()}
            for kind, groups in self.by.items()
        }
        confusions = [{"name": name, "answer": answer, "count": count} for name, answer, count in self.confusions]
        return {**self.about, "figures": _plain(self.figures), **by, "confusions": confusions}

    def table(self) -> list[tuple[str, ...]]:
        """Rows of text, a header first: each figure with its interval, and by source and size without intervals."""
        groups = {f"{group} ({kind})": f for kind in ("source", "size") for group, f in self.by[kind].items()}
        rows = [("", "all", "95 % interval", "objects", *groups)]
        for key, one in self.figures.items():
            cells = (_text(key, one), one.interval(_digits(key)), str(one.count))
            rows.append((TITLES[key], *cells, *(_text(key, figures.get(key)) for figures in groups.values())))
        return rows

    def markdown(self) -> str:
        """The report as a page of Markdown."""
        about = "\n".join(f"- {name}: {_words(value)}" for name, value in self.about.items())
        keys = [key for key in self.figures if key not in STATISTICS]
        categories = [("category", "objects", *(TITLES[key] for key in keys))]
        for category, figures in self.by["category"].items():
            count = max((one.count for one in figures.values()), default=0)
            categories.append((category, str(count), *(_text(key, figures.get(key)) for key in keys)))
        parts = ["# Quality of masks and names", about, markdown(self.table()), NOTES.strip()]
        parts += ["## By category", markdown(categories)]
        if self.confusions:
            rows = [(name, answer, str(count)) for name, answer, count in self.confusions[:MAX_CONFUSIONS]]
            parts += ["## Most confused", markdown([("right", "most probable label", "objects"), *rows])]
        return "\n\n".join(parts) + "\n"


def report(rows: Sequence[Row], about: Mapping[str, Any] | None = None, seed: int = 0) -> Report:
    """The report of the rows of one segmenter; ``seed`` is that of the bootstrap."""
    by: dict[str, dict[str, Figures]] = {}
    for kind, attribute in {"source": "source", "size": "size", "category": "name"}.items():
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            groups[getattr(row, attribute)].append(row)
        order = [size for size in SIZES if size in groups] if kind == "size" else sorted(groups)
        if kind != "category" and len(order) == 1:  # the same as all objects
            order = []
        by[kind] = {group: estimates(groups[group], seed, means=kind == "category") for group in order}
    pairs = Counter((row.name, row.best) for row in rows if row.best and not row.values.get("top_1", 1.0))
    confusions = tuple((name, best, count) for (name, best), count in pairs.most_common())
    return Report(about or {}, estimates(rows, seed), by, confusions)


def estimates(rows: Sequence[Row], seed: int = 0, *, means: bool = False) -> Figures:
    """The figures of rows by the keys of `TITLES`, as far as they were measured; only the means if ``means``."""
    keys = dict.fromkeys(key for row in rows for key in row.values)
    values = {key: np.array([row.values.get(key, math.nan) for row in rows]) for key in keys}
    images = np.array([row.image for row in rows], int)
    figures = {key: estimate_mean(values[key], images, seed=seed) for key in TITLES if key in values}
    for key, (statistic, score, right) in () if means else STATISTICS.items():
        if score in values and right in values:
            given = ~np.isnan(values[score] + values[right])
            of_weights = partial(statistic, values[score][given], values[right][given] > 0)
            figures[key] = estimate(of_weights, images[given], seed=seed)
    return {key: one for key, one in figures.items() if not math.isnan(one.value)}


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """Rows of text, a header first, as a table of Markdown.

    >>> print(markdown([("name", "objects"), ("cat", "3")]))
    | name | objects |
    | --- | --- |
    | cat | 3 |
    """
    header, *others = (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
    return "\n".join([header, "|" + " --- |" * (header.count("|") - 1), *others])


def _plain(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    return {key: one.to_dict() for key, one in figures.items()}


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items())
    return ", ".join(map(_words, value)) if isinstance(value, list) else str(value)


def _digits(key: str) -> int:
    return 1 if key.startswith("clicks_") else 3


def _text(key: str, figure: Estimate | None) -> str:
    return "" if figure is None or math.isnan(figure.value) else f"{figure.value:.{_digits(key)}f}"

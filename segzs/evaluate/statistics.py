"""Figures with their uncertainty: means, AUROC, calibration error, bootstrap over images, McNemar's test.

Objects of one picture resemble each other, so whole pictures are resampled, with all that is on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95
BINS = 15

Statistic = Callable[[np.ndarray], float]
"""From how often each object counts, float (N,), to a figure; NaN where there is none."""


@dataclass(frozen=True)
class Estimate:
    """A figure of ``count`` objects with the ends of its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float
    count: int

    def interval(self, digits: int = 3, sign: str = "") -> str:
        """The ends in words; nothing where one picture tells of none."""
        return "" if math.isnan(self.low) else f"{self.low:{sign}.{digits}f} to {self.high:{sign}.{digits}f}"

    def to_dict(self) -> dict[str, float | None]:
        """Plain values, ready for JSON, which knows no NaN."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {**{name: None if math.isnan(end) else float(end) for name, end in ends.items()}, "count": self.count}


NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


def mean(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean.

    >>> mean(np.array([1.0, 4.0]), np.array([2, 1]))
    2.0
    """
    return float(values @ weights / weights.sum()) if weights.any() else math.nan


def auroc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The probability that a positive has a higher score than a negative; ties count half; NaN without both kinds.

    >>> auroc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    weights = np.ones(len(scores)) if weights is None else weights
    _, places = np.unique(scores, return_inverse=True)
    of_positives = np.bincount(places, weights * positive)
    of_negatives = np.bincount(places, weights * ~positive)
    pairs = of_positives.sum() * of_negatives.sum()
    below = np.cumsum(of_negatives) - of_negatives / 2
    return float(of_positives @ below / pairs) if pairs else math.nan


def calibration_error(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over 15 equal bins of confidence.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3.

    >>> calibration_error(np.array([0.75, 0.75, 0.25]), np.array([1, 0, 0]))
    0.25
    """
    weights = np.ones(len(confidence)) if weights is None else weights
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights * (right - confidence), BINS)
    return float(np.abs(gaps).sum() / weights.sum()) if weights.any() else math.nan


def draws(pictures: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each picture is drawn in each of the resamples of so many, (resamples, pictures), of their numbers."""
    count = len(np.unique(pictures))
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)


def estimate_mean(values: np.ndarray, pictures: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The mean of float values (N,) of objects on pictures, numbers (N,), with its interval; NaN values do not count.

    >>> estimate_mean(np.array([0.0, 1.0, 1.0]), np.array([0, 1, 1])).high
    1.0
    """
    there = ~np.isnan(values)
    values, pictures = values[there], pictures[there]
    if not len(values):
        return NOTHING
    _, places = np.unique(pictures, return_inverse=True)
    drawn = draws(places, resamples, seed)
    means = drawn @ np.bincount(places, values) / (drawn @ np.bincount(places))
    return Estimate(float(values.mean()), *_ends(means, places), len(values))


def estimate(statistic: Statistic, pictures: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Any statistic of objects on pictures, numbers (N,), with its interval."""
    if not len(pictures):
        return NOTHING
    _, places = np.unique(pictures, return_inverse=True)
    values = np.array([statistic(drawn[places]) for drawn in draws(places, resamples, seed)])
    return Estimate(statistic(np.ones(len(places))), *_ends(values, places), len(places))


@dataclass(frozen=True)
class Difference:
    """Of the same ``count`` objects the figures of two configurations, second less first, its interval, and a test."""

    first: float
    second: float
    difference: Estimate
    p: float
    test: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = {"first": self.first, "second": self.second, "p": self.p}
        plain = {name: None if math.isnan(value) else float(value) for name, value in values.items()}
        return {**plain, "difference": self.difference.to_dict(), "test": self.test}


def difference_of_means(
    first: np.ndarray, second: np.ndarray, pictures: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Two configurations by the mean of float values (N,) of the same objects; those that lack either do not count.

    Rights and wrongs (0 and 1) are tested by McNemar's exact test, other values by the paired bootstrap over pictures.
    """
    there = ~(np.isnan(first) | np.isnan(second))
    first, second, pictures = first[there], second[there], pictures[there]
    if np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all():
        gap = estimate_mean(second - first, pictures, resamples=resamples, seed=seed)
        p = mcnemar(int((first > second).sum()), int((second > first).sum())) if len(set(pictures)) > 1 else math.nan
        return Difference(_mean(first), _mean(second), gap, p, "McNemar, exact")
    return difference(partial(mean, first), partial(mean, second), pictures, resamples=resamples, seed=seed)


def difference(
    first: Statistic, second: Statistic, pictures: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Two configurations by any statistic of the same objects, tested by the paired bootstrap over pictures."""
    if not len(pictures):
        return Difference(math.nan, math.nan, NOTHING, math.nan, "")
    _, places = np.unique(pictures, return_inverse=True)
    weights = [drawn[places] for drawn in draws(places, resamples, seed)]
    gaps = np.array([second(weight) - first(weight) for weight in weights])
    once = np.ones(len(places))
    gap = Estimate(second(once) - first(once), *_ends(gaps, places), len(places))
    known = gaps[~np.isnan(gaps)]
    extreme = 2 * min((known <= 0).sum(), (known >= 0).sum())
    p = min(1.0, max(extreme, 1) / len(known)) if len(known) and len(set(places)) > 1 else math.nan
    return Difference(first(once), second(once), gap, p, "paired bootstrap")


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of objects that only one of two configurations got right.

    Source: McNemar 1947; the binomial test of the discordant pairs.

    >>> mcnemar(1, 5)
    0.21875
    """
    pairs = only_first + only_second
    tail = sum(math.comb(pairs, count) for count in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**pairs)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _ends(values: np.ndarray, places: np.ndarray) -> tuple[float, float]:
    """The interval of resampled values; of a single picture nothing is known."""
    known = values[~np.isnan(values)]
    if not len(known) or places.max() == 0:
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)

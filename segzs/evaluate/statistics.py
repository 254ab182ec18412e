"""Figures with their uncertainty: means, AUROC, calibration error, bootstrap over images, McNemar's test.

Objects of one image resemble each other, so the bootstrap resamples images with all their objects.
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
"""From the weights of objects, float (N,), to a figure; NaN where there is none."""


@dataclass(frozen=True)
class Estimate:
    """A figure of ``count`` objects with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float
    count: int

    def interval(self, digits: int = 3, sign: str = "") -> str:
        """The interval as text; empty where there is none."""
        return "" if math.isnan(self.low) else f"{self.low:{sign}.{digits}f} to {self.high:{sign}.{digits}f}"

    def to_dict(self) -> dict[str, float | None]:
        """Plain values, ready for JSON; None instead of NaN."""
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
    _, ranks = np.unique(scores, return_inverse=True)
    of_positives = np.bincount(ranks, weights * positive)
    of_negatives = np.bincount(ranks, weights * ~positive)
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


def draws(images: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each image is drawn in each resample, int (resamples, distinct images)."""
    count = len(np.unique(images))
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)


def estimate_mean(values: np.ndarray, images: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The mean of values (N,) of objects on images, int (N,), with its interval; NaN values do not count.

    >>> estimate_mean(np.array([0.0, 1.0, 1.0]), np.array([0, 1, 1])).high
    1.0
    """
    given = ~np.isnan(values)
    values, images = values[given], images[given]
    if not len(values):
        return NOTHING
    _, indices = np.unique(images, return_inverse=True)
    drawn = draws(indices, resamples, seed)
    means = drawn @ np.bincount(indices, values) / (drawn @ np.bincount(indices))
    return Estimate(float(values.mean()), *_ends(means, indices), len(values))


def estimate(statistic: Statistic, images: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Any statistic of objects on images, int (N,), with its interval."""
    if not len(images):
        return NOTHING
    _, indices = np.unique(images, return_inverse=True)
    values = np.array([statistic(drawn[indices]) for drawn in draws(indices, resamples, seed)])
    return Estimate(statistic(np.ones(len(indices))), *_ends(values, indices), len(indices))


@dataclass(frozen=True)
class Difference:
    """The figures of two configurations on the same objects, second minus first with its interval, and a test."""

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
    first: np.ndarray, second: np.ndarray, images: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Compare the means of values (N,) of the same objects on images, int (N,); NaN values do not count.

    Values that are 0 or 1 are tested by McNemar's exact test, other values by the paired bootstrap over images.
    """
    given = ~(np.isnan(first) | np.isnan(second))
    first, second, images = first[given], second[given], images[given]
    if np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all():
        gap = estimate_mean(second - first, images, resamples=resamples, seed=seed)
        p = mcnemar(int((first > second).sum()), int((second > first).sum())) if len(set(images)) > 1 else math.nan
        return Difference(_mean(first), _mean(second), gap, p, "McNemar, exact")
    return difference(partial(mean, first), partial(mean, second), images, resamples=resamples, seed=seed)


def difference(
    first: Statistic, second: Statistic, images: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Compare any statistic of the same objects on images, int (N,), by the paired bootstrap over images."""
    if not len(images):
        return Difference(math.nan, math.nan, NOTHING, math.nan, "")
    _, indices = np.unique(images, return_inverse=True)
    weights = [drawn[indices] for drawn in draws(indices, resamples, seed)]
    gaps = np.array([second(weight) - first(weight) for weight in weights])
    once = np.ones(len(indices))
    gap = Estimate(second(once) - first(once), *_ends(gaps, indices), len(indices))
    valid = gaps[~np.isnan(gaps)]
    extreme = 2 * min((valid <= 0).sum(), (valid >= 0).sum())
    p = min(1.0, max(extreme, 1) / len(valid)) if len(valid) and len(set(indices)) > 1 else math.nan
    return Difference(first(once), second(once), gap, p, "paired bootstrap")


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of the numbers of objects that only one of two configurations got right.

    Source: McNemar 1947; the binomial test of the discordant pairs.

    >>> mcnemar(1, 5)
    0.21875
    """
    pairs = only_first + only_second
    tail = sum(math.comb(pairs, count) for count in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**pairs)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _ends(values: np.ndarray, indices: np.ndarray) -> tuple[float, float]:
    """The interval of resampled values; NaN for a single image."""
    valid = values[~np.isnan(values)]
    if not len(valid) or indices.max() == 0:
        return math.nan, math.nan
    low, high = np.quantile(valid, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)

"""Figures with their uncertainty: means, AUROC, calibration error, each with the bootstrap over images.

Objects of one image resemble each other, so the bootstrap resamples images with all their objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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

    def interval(self, digits: int = 3) -> str:
        """The interval as text; empty where there is none."""
        return "" if math.isnan(self.low) else f"{self.low:.{digits}f} to {self.high:.{digits}f}"

    def to_dict(self) -> dict[str, float | None]:
        """Plain values for JSON; None instead of NaN."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {**{name: None if math.isnan(end) else float(end) for name, end in ends.items()}, "count": self.count}


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


def estimate_mean(values: np.ndarray, images: np.ndarray, *, seed: int = 0) -> Estimate:
    """The mean of values (N,) of objects on images, int (N,), with its interval; NaN values do not count.

    >>> estimate_mean(np.array([0.0, 1.0, 1.0]), np.array([0, 1, 1])).high
    1.0
    """
    given = ~np.isnan(values)
    values, (_, indices) = values[given], np.unique(images[given], return_inverse=True)
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan, 0)
    drawn = _draws(indices, seed)
    means = drawn @ np.bincount(indices, values) / (drawn @ np.bincount(indices))
    return Estimate(float(values.mean()), *_interval(means, indices), len(values))


def estimate(statistic: Statistic, images: np.ndarray, *, seed: int = 0) -> Estimate:
    """Any statistic of objects on images, int (N,), with its interval."""
    if not len(images):
        return Estimate(math.nan, math.nan, math.nan, 0)
    _, indices = np.unique(images, return_inverse=True)
    values = np.array([statistic(drawn[indices]) for drawn in _draws(indices, seed)])
    return Estimate(statistic(np.ones(len(indices))), *_interval(values, indices), len(indices))


def _draws(images: np.ndarray, seed: int) -> np.ndarray:
    """How often each image is drawn in each resample, int (resamples, images)."""
    count = int(images.max()) + 1
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)


def _interval(values: np.ndarray, images: np.ndarray) -> tuple[float, float]:
    """The interval of resampled values; NaN for a single image."""
    valid = values[~np.isnan(values)]
    if not len(valid) or images.max() == 0:
        return math.nan, math.nan
    low, high = np.quantile(valid, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)

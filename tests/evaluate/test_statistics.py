import math

import numpy as np
import pytest

from segzs.evaluate.statistics import auroc, calibration_error, estimate, estimate_mean


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.4
    pairs = [(p > n) + (p == n) / 2 for p in scores[positive] for n in scores[~positive]]
    assert auroc(scores, positive) == pytest.approx(np.mean(pairs))
    assert auroc(np.array([0.1, 0.9]), np.array([False, True])) == 1
    assert auroc(np.array([0.1, 0.9]), np.array([True, False])) == 0
    assert math.isnan(auroc(np.array([0.1, 0.9]), np.array([True, True])))


def test_weights_count_objects_as_if_they_were_there_so_often() -> None:
    rng = np.random.default_rng(1)
    scores, right, often = rng.random(30), rng.random(30) < 0.5, rng.integers(0, 4, 30)
    repeated = np.repeat(np.arange(30), often)
    assert auroc(scores, right, often) == pytest.approx(auroc(scores[repeated], right[repeated]))
    assert calibration_error(scores, right, often) == pytest.approx(
        calibration_error(scores[repeated], right[repeated])
    )


def test_calibration_error_by_hand() -> None:
    """Two of four right at 0.9 is a gap of 0.4 for them, one of one at 1.0 none, none of one at 0.05 a gap of 0.05."""
    confidence, right = np.array([0.9, 0.9, 0.9, 0.9, 1.0, 0.05]), np.array([1, 1, 0, 0, 1, 0])
    assert calibration_error(confidence[:4], right[:4]) == pytest.approx(0.4)
    # 0.9 and 1.0 lie in different bins of a fifteenth each
    assert calibration_error(confidence, right) == pytest.approx((4 * 0.4 + 0 + 0.05) / 6)
    assert calibration_error(np.array([0.0]), np.array([0])) == 0


def test_intervals_are_those_of_resampled_images() -> None:
    """Ten objects of an image that are all right or all wrong tell no more than one would."""
    images = np.repeat(np.arange(50), 10)
    values = (images % 2).astype(float)
    wide, narrow = estimate_mean(values, images), estimate_mean(values, np.arange(500))
    assert wide.value == narrow.value == 0.5
    assert wide.count == 500
    assert wide.high - wide.low == pytest.approx(4 * 0.5 / math.sqrt(50), rel=0.15)
    assert narrow.high - narrow.low == pytest.approx(4 * 0.5 / math.sqrt(500), rel=0.15)
    assert estimate_mean(values, images) == wide
    assert estimate_mean(values, images, seed=1) != wide


def test_a_mean_is_the_same_statistic_by_both_ways() -> None:
    rng = np.random.default_rng(2)
    values, images = rng.random(60), rng.integers(0, 12, 60)
    slow = estimate(lambda weights: float(np.average(values, weights=weights)), images)
    fast = estimate_mean(values, images)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high))


def test_what_was_not_measured_does_not_count_and_one_image_has_no_interval() -> None:
    one = estimate_mean(np.array([1.0, math.nan, 0.0]), np.array([0, 1, 2]))
    assert (one.value, one.count) == (0.5, 2)
    alone = estimate_mean(np.array([1.0, 0.0]), np.array([7, 7]))
    assert alone.value == 0.5
    assert math.isnan(alone.low)
    assert alone.to_dict() == {"value": 0.5, "low": None, "high": None, "count": 2}
    assert estimate_mean(np.array([math.nan]), np.array([0])).to_dict()["value"] is None

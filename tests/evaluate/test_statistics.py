import math

import numpy as np
import pytest

from segzs.evaluate.statistics import (
    auroc,
    calibration_error,
    difference,
    difference_of_means,
    estimate,
    estimate_mean,
    mcnemar,
)


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


def test_intervals_are_those_of_resampled_pictures() -> None:
    """Ten objects a picture that are all right or all wrong tell no more than one would."""
    pictures = np.repeat(np.arange(50), 10)
    values = (pictures % 2).astype(float)
    wide, narrow = estimate_mean(values, pictures), estimate_mean(values, np.arange(500))
    assert wide.value == narrow.value == 0.5
    assert wide.count == 500
    assert wide.high - wide.low == pytest.approx(4 * 0.5 / math.sqrt(50), rel=0.15)
    assert narrow.high - narrow.low == pytest.approx(4 * 0.5 / math.sqrt(500), rel=0.15)
    assert estimate_mean(values, pictures) == wide
    assert estimate_mean(values, pictures, seed=1) != wide


def test_a_mean_is_the_same_statistic_by_both_ways() -> None:
    rng = np.random.default_rng(2)
    values, pictures = rng.random(60), rng.integers(0, 12, 60)
    slow = estimate(lambda weights: float(np.average(values, weights=weights)), pictures)
    fast = estimate_mean(values, pictures)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high))


def test_what_was_not_measured_does_not_count_and_one_picture_has_no_interval() -> None:
    one = estimate_mean(np.array([1.0, math.nan, 0.0]), np.array([0, 1, 2]))
    assert (one.value, one.count) == (0.5, 2)
    alone = estimate_mean(np.array([1.0, 0.0]), np.array([7, 7]))
    assert alone.value == 0.5
    assert math.isnan(alone.low)
    assert alone.to_dict() == {"value": 0.5, "low": None, "high": None, "count": 2}
    assert estimate_mean(np.array([math.nan]), np.array([0])).to_dict()["value"] is None


def test_one_picture_is_compared_without_a_test_and_an_interval() -> None:
    one = difference_of_means(np.array([0.0, 1.0]), np.array([1.0, 1.0]), np.array([3, 3]))
    assert math.isnan(one.p)
    assert (one.difference.value, one.difference.interval()) == (0.5, "")
    two = difference_of_means(np.array([0.0, 1.0]), np.array([1.0, 1.0]), np.array([3, 4]))
    assert (two.p, two.difference.interval(1, "+")) == (1.0, "+0.0 to +1.0")


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(4, 4) == 1
    assert mcnemar(0, 10) == pytest.approx(2 / 2**10)
    assert mcnemar(10, 2) == mcnemar(2, 10) == pytest.approx(2 * (1 + 12 + 66) / 2**12)


def test_rights_and_wrongs_are_compared_by_mcnemar_and_other_values_by_the_bootstrap() -> None:
    pictures = np.arange(40)
    first, second = np.zeros(40), np.zeros(40)
    second[:10] = 1
    right = difference_of_means(first, second, pictures)
    assert (right.first, right.second, right.difference.value) == (0, 0.25, 0.25)
    assert 0.1 < right.difference.low < 0.25 < right.difference.high <= 0.4
    assert (right.test, right.p) == ("McNemar, exact", pytest.approx(2 / 2**10))
    values = np.random.default_rng(0).random(40)
    shifted = difference_of_means(values, values + 0.1, pictures)
    assert shifted.test == "paired bootstrap"
    assert (shifted.difference.low, shifted.difference.high) == pytest.approx((0.1, 0.1))
    assert shifted.p <= 0.002
    assert difference_of_means(values, values, pictures).p == 1


def test_only_objects_that_both_have_are_compared() -> None:
    first, second = np.array([1, math.nan, 0, 0]), np.array([1, 1, math.nan, 1])
    found = difference_of_means(first, second, np.arange(4))
    assert (found.first, found.second, found.difference.count) == (0.5, 1, 2)
    nothing = difference(lambda w: 0, lambda w: 0, np.array([], int))
    assert nothing.difference.count == 0
    assert nothing.to_dict()["p"] is None

"""Gains and their uncertainty, against scipy and against what is known of normal means."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from seodang.evaluation.gains import gain, interval, mcnemar


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (300, 220)])
def test_mcnemar_is_the_exact_binomial_test(one: int, other: int) -> None:
    wanted = binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(wanted, rel=1e-9)


def test_the_interval_is_that_of_the_paired_difference() -> None:
    generator = np.random.default_rng(1)
    shared, count = generator.normal(size=4000), 4000
    ones, others = shared + generator.normal(0.05, 0.1, count), shared
    low, high = interval(ones, others, np.ones(count))
    differences = ones - others
    reach = 1.96 * differences.std(ddof=1) / count**0.5
    assert (low, high) == pytest.approx((differences.mean() - reach, differences.mean() + reach), abs=reach / 8)
    assert high - low < shared.std() / 60  # not the interval of two independent means


def test_weights_say_over_how_many_things_a_sum_is() -> None:
    ones, others, weights = np.array([4.0, 2.0] * 50), np.array([2.0, 2.0] * 50), np.array([2.0, 1.0] * 50)
    found = gain("loss", "a", "b", ones, others, weights)
    assert found.difference == pytest.approx(100 / 150)
    assert found.low < found.difference < found.high
    assert (found.only_one, found.p) == (None, None)


def test_right_and_wrong_are_counted_for_each() -> None:
    ones, others = np.array([1.0, 1, 1, 0, 0, 1]), np.array([1.0, 0, 0, 1, 0, 0])
    found = gain("accuracy", "a", "b", ones, others, np.ones(6), right=True)
    assert (found.only_one, found.only_other) == (3, 1)
    assert found.p == pytest.approx(binomtest(3, 4).pvalue)
    assert not found.certain

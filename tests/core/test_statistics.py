"""The t interval is Student's, a planted difference is found, and noise is called noise as often as promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from seodang.core.statistics import mean_of, paired, t_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 29, 100])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99, 0.9995])
def test_the_quantile_is_student_s(degrees: int, level: float) -> None:
    assert t_quantile(degrees, level) == pytest.approx(stats.t.ppf((1 + level) / 2, degrees), rel=1e-9)


def test_mean_and_standard_error() -> None:
    values = [0.91, 0.93, 0.95, 0.92]
    assert mean_of(values)[1:] == pytest.approx((np.mean(values), stats.sem(values)))
    assert mean_of([0.5]) == (1, 0.5, None)
    assert mean_of([]) == (0, None, None)


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    ones, others = [0.91, 0.94, 0.95, 0.90, 0.97], [0.90, 0.91, 0.93, 0.88, 0.95]
    found = paired(ones, others, "max")
    expected = stats.ttest_rel(ones, others).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.verdict == "better"
    assert paired(ones, others, "min").verdict == "worse"
    assert paired(others, ones, "max").verdict == "worse"


def test_what_all_seeds_share_does_not_hide_a_difference() -> None:
    """Seeds differ by 10 %, variants by 1 %: only pairing shows it."""
    luck = [0.5, 0.6, 0.7, 0.8, 0.9]
    better = [value + 0.01 + 0.001 * place for place, value in enumerate(luck)]
    assert paired(better, luck, "max").verdict == "better"
    assert paired(better, luck[::-1], "max").verdict == "noise"


def test_noise_alone_is_called_noise_as_often_as_promised() -> None:
    random = np.random.default_rng(0)
    draws = random.normal(size=(2000, 2, 4))
    wrong = sum(paired(list(a), list(b), "max").verdict != "noise" for a, b in draws)
    assert 0.035 < wrong / len(draws) < 0.065


def test_several_comparisons_together_are_wrong_no_more_often_than_one() -> None:
    random = np.random.default_rng(1)
    draws = random.normal(size=(1000, 6, 4))
    wrong = [
        any(paired(list(row), list(rows[0]), "max", comparisons=5).verdict != "noise" for row in rows[1:])
        for rows in draws
    ]
    careless = [any(paired(list(row), list(rows[0]), "max").verdict != "noise" for row in rows[1:]) for rows in draws]
    assert np.mean(wrong) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(draws))
    assert np.mean(careless) > 0.1


def test_too_little_to_judge_by_is_said() -> None:
    assert paired([0.9], [0.8], "max").verdict == "unknown"
    assert paired([], [], "max").verdict == "unknown"
    assert paired([0.75, 0.5], [0.5, 0.25], "max").verdict == "alike"
    assert paired([0.5, 0.5], [0.5, 0.5], "max").verdict == "alike"

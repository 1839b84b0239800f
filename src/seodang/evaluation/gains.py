"""Whether one model is better than another on the same examples, by more than the luck of the examples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seodang.core.statistics import LEVEL

RESAMPLES = 2_000

Numbers = NDArray[np.float64]


class Gain(NamedTuple):
    """How far one is above another: on these examples, and the interval the examples leave it in.

    `only_one`, `only_other`: examples only one of them is right about, and the probability of so uneven a number, or a more
    uneven one, if both were equally good (McNemar); None where there is no right and wrong.
    """

    metric: str
    one: str
    other: str
    difference: float
    low: float
    high: float
    only_one: int | None = None
    only_other: int | None = None
    p: float | None = None

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0 <= self.high


def interval(ones: Numbers, others: Numbers, weights: Numbers, seed: int = 0) -> tuple[float, float]:
    """Return the paired bootstrap interval of the difference of two means: the same examples drawn anew for both.

    Source: Efron 1979, "Bootstrap methods", Annals of Statistics 7; the percentile interval of Efron & Tibshirani 1993,
    "An introduction to the bootstrap", ch. 13.
    Shapes: each (N,): sums over an example, and over how many things they are.
    """
    generator = np.random.default_rng(seed)
    differences, count = ones - others, len(ones)
    means = np.empty(RESAMPLES)
    for place in range(RESAMPLES):
        rows = generator.integers(0, count, count)
        means[place] = differences[rows].sum() / weights[rows].sum()
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mcnemar(only_one: int, only_other: int) -> float:
    """Return the probability of at least so uneven a split of the examples that only one of two models is right about.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12; the
    exact binomial form.
    """
    count, fewer = only_one + only_other, min(only_one, only_other)
    if count == 0:
        return 1.0
    tail = sum(math.comb(count, place) for place in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << count))


def gain(
    metric: str, one: str, other: str, ones: Numbers, others: Numbers, weights: Numbers, right: bool = False
) -> Gain:
    """Return the gain of `one` over `other`; `right`: the values say of each example whether it is right."""
    low, high = interval(ones, others, weights)
    difference = float((ones - others).sum() / weights.sum())
    if not right:
        return Gain(metric, one, other, difference, low, high)
    only_one, only_other = int(((ones == 1) & (others == 0)).sum()), int(((ones == 0) & (others == 1)).sum())
    return Gain(metric, one, other, difference, low, high, only_one, only_other, mcnemar(only_one, only_other))

"""Means of repeated measurements with their standard errors, and whether a paired difference is more than luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

LEVEL = 0.95
"""Confidence of every interval; of a comparison, of all its statements together."""


class Mean(NamedTuple):
    """A mean over seeds or other repetitions, and its standard error; None where there is nothing to estimate it from."""

    seeds: int
    mean: float | None
    standard_error: float | None


class Difference(NamedTuple):
    """How far a variant is above another, seed by seed, and an interval that holds the true difference."""

    seeds: int
    mean: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    verdict: str
    """``better``, ``worse``, ``noise`` (the interval holds 0), ``alike`` (no spread to judge by), ``unknown``."""


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of finite `values` and its standard error s/√n, with n − 1 in s."""
    count = len(values)
    if count == 0:
        return Mean(0, None, None)
    mean = math.fsum(values) / count
    if count == 1:
        return Mean(1, mean, None)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return Mean(count, mean, math.sqrt(variance / count))


def paired(ones: Sequence[float], others: Sequence[float], mode: str, comparisons: int = 1) -> Difference:
    """Return ``ones - others`` of the same seeds, with its t interval.

    With several comparisons the intervals are widened so that all of them together hold with `LEVEL` (Bonferroni).
    If no seed differs from another in the difference, there is no spread to estimate its noise from.

    Source: Student 1908, "The probable error of a mean"; Dunn 1961, "Multiple comparisons among means".
    """
    differences = [one - other for one, other in zip(ones, others, strict=True)]
    count, mean, error = mean_of(differences)
    if mean is None or error is None:
        return Difference(count, mean, None, None, None, "unknown")
    if error <= 1e-12 * max(1e-12, *map(abs, ones), *map(abs, others)):
        return Difference(count, mean, error, mean, mean, "alike")
    reach = t_quantile(count - 1, 1 - (1 - LEVEL) / max(comparisons, 1)) * error
    low, high = mean - reach, mean + reach
    if low <= 0 <= high:
        return Difference(count, mean, error, low, high, "noise")
    return Difference(count, mean, error, low, high, "better" if (mean > 0) == (mode == "max") else "worse")


def t_probability(degrees: int, t: float) -> float:
    """Return P(-t < T < t) of Student's distribution.

    Source: Abramowitz & Stegun 1964, "Handbook of mathematical functions", 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2 == 1
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(1 if odd else 0, degrees - 1, 2):
        total += term
        term *= cosine**2 * (k + 1) / (k + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def t_quantile(degrees: int, level: float) -> float:
    """Return the t with P(-t < T < t) = level, by bisection."""
    low, high = 0.0, 1.0
    while t_probability(degrees, high) < level:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(degrees, middle) < level else (low, middle)
    return (low + high) / 2

"""Round ticks, and numbers as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seodang.visualize.figure import Axis
from seodang.visualize.scale import Scale, duration, large, limits, number, percent, size, text_width, tick_text, ticks


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0.955, 0.98) == [0.955, 0.96, 0.965, 0.97, 0.975, 0.98]
    assert ticks(0.02, 3.0, log=True) == [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    assert ticks(1, 1e6, log=True) == [1, 10, 100, 1e3, 1e4, 1e5, 1e6]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_limits_hold_all_values(low: float, reach: float) -> None:
    a, b = limits([low, low + reach], Axis())
    assert a <= low + 1e-6 * reach
    assert b >= low + reach - 1e-6 * reach
    found = ticks(a, b)
    assert 2 <= len(found) <= 12
    assert all(a - 1e-6 * (b - a) <= tick <= b + 1e-6 * (b - a) for tick in found)


def test_limits_of_nothing_and_of_one_value() -> None:
    assert limits([], Axis()) == (0.0, 1.0)
    assert limits([0.5, 0.5], Axis()) == (0.0, 1.0)
    assert limits([-2.0, -2.0], Axis()) == (-3.0, -1.0)
    assert limits([3.0], Axis(limits=(0.0, 9.0))) == (0.0, 9.0)


def test_scale_maps_ends_to_ends() -> None:
    scale = Scale(0, 10, 100, 200)
    assert (scale(0), scale(5), scale(10)) == (100, 150, 200)
    scale = Scale(0.01, 100, 0, 40, log=True)
    assert scale(0.01) == pytest.approx(0)
    assert scale(1) == pytest.approx(20)
    assert math.isfinite(scale(0.0))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12300, "12,300"), (0.0412345, "0.0412"), (-1.5, "−1.5"), (1e-7, "1e−7"), (math.nan, "?"), (math.inf, "∞"),
     (99.999, "100"), (2.5e20, "2.5e20")],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5))
def test_no_two_ticks_read_the_same(low: float, reach: float) -> None:
    a, b = limits([low, low + reach], Axis())
    found = ticks(a, b)
    texts = [tick_text(tick, Axis(), found[1] - found[0]) for tick in found]
    assert len(set(texts)) == len(texts), texts


def test_other_quantities() -> None:
    assert (percent(0.5), percent(0.99434), percent(1.0), percent(0.073)) == ("50 %", "99.43 %", "100 %", "7.3 %")
    assert (large(9610), large(1_810_000), large(2.5e9)) == ("9,610", "1.81 M", "2.5 G")
    assert (size(999), size(33_800), size(4.86e8)) == ("999 B", "33.8 kB", "486 MB")
    assert (duration(0.084), duration(61), duration(600), duration(7500)) == ("0.084 s", "61 s", "10 min", "2 h 5 min")
    assert text_width("서당") > text_width("ab")

"""Columns, wide letters, numbers."""

from __future__ import annotations

import math

import pytest

from seodang.cli.display import byte_count, duration, number, score
from seodang.cli.layout import columns, table, width, wrapped


def test_korean_letters_take_two_cells() -> None:
    assert width("학습률 lr") == 9
    lines = columns([("이름", "값"), ("name", "value")])
    assert lines == ["이름  값", "name  value"]
    right = table(["점수", "모델"], [["정확도", "98 %"], ["loss", "0.1"]], numeric=(1,))
    assert {width(line) for line in right} == {12}


def test_the_last_column_folds_below_itself() -> None:
    lines = columns([("name", "one two three four five six seven")], total=32, indent=2)
    assert lines == ["  name  one two three four five", "        six seven"]
    assert wrapped("가나다 라마바", 7) == ["가나다", "라마바"]
    assert wrapped("as it is", None) == ["as it is"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.069012, "0.06901"), (2.3456, "2.346"), (97.5, "97.50"), (123456.7, "123,457"), (0, "0"), (12, "12"),
     (1.5e-7, "1.5e-07"), (math.inf, "inf"), (math.nan, "nan"), (-0.5, "-0.5000")],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_shares_are_percent_and_losses_are_not() -> None:
    assert score("accuracy", 0.98612) == "98.61 %"
    assert score("top5_accuracy", 1.0) == "100.00 %"
    assert score("loss", 0.5) == "0.5000"
    assert score("accuracy", math.nan) == "nan"


def test_durations_and_sizes() -> None:
    assert [duration(value) for value in (0.04, 9.96, 42.4, 61, 3600, math.inf)] == [
        "0.0 s", "10.0 s", "42 s", "1 min 01 s", "1 h 00 min", "?"]  # fmt: skip
    assert [byte_count(value) for value in (12, 1234, 5e8, 7e12)] == ["12 B", "1.23 kB", "500 MB", "7 TB"]

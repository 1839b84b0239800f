"""Which evaluation is the best, and when patience ends."""

from __future__ import annotations

import pytest

from seodang.training.progress import Patience


@pytest.mark.parametrize(("mode", "sign"), [("max", 1.0), ("min", -1.0)])
def test_the_later_of_equals_is_best_but_renews_no_patience(mode: str, sign: float) -> None:
    patience = Patience(("score", mode), limit=3, choose=True)
    judged = [
        (patience.judge({"score": sign * value}, step), patience.waited) for step, value in enumerate([1, 2, 1, 2, 2])
    ]
    assert judged == [(True, 0), (True, 0), (False, 1), (True, 2), (True, 3)]
    assert patience.exhausted


def test_what_is_not_a_number_is_never_best() -> None:
    patience = Patience(("score", "max"), limit=None, choose=True)
    assert [patience.judge({"score": value}, 0) for value in (float("nan"), 0.1, float("nan"))] == [False, True, False]


def test_without_a_split_to_choose_by_none_is_best() -> None:
    assert not Patience(("score", "max"), limit=None, choose=False).judge({"score": 1.0}, 0)

"""Curves are the events of the run, and the best one is the one whose checkpoint was kept."""

from __future__ import annotations

from typing import Any

import pytest

from seodang.visualize.draw import svg
from seodang.visualize.figure import Lines, Panels
from seodang.visualize.history import MOST_LAYERS, curves, score_text, watched


def stepped(step: int, loss: float, **losses: float) -> dict[str, Any]:
    return {"event": "stepped", "step": step, "losses": losses or {"model": loss}, "lr": 0.1 / step, "grad_norm": 1.0 * step,
            "examples_per_second": 10.0, "epoch": step / 10, "progress": 0.0, "seconds": 1.0}  # fmt: skip


def evaluated(step: int, split: str = "valid", best: bool = False, **scores: float) -> dict[str, Any]:
    return {"event": "evaluated", "step": step, "split": split, "scores": scores, "best": best, "epoch": step / 10}


EVENTS = [
    {"event": "started", "step": 0},
    evaluated(0, loss=2.3, accuracy=0.1),
    stepped(10, 1.5),
    evaluated(10, best=True, loss=1.0, accuracy=0.9),
    stepped(20, 0.9),
    evaluated(20, best=True, loss=0.8, accuracy=0.95),
    stepped(30, 0.8),
    evaluated(30, loss=0.85, accuracy=0.94),
    evaluated(30, split="test", loss=9.0, accuracy=0.5),
]


def figures(events: list[dict[str, Any]], monitor: tuple[str, str] = ("accuracy", "max")) -> dict[str, Lines]:
    return {figure.name: figure for figure in curves(events, monitor)}


def test_the_curves_are_the_events() -> None:
    found = figures(EVENTS)
    assert list(found) == ["loss", "score-accuracy", "lr", "grad_norm"]
    training, validation = found["loss"].series
    assert (training.name, training.x, training.y) == ("training", (1.0, 2.0, 3.0), (1.5, 0.9, 0.8))
    assert (validation.name, validation.y) == ("validation", (2.3, 1.0, 0.8, 0.85))
    assert found["score-accuracy"].series[0].y == (0.1, 0.9, 0.95, 0.94), (
        "the final test score is no point of this curve"
    )
    assert found["lr"].series[0].y == pytest.approx((0.01, 0.005, 0.1 / 30))
    assert found["loss"].x.label == "epoch"


def test_the_best_is_marked_where_the_score_decides() -> None:
    (mark,) = figures(EVENTS)["score-accuracy"].marks
    assert (mark.x, mark.y, mark.text) == (2.0, 0.95, "best 95 %, update 20")
    assert figures(EVENTS)["loss"].marks == ()
    (mark,) = figures(EVENTS, ("loss", "min"))["loss"].marks
    assert (mark.x, mark.y) == (2.0, 0.8)


def test_two_networks_have_two_losses() -> None:
    events = [stepped(10, 0, discriminator=1.2, generator=0.7), stepped(20, 0, discriminator=1.1, generator=0.9)]
    found = figures(events)["loss"]
    assert [(series.name, series.y) for series in found.series] == [
        ("discriminator", (1.2, 1.1)),
        ("generator", (0.7, 0.9)),
    ]
    assert len({series.colour for series in found.series} | {1}) == 3, "orange stays with what is held out"


def test_numbers_that_are_not_finite_leave_a_gap() -> None:
    events = [stepped(10, 1.0), {**stepped(20, 0), "losses": {"model": "nan"}}, stepped(30, 2.0)]
    assert figures(events)["loss"].series[0].y == (1.0, 2.0)


def test_a_wide_range_is_logarithmic_and_a_narrow_one_is_not() -> None:
    assert figures([stepped(1, 10.0), stepped(2, 0.1)])["loss"].y.log
    assert not figures([stepped(1, 1.0), stepped(2, 0.5)])["loss"].y.log
    assert not figures([stepped(1, 10.0), stepped(2, -0.1)])["loss"].y.log


def test_the_first_steps_from_chance_do_not_flatten_the_rest() -> None:
    events = [evaluated(0, accuracy=0.1)] + [evaluated(step, accuracy=0.97 + step / 1000) for step in range(1, 11)]
    low, high = figures(events)["score-accuracy"].y.limits or (0, 0)
    assert 0.9 < low < 0.972
    assert high <= 1.0
    slow = [evaluated(step, accuracy=step / 10) for step in range(10)]
    assert figures(slow)["score-accuracy"].y.limits is None


def test_a_score_measured_once_is_no_curve() -> None:
    assert "score-bound" not in figures([*EVENTS, evaluated(40, bound=1.0)])


def test_of_many_scores_all_but_the_first_are_small() -> None:
    events = [evaluated(step, b=1.0 * step, accuracy=0.5, c=2.0, d=3.0, e=4.0) for step in range(3)]
    found = curves(events, ("accuracy", "max"))
    assert [figure.name for figure in found] == ["loss", "score-accuracy", "scores"]
    panels = found[-1]
    assert isinstance(panels, Panels)
    assert [panel.title for panel in panels.panels] == ["B", "C", "D", "E"]
    assert panels.panels[0].series[0].y == (0.0, 1.0, 2.0)
    svg(panels)
    three = [evaluated(step, b=1.0, accuracy=0.5, c=2.0) for step in range(3)]
    assert [figure.name for figure in curves(three, ("accuracy", "max"))] == [
        "loss",
        "score-accuracy",
        "score-b",
        "score-c",
    ]


def test_nothing_has_no_curves() -> None:
    assert curves([], ("loss", "min")) == []
    assert watched([]) == []
    assert score_text("accuracy", 0.9812) == "98.1 %"
    assert score_text("elbo", -97.456) == "−97.46"


def test_the_size_of_the_weights_is_drawn_layer_by_layer() -> None:
    few = [
        {**stepped(step, 1.0), "layers": {"a": {"weight": 0.1 * step}, "b": {"weight": 0.5}}} for step in (10, 20, 30)
    ]
    found = {figure.name: figure for figure in curves(few, ("loss", "min"))}["weights-size"]
    assert [(line.name, tuple(line.y)) for line in found.series] == [("a", (1.0, 2.0, 3.0)), ("b", (0.5, 0.5, 0.5))]
    many = [{**stepped(step, 1.0), "layers": {str(place): {"weight": 1.0} for place in range(50)}} for step in (10, 20)]
    found = {figure.name: figure for figure in curves(many, ("loss", "min"))}["weights-size"]
    names = [line.name for line in found.series]
    assert len(names) == MOST_LAYERS and names[0] == "0" and names[-1] == "49"
    assert "weights-size" not in [figure.name for figure in curves([stepped(1, 1.0), stepped(2, 1.0)], ("loss", "min"))]

"""Curves of robustness: the score of one or more runs over the level of noise, with the spread over drawings of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seodang.core.language import say
from seodang.visualize.figure import Axis, Column, Lines, Series, Table
from seodang.visualize.history import is_share, score_name, score_text, split_name
from seodang.visualize.scale import number


def robustness_figure(found: Mapping[str, Any]) -> Lines:
    """Return the curves of all runs over each other, each in the band of its standard error."""
    name = found["metric"]
    series = tuple(
        Series(run, tuple(point["level"] for point in points), tuple(point["mean"] for point in points),
               band=(tuple(point["mean"] - (point["standard_error"] or 0) for point in points),
                     tuple(point["mean"] + (point["standard_error"] or 0) for point in points)) if found["repeats"] > 1 else None)
        for run, points in found["runs"].items()
    )  # fmt: skip
    what = say("Noise in the inputs") if found["where"] == "inputs" else say("Noise in the weights")
    title = say("{score} on {split}", score=score_name(name), split=split_name(found["split"]))
    said = "; ".join(
        f"{run}: {score_text(name, points[0]['mean'])} → {score_text(name, points[-1]['mean'])}"
        for run, points in found["runs"].items()
    )
    about = say(
        "The mean over {count} drawings of the noise, in the band of its standard error.", count=found["repeats"]
    )
    return Lines(what, f"{title}. {said}", series, Axis(what, unit=unit_text(found["unit"])), Axis(title, percent=is_share(name)),
                 about=about if found["repeats"] > 1 else "", name=f"noise-{found['where']}")  # fmt: skip


def unit_text(unit: str) -> str:
    """Return a unit of noise in the reader's language."""
    return {
        "grey levels of 255": say("grey levels of 255"),
        "standard deviations": say("standard deviations"),
        "standard deviations of each weight tensor": say("standard deviations of each weight tensor"),
    }.get(unit, unit)


def robustness_table(found: Mapping[str, Any]) -> Table:
    """Return the same in numbers: a row for each level, a column for each run."""
    name, runs = found["metric"], found["runs"]
    heads = (Column(say("noise"), number=True), *(Column(run, number=True) for run in runs))
    rows, values = [], []
    for place, level in enumerate(found["levels"]):
        points = [points[place] for points in runs.values()]
        rows.append((number(level), *(_cell(name, point) for point in points)))
        values.append((float(level), *(float(point["mean"]) for point in points)))
    title = say("Noise in the inputs") if found["where"] == "inputs" else say("Noise in the weights")
    about = say(
        "In {unit}. Mean ± standard error over {count} drawings.", unit=unit_text(found["unit"]), count=found["repeats"]
    )
    return Table(title, about, heads, tuple(rows), tuple(values), about=about, name=f"noise-{found['where']}-table")


def _cell(name: str, point: Mapping[str, Any]) -> str:
    """Return mean ± standard error with as many digits as tell runs apart: of shares in per cent, two."""
    mean, error = point["mean"], point["standard_error"]
    if not is_share(name):
        return number(mean, 4) + (f" ± {number(error, 2)}" if error is not None else "")
    return f"{100 * mean:.2f}" + (f" ± {100 * error:.2f}" if error is not None else "") + " %"

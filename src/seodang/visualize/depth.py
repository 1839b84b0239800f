"""The chart of a depth test: gradient in the first layer over the number of layers, with and without residual connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seodang.core.language import say
from seodang.visualize.figure import Axis, Column, Figure, Lines, Series, Table
from seodang.visualize.gradients import EXPLODED, VANISHED
from seodang.visualize.scale import number

Found = Sequence[Mapping[str, Any]]
"""What `seodang.training.depth_test` measured, each as a mapping."""


def depth_figures(found: Found, steps: int) -> list[Figure]:
    """Return the charts (at first, and after the updates) and the table behind them."""
    verdict = depth_verdict(found)
    charts = [_chart(found, "first", say("Gradient in the first layer, by depth"), verdict, "depth")]
    if steps:
        title = say("Gradient in the first layer, by depth, after {count} updates", count=steps)
        charts.append(_chart(found, "first_after", title, verdict, "depth-after"))
    return [*charts, _table(found, verdict)]


def curves(found: Found) -> dict[tuple[str, bool], list[Mapping[str, Any]]]:
    """Return what was measured for each non-linearity, without and with residual connections, by rising depth."""
    order: dict[tuple[str, bool], list[Mapping[str, Any]]] = {}
    for item in found:
        order.setdefault((item["activation"], item["residual"]), []).append(item)
    return {key: sorted(items, key=lambda item: item["depth"]) for key, items in order.items()}


def _chart(found: Found, what: str, title: str, verdict: str, name: str) -> Lines:
    names = list(dict.fromkeys(item["activation"] for item in found))
    series = []
    for (activation, residual), items in curves(found).items():
        points = [(item["depth"], item[what]) for item in items if item[what]]
        label = say("{name}, residual", name=activation) if residual else activation
        series.append(Series(label, [x for x, _ in points], [y for _, y in points], names.index(activation), residual))
    about = say("Norm of the gradient of the loss in the weights of the first layer. Dashed: with residual connections. A curve that "
                "falls by the same factor with each layer is a gradient that vanishes.")  # fmt: skip
    return Lines(title, verdict, tuple(series), Axis(say("hidden layers"), log=True),
                 Axis(say("norm of the gradient"), log=True), about=about, name=name)  # fmt: skip


def depth_verdict(found: Found) -> str:
    """Return which networks' gradients vanish or explode from the shallowest to the deepest, in words."""
    vanished: list[str] = []
    exploded: list[str] = []
    sound: list[str] = []
    for (activation, residual), items in curves(found).items():
        name = say("{name}, residual", name=activation) if residual else activation
        first, last = items[0]["first"], items[-1]["first"]
        ratio = last / first if first else 0.0
        kind = vanished if ratio < VANISHED else exploded if ratio > EXPLODED else sound
        kind.append(f"{name} ({number(ratio)})")
    depths = [item["depth"] for item in found]
    lines = [say("From {few} to {many} hidden layers the gradient in the first changes by these factors.", few=min(depths),
                 many=max(depths))]  # fmt: skip
    if vanished:
        lines.append(say("Vanishes: {names}.", names=", ".join(vanished)))
    if exploded:
        lines.append(say("Explodes: {names}.", names=", ".join(exploded)))
    if sound:
        lines.append(say("Arrives: {names}.", names=", ".join(sound)))
    return " ".join(lines)


def _table(found: Found, verdict: str) -> Table:
    columns = (Column(say("non-linearity")), Column(say("residual")), Column(say("hidden layers"), number=True),
               Column(say("first layer"), number=True), Column(say("last layer"), number=True), Column(say("loss"), number=True),
               Column(say("first, after"), number=True), Column(say("last, after"), number=True),
               Column(say("loss, after"), number=True))  # fmt: skip
    rows = tuple((item["activation"], say("yes") if item["residual"] else say("no"), str(item["depth"]), *(
        "–" if item[key] is None else number(item[key])
        for key in ("first", "last", "loss", "first_after", "last_after", "loss_after"))) for item in found)  # fmt: skip
    return Table(say("Gradient by depth"), verdict, columns, rows, tuple(tuple(item.values()) for item in found),
                 about=say("Norms of the gradient in the weights of the first and of the last layer. – means that numbers were "
                           "no longer finite."), name="depth-table")  # fmt: skip

"""Curves of a run, from its events: losses, scores, learning rate, size of the gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from seodang.core.language import say
from seodang.visualize.figure import Axis, Figure, Lines, Mark, Panels, Series
from seodang.visualize.scale import finite, number, percent, tick_step

Events = Sequence[Mapping[str, Any]]

MOST_LAYERS = 8
"""Layers whose weights are followed: of more, as many evenly spaced ones."""
MOST_LARGE = 3
"""Scores shown large; of more, all but the one that decides are shown small."""
WIDE = 25.0
"""Losses whose largest value is this many times the smallest are drawn on a logarithmic axis."""
SHARES = ("accuracy", "precision", "recall", "f1", "top")
"""Scores with these words in their name are shares of one, written as per cent."""


def curves(events: Events, monitor: tuple[str, str]) -> list[Figure]:
    """Return the charts of a run: loss first, then the score that decides, rate and gradient, other scores."""
    x, axis = _time(events)
    stepped = [event for event in events if event["event"] == "stepped"]
    evaluated = watched(events)
    figures: list[Figure] = [_losses(stepped, evaluated, x, axis, monitor)] if stepped or evaluated else []
    names = list(dict.fromkeys(name for event in evaluated for name in event["scores"] if name != "loss"))
    names.sort(key=lambda name: name != monitor[0])
    scores = [_score(evaluated, name, x, axis, monitor) for name in names
              if len(finite(event["scores"].get(name) for event in evaluated)) > 1]  # fmt: skip
    figures += scores[:MOST_LARGE] if len(scores) <= MOST_LARGE else scores[:1]
    if len(stepped) > 1:
        figures.append(
            _one(stepped, "lr", say("Learning rate"), say("How far each update moves the weights."), x, axis, 2)
        )
        about = say("How steep the loss is at each update, before clipping.")
        figures.append(_one(stepped, "grad_norm", say("Norm of the gradient"), about, x, axis, 7))
        figures += weight_sizes(stepped, x, axis)
    if len(scores) > MOST_LARGE:
        others = tuple(replace(score, y=replace(score.y, label=""), x=Axis()) for score in scores[1:])
        figures.append(Panels(say("Other scores"), say("{count} scores over {time}.", count=len(others), time=axis.label), others,
                              name="scores"))  # fmt: skip
    return figures


def weight_sizes(stepped: Events, x: str, axis: Axis) -> list[Figure]:
    """Return how large the weights of each layer are over the run, up to `MOST_LAYERS` of them; nothing where it was not noted."""
    noted = [event for event in stepped if event.get("layers")]
    paths = list(noted[-1]["layers"]) if len(noted) > 1 else []
    if not paths:
        return []
    step = max(1, (len(paths) - 1) / (MOST_LAYERS - 1))
    shown = paths if len(paths) <= MOST_LAYERS else [paths[round(place * step)] for place in range(MOST_LAYERS)]
    series = tuple(
        _series(path, noted, x, [event["layers"].get(path, {}).get("weight") for event in noted], place)
        for place, path in enumerate(shown)
    )
    ends = ", ".join(say("{name}: from {first} to {last}", name=item.name, first=number(item.y[0]), last=number(item.y[-1]))
                     for item in series if item.y)  # fmt: skip
    about = say("Root mean square of the weights of each layer: what penalties and decay hold down. Its norm is that times the root "
                "of how many they are.")  # fmt: skip
    return [Lines(say("Size of the weights"), say("Size of the weights over {time}. {ends}.", time=axis.label, ends=ends), series,
                  axis, Axis(say("root mean square")), about=about, name="weights-size")]  # fmt: skip


def watched(events: Events) -> list[Mapping[str, Any]]:
    """Return the evaluations made along the way: those on the split of the first."""
    evaluated = [event for event in events if event["event"] == "evaluated"]
    return [event for event in evaluated if event["split"] == evaluated[0]["split"]]


def is_share(name: str) -> bool:
    return any(word in name.lower() for word in SHARES)


def score_text(name: str, value: float) -> str:
    """Return a score as people read it: shares of one as per cent."""
    return percent(value) if is_share(name) else number(value, 4)


def score_name(name: str) -> str:
    """Return what a score is called in the reader's language; names nobody knows stay as they are."""
    known = {
        "loss": say("loss"),
        "accuracy": say("accuracy"),
        "perplexity": say("perplexity"),
        "elbo": say("evidence lower bound"),
        "importance_weighted": say("importance-weighted bound"),
        "reconstruction": say("reconstruction"),
        "kl": say("KL divergence"),
        "return": say("return"),
        "mean_return": say("mean return"),
        "rmse": say("root mean squared error"),
        "mae": say("mean absolute error"),
        "r2": say("explained variance R²"),
        "f1": say("F1"),
    }
    return known.get(name, name.replace("_", " "))


def split_name(name: str) -> str:
    known = {"train": say("training"), "valid": say("validation"), "test": say("test")}
    return known.get(name, name)


def _time(events: Events) -> tuple[str, Axis]:
    """Return which field runs along x: epochs where there are at least two, else updates."""
    epochs = max(finite(event.get("epoch", 0.0) for event in events), default=0.0)
    return ("epoch", Axis(say("epoch"))) if epochs >= 2 else ("step", Axis(say("update")))


def _series(name: str, events: Events, x: str, values: Sequence[Any], colour: int, dashed: bool = False) -> Series:
    kept = [(event[x], value) for event, value in zip(events, values, strict=True) if finite([value])]
    return Series(name, tuple(float(a) for a, _ in kept), tuple(float(b) for _, b in kept), colour, dashed)


def _losses(stepped: Events, evaluated: Events, x: str, axis: Axis, monitor: tuple[str, str]) -> Lines:
    networks = list(dict.fromkeys(name for event in stepped for name in event["losses"]))
    series, marks = [], []
    for place, name in enumerate(networks):
        label = say("training") if networks == ["model"] else name
        taken = 0 if place == 0 else place + 1
        series.append(_series(label, stepped, x, [event["losses"].get(name) for event in stepped], taken))
    if any("loss" in event["scores"] for event in evaluated):
        values = [event["scores"].get("loss") for event in evaluated]
        series.append(_series(split_name(evaluated[0]["split"]), evaluated, x, values, 1))
        if monitor[0] == "loss":
            marks += _best(evaluated, "loss", x)
    values = [value for item in series for value in item.y]
    log = bool(values) and min(values) > 0 and max(values) / min(values) > WIDE
    ends = ", ".join(say("{name}: from {first} to {last}", name=item.name, first=number(item.y[0]), last=number(item.y[-1]))
                     for item in series if item.y)  # fmt: skip
    return Lines(say("Loss"), say("Loss over {time}. {ends}.", time=axis.label, ends=ends), tuple(series), axis,
                 Axis(say("loss"), log=log), tuple(marks), name="loss")  # fmt: skip


def _best(evaluated: Events, name: str, x: str) -> list[Mark]:
    event = next((event for event in reversed(evaluated) if event.get("best")), None)
    if event is None or not finite([event["scores"].get(name)]):
        return []
    value = event["scores"][name]
    text = say("best {value}, update {step}", value=score_text(name, value), step=f"{event['step']:,}")
    return [Mark(float(event[x]), float(value), text, 1)]


def _score(evaluated: Events, name: str, x: str, axis: Axis, monitor: tuple[str, str]) -> Lines:
    series = _series(split_name(evaluated[0]["split"]), evaluated, x, [e["scores"].get(name) for e in evaluated], 1)
    title = score_name(name)
    title = title[:1].upper() + title[1:]
    last = score_text(name, series.y[-1]) if series.y else "–"
    return Lines(
        title, say("{name} over {time}; at the end {last}.", name=title, time=axis.label, last=last), (series,), axis,
        Axis(say("{score} on {split}", score=score_name(name), split=series.name), percent=is_share(name),
             limits=_closer(series.y, is_share(name))),
        tuple(_best(evaluated, name, x) if name == monitor[0] else ()),
        name=f"score-{name}")  # fmt: skip


def _closer(values: Sequence[float], share: bool) -> tuple[float, float] | None:
    """Return limits that leave out the first steps from chance where those would flatten all the rest."""
    later = sorted(values[len(values) // 5 :])
    if len(values) < 5 or not 0 < later[-1] - later[0] < (max(values) - min(values)) / 4:
        return None
    step = max(tick_step(later[0], later[-1], wanted=3), 0.005 if share else 0.0)
    low, high = math.floor(later[0] / step + 1e-9) * step - step, math.ceil(later[-1] / step - 1e-9) * step + step
    return (max(0.0, low), min(1.0, high)) if share else (low, high)


def _one(stepped: Events, field: str, title: str, about: str, x: str, axis: Axis, colour: int) -> Lines:
    series = _series("", stepped, x, [event.get(field) for event in stepped], colour)
    last = number(series.y[-1]) if series.y else "–"
    alt = say("{name} over {time}; at the end {last}.", name=title, time=axis.label, last=last)
    return Lines(title, alt, (series,), axis, Axis(title), about=about, name=field)

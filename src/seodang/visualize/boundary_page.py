"""The page of a decision boundary: a slider over the moments of the training, with loss and weights at each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seodang.core.files import make_folders, write
from seodang.core.language import say
from seodang.data.dataset import Dataset
from seodang.task.base import Task
from seodang.visualize.boundary import Boundary, Moment, boundary, loss_curve, told
from seodang.visualize.colour import DIVERGING, codes, readable_on
from seodang.visualize.draw import svg
from seodang.visualize.frame import heading
from seodang.visualize.markup import Markup, element
from seodang.visualize.page import document
from seodang.visualize.pixels import data_address
from seodang.visualize.scale import number

HERE = Path(__file__).parent
NAME = "boundary.html"
MOST_NUMBERS = 150
"""A network of more weights shows the length of each of its matrices instead of every number."""
SHADES = 41


def write_boundary(model: nn.Module, task: Task, data: Dataset, name: str, to: Path) -> Path | None:
    """Write ``boundary.html`` into the folder `to`; return the file, or None where no film of the weights was kept."""
    found = boundary(model, task, data)
    if found is None:
        return None
    make_folders(to)
    path = to / NAME
    write(path, boundary_page(found, name))
    return path


def boundary_page(found: Boundary, name: str) -> str:
    """Return the page; without scripts it shows the last moment."""
    last = found.moments[-1]
    head = heading(
        say("Seodang: decision boundary"), name,
        element("p", say("Where the network draws the line between its answers, from its first weights to the last."),
                class_="lead"),
    )  # fmt: skip
    title = say("Decision boundary")
    equation = element("p", equations(found)[-1], class_="equation") if equations(found) else None
    large = said_in_full(found)
    about = (say("Every weight at this moment; blue is negative, orange positive.") if large else
             say("The length of each matrix at this moment: there are too many weights to show each."))  # fmt: skip
    beside = element("div", element("h3", say("Loss")), svg(loss_curve(found), alone=False), element("h3", say("Weights")),
                     element("p", about), equation, weights(last, large), class_="curve")  # fmt: skip
    stage = element(
        "div", element("div", svg(found.scatter(last, title), alone=False), class_="plane"), beside, class_="film"
    )
    reading = say("Ground: what the network answers everywhere, paler where it is unsure; the dark line is where the answer changes. "
                  "Points: {count} training examples in the colour of the truth.", count=found.total)  # fmt: skip
    main = [
        element("section", element("h2", title), element("p", reading),
                element("div", element("figure", player(found), stage, class_="wide"), class_="figures"), id="boundary"),
        element("script", Markup(film_json(found)), type="application/json", id="film"),
    ]  # fmt: skip
    style, script = ((HERE / f"boundary.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return document(say("{name}: decision boundary", name=name), head, [], main, style, script)


def player(found: Boundary) -> Markup:
    """Return slider and buttons, which the script brings to life and to sight."""
    last = len(found.moments) - 1
    play = element("button", say("Play"), type="button", data_play=say("Play"), data_pause=say("Pause"))
    steps = [element("button", sign, type="button", class_="small", aria_label=text)
             for sign, text in (("‹", say("One moment back")), ("›", say("One moment on")))]  # fmt: skip
    slider = element(
        "input", type="range", min=0, max=last, value=last, step=1, aria_label=say("moment of the training")
    )
    return element("div", play, *steps, slider, element("output", told(found.moments[-1], found.total)), class_="player",
                   hidden="hidden")  # fmt: skip


def said_in_full(found: Boundary) -> bool:
    return sum(value.size for _, value in found.moments[-1].weights) <= MOST_NUMBERS


def weights(moment: Moment, full: bool) -> Markup:
    """Return a table for each matrix, or one with the length of each."""
    if not full:
        rows = [element("tr", element("th", name, scope="row", class_="path"), element("td", text))
                for (name, _), text in zip(moment.weights, numbers(moment, full), strict=True)]  # fmt: skip
        return element("div", element("table", element("tbody", *rows)), class_="weights")
    tables, texts = [], iter(numbers(moment, full))
    for name, value in moment.weights:
        rows = [element("tr", *(element("td", next(texts)) for _ in row)) for row in matrix(value)]
        tables.append(
            element("div", element("table", element("caption", name), element("tbody", *rows)), class_="scroll")
        )
    return element("div", *tables, class_="weights")


def matrix(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.atleast_2d(value).reshape(len(np.atleast_2d(value)), -1)


def numbers(moment: Moment, full: bool) -> list[str]:
    """Return what stands in the cells, in order."""
    if not full:
        return [number(float(np.linalg.norm(value)), 4) for _, value in moment.weights]
    return [number(float(value)) for _, values in moment.weights for value in values.flatten()]


def equations(found: Boundary) -> list[str]:
    """Return what is asked of an example at each moment, where the network is one unit: w₁ x₁ + w₂ x₂ + w₀ > 0.

    The inputs are in the units of the data, so the weights are divided by what those were divided by.
    """
    if [value.shape for _, value in found.moments[0].weights] != [(1, 2), (1,)]:
        return []
    (first, mean1, std1), (second, mean2, std2) = found.axes
    lines = []
    for moment in found.moments:
        (w1, w2), w0 = moment.weights[0][1][0], moment.weights[1][1][0]
        w1, w2, w0 = w1 / std1, w2 / std2, w0 - w1 * mean1 / std1 - w2 * mean2 / std2
        sum_ = " ".join([number(float(w1)), first, _signed(w2), second, _signed(w0)])
        lines.append(say("{sum} > 0: the answer is {name}", sum=sum_, name=found.series[-1].name))
    return lines


def _signed(value: float) -> str:
    return ("− " if value < 0 else "+ ") + number(abs(float(value)))


def film_json(found: Boundary) -> str:
    """Return what the script shows, as JSON that may stand in a page."""
    full = said_in_full(found)
    moments = found.moments
    values: dict[str, Any] = {
        "told": [told(moment, found.total) for moment in moments],
        "grounds": [data_address(moment.ground) for moment in moments],
        "weights": [numbers(moment, full) for moment in moments],
        "equations": equations(found),
        "palette": [(code, readable_on(code)) for code in codes(np.linspace(0, 1, SHADES), DIVERGING)],
        "colours": [],
    }
    if full:
        reach = max(float(np.abs(value).max(initial=0.0)) for moment in moments for _, value in moment.weights) or 1.0
        values["colours"] = [[round((float(value) / reach + 1) / 2 * (SHADES - 1)) for _, each in moment.weights
                              for value in each.flatten()] for moment in moments]  # fmt: skip
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")

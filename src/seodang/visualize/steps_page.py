"""The page of one forward and one backward pass: each number of one thread beside its formula, all others as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seodang.core.inputs import Facts
from seodang.core.language import say
from seodang.visualize.colour import DIVERGING, balanced, painted
from seodang.visualize.draw import svg
from seodang.visualize.figure import Axis, Column, Matrix, Table
from seodang.visualize.formula import math
from seodang.visualize.frame import heading, tile, tiles
from seodang.visualize.markup import Markup, element, joined, safe
from seodang.visualize.page import document, figure_html
from seodang.visualize.pixels import data_address, enlarged, grid
from seodang.visualize.scale import number
from seodang.visualize.steps import Numbers, Step, Walk
from seodang.visualize.steps_accounts import DIGITS, Account, Place, accounts
from seodang.visualize.steps_loss import loss_section, loss_words

HERE = Path(__file__).parent
MOST_TERMS = 10
"""Terms of a sum that are written out, the largest; the others stand in one line."""
MOST_MAPS = 32
"""Maps or kernels of a layer that are drawn."""
NUMBERED = 12
"""A row of this many numbers or fewer is written in numbers."""


def steps_page(walk: Walk, name: str, what: str, facts: Facts, apart: float) -> str:
    """Return the page.

    `name` is that of the run, `what` the example in words, `apart` the largest difference between autograd and the same
    pass by hand.
    """
    told = accounts(walk)
    head = heading(
        say("Seodang: step by step"), name,
        element("p", say("One example forward, its loss, and the chain rule back: every layer with its numbers."), class_="lead"),
        element("p", what, class_="meta"),
        tiles(*_headline(walk, apart)),
    )  # fmt: skip
    titles = [
        ("overview", say("Overview")),
        ("forward", say("Forward")),
        ("loss", say("Loss")),
        ("backward", say("Backward")),
    ]
    forward = [_forward(number_, step, place, account)
               for number_, (step, (place, account, _)) in enumerate(zip(walk.steps, told, strict=True), 1)]  # fmt: skip
    backward = [_backward(number_, step, place, found)
                for number_, (step, (place, _, found)) in enumerate(zip(walk.steps, told, strict=True), 1)]  # fmt: skip
    about = {
        "forward": say("Each layer takes what the one before gave. One thread is followed in full: the numbers that the loss "
                       "answers to most; all others are drawn. Blue is negative, white zero, orange positive."),
        "backward": say("From the loss down: each layer is handed ∂L/∂y, how the loss answers to what it gave, and makes of it "
                        "∂L/∂x, which the layer before takes for its own ∂L/∂y. That is the chain rule."),
    }  # fmt: skip
    main = [
        element("section", element("h2", titles[0][1]), element("div", figure_html(_overview(walk), "wide", False), class_="figures"),
                id="overview"),
        element("section", element("h2", titles[1][1]), element("p", about["forward"]), *forward, id="forward"),
        loss_section(walk, facts),
        element("section", element("h2", titles[3][1]), element("p", about["backward"]), *reversed(backward), id="backward",
                class_="back"),
    ]  # fmt: skip
    links = [element("a", title, href=f"#{place}") for place, title in titles]
    style = (HERE / "steps.css").read_text(encoding="utf-8")
    return document(say("{name}: step by step", name=name), head, links, main, style)


def _headline(walk: Walk, apart: float) -> list[Markup]:
    weights = sum(gradient.size for step in walk.steps for gradient in step.gradients.values())
    norm = float(np.sqrt(sum(np.square(gradient).sum() for step in walk.steps for gradient in step.gradients.values())))
    return [
        tile(say("loss of this example"), number(walk.value, DIGITS), loss_words(walk), "main"),
        tile(say("layers"), str(len(walk.steps))),
        tile(say("weights"), number(weights)),
        tile(say("norm of the gradient"), number(norm, DIGITS)),
        tile(
            say("autograd and by hand differ by"), f"{apart:.0e}" if apart else "0", say("at most, in double precision")
        ),
    ]


def _overview(walk: Walk) -> Table:
    rows, values = [], []
    for place, step in enumerate(walk.steps, 1):
        forward, backward = float(np.linalg.norm(step.y)), float(np.linalg.norm(step.dy))
        gradient = float(np.sqrt(sum(np.square(found).sum() for found in step.gradients.values())))
        count = sum(found.size for found in step.gradients.values())
        size = " × ".join(map(str, step.y.shape))
        rows.append((str(place), kind_name(step), step.path, size, number(count) if count else "", number(forward, 3),
                     number(backward, 3), number(gradient, 3) if count else ""))  # fmt: skip
        values.append(
            (float(place), rows[-1][1], step.path, float(step.y.size), float(count), forward, backward, gradient)
        )
    columns = (Column("#"), Column(say("layer")), Column(say("path"), path=True), Column(say("gives")),
               Column(say("weights"), number=True), Column("‖y‖", number=True), Column("‖∂L/∂y‖", number=True, bar=True),
               Column("‖∂L/∂w‖", number=True, bar=True))  # fmt: skip
    return Table(say("Overview"), say("{count} layers, first to last.", count=len(rows)), columns, tuple(rows), tuple(values),
                 about=say("How large what flows is, forward (y) and backward (∂L/∂y), and the gradient of each layer's weights."))  # fmt: skip


def kind_name(step: Step) -> str:
    """Return what a layer is called."""
    match step.kind:
        case "activation" | "leaky-relu":
            return say("activation {name}", name=step.settings["name"])
        case "same":
            return say("dropout, at rest")
        case "group-norm":
            groups = step.settings["groups"]
            if groups == 1:
                return say("layer normalisation")
            return say("instance normalisation") if groups == len(step.x) else say("group normalisation")
    return {"dense": say("dense"), "conv": say("convolution"), "batch-norm": say("batch normalisation"),
            "max-pool": say("max pooling"), "mean-pool": say("mean pooling"), "flatten": say("flatten"),
            "threshold": say("two answers")}[step.kind]  # fmt: skip


# ----------------------------------------------------------------------------------------------- layers


def _title(place: int, step: Step) -> Markup:
    sizes = f"{' × '.join(map(str, step.x.shape))} → {' × '.join(map(str, step.y.shape))}"
    return element("h3", element("b", str(place)), kind_name(step), element("small", joined(safe(step.path), element("br"), safe(sizes))
                                                                            if step.path else sizes))  # fmt: skip


def _forward(place: int, step: Step, thread: Place, account: Account) -> Markup:
    pictures: list[object] = []
    if place == 1:
        pictures += [element("h4", say("what comes in, x")), _values(step.x)]
    if step.kind in ("dense", "conv"):
        title = say("weights, a row for each unit") if step.kind == "dense" else say("kernels")
        pictures += [element("h4", title), _weights(step.weights["weight"])]
    pictures += [element("h4", say("what goes out, y")), _values(step.y)]
    patch = _patch(step, thread) if step.kind == "conv" else None
    left = element("div", _account(account), patch, _note(step))
    return element("div", _title(place, step), element("p", math(account.formula), class_="formula"),
                   element("div", left, element("div", *pictures), class_="columns"), class_="step")  # fmt: skip


def _note(step: Step) -> Markup | None:
    match step.kind:
        case "same":
            return element(
                "p", say("Dropout silences units while training only; here every unit speaks."), class_="note"
            )
        case "batch-norm":
            return element(
                "p", say("μ and σ² are those kept from training: at rest this is a straight line."), class_="note"
            )
        case "group-norm":
            return element("p", say("μ and σ² are those of this example, over the group."), class_="note")
    return None


def _backward(place: int, step: Step, thread: Place, found: list[Account]) -> Markup:
    parts = [element("div", element("p", math(account.formula), class_="formula"), element("h4", account.title), _account(account))
             for account in found]  # fmt: skip
    pictures: list[object] = [element("h4", say("handed down: ∂L/∂y")), _values(step.dy)]
    for name in ("weight", "bias"):
        if name in step.gradients and step.kind in ("dense", "conv"):
            title = say("gradient of the weights") if name == "weight" else say("gradient of the biases")
            pictures += [element("h4", title), _weights(step.gradients[name])]
    pictures += [element("h4", say("handed on: ∂L/∂x")), _values(step.dx)]
    return element("div", _title(place, step), element("div", element("div", *parts), element("div", *pictures), class_="columns"),
                   class_="step")  # fmt: skip


def _account(account: Account) -> Markup:
    """Return the sum as a table with its largest terms, or the line, and what it comes to."""
    result = element(
        "p", math(f"{account.name} = "), element("strong", number(account.recorded, DIGITS)), class_="result"
    )
    if not account.rows:
        if not account.line:
            return result
        return element(
            "p", math(f"{account.line} = "), element("strong", number(account.recorded, DIGITS)), class_="result"
        )
    order = sorted(range(len(account.rows)), key=lambda place: -abs(float(np.prod(account.rows[place][1]))))
    kept = sorted(order[:MOST_TERMS])
    body = [_term(*account.rows[place]) for place in kept]
    rest = [account.rows[place] for place in order[MOST_TERMS:]]
    foot = []
    width = len(account.heads)
    if rest:
        value = sum(float(np.prod(factors)) for _, factors in rest)
        foot.append(_foot(say("{count} smaller terms", count=len(rest)), value, width))
    foot += [_foot(math(name), value, width) for name, value in account.extra]
    foot.append(_foot(math(account.name), account.recorded, width))
    heads = [element("th", math(name), class_="number" if place else None) for place, name in enumerate(account.heads)]
    heads.append(element("th", say("product"), class_="number"))
    return element(
        "table", element("thead", element("tr", *heads)), element("tbody", *body), element("tfoot", *foot), class_="sum"
    )


def _term(label: str, factors: tuple[float, ...]) -> Markup:
    cells = [element("td", number(value, DIGITS), class_="number") for value in (*factors, float(np.prod(factors)))]
    return element("tr", element("td", label), *cells)


def _foot(name: object, value: float, width: int) -> Markup:
    return element("tr", element("td", name, colspan=width), element("td", number(value, DIGITS), class_="number"))


# --------------------------------------------------------------------------------------------- pictures


def _values(values: Numbers) -> Markup:
    """Return what flows: a row of cells, or a sheet of maps."""
    if values.ndim == 3 and values.shape[1] * values.shape[2] > 1:
        return _maps(values)
    row = values.reshape(1, -1)
    if row.shape[1] > 2 * NUMBERED and row.shape[1] <= 400:
        width = -(-row.shape[1] // -(-row.shape[1] // 32))
        row = np.concatenate([row[0], np.full(-row.shape[1] % width, np.nan)]).reshape(-1, width)
    return _matrix(row)


def _weights(values: Numbers) -> Markup:
    if values.ndim == 4:
        return _maps(values.reshape(-1, *values.shape[2:]))
    return _matrix(np.atleast_2d(values))


def _matrix(values: Numbers) -> Markup:
    few = values.shape[1] <= NUMBERED and values.size <= 200
    alt = say("{count} numbers from {low} to {high}.", count=int(np.isfinite(values).sum()), low=number(float(np.nanmin(values)), DIGITS),
              high=number(float(np.nanmax(values)), DIGITS))  # fmt: skip
    if few:
        return svg(Matrix("", alt, values, x=Axis(), look="diverging", numbers=True), alone=False)
    image = painted(balanced(values), DIVERGING)
    image[np.isnan(values)] = 255
    return element("img", src=data_address(enlarged(image, 500)), alt=alt, title=alt)


def _maps(values: Numbers) -> Markup:
    kept = values[:MOST_MAPS]
    scaled = balanced(kept)
    images = [enlarged(painted(image, DIVERGING), 44) for image in scaled]
    alt = say("{count} maps of {height}×{width}, numbers from {low} to {high}.", count=len(values), height=values.shape[1],
              width=values.shape[2], low=number(float(values.min()), DIGITS), high=number(float(values.max()), DIGITS))  # fmt: skip
    sheet = element("img", src=data_address(grid(images, 8, gap=4)), alt=alt, title=alt)
    if len(kept) == len(values):
        return sheet
    told = say("The first {shown} of {count}.", shown=len(kept), count=len(values))
    return joined(sheet, element("p", told, class_="note"))


def _patch(step: Step, thread: Place) -> Markup | None:
    """Return the patch the chosen unit sees beside its kernel, for the channel on the thread."""
    channel = thread.given[0]
    kernel = step.weights["weight"][thread.gave[0], channel]
    top, _, left, _ = step.settings["margins"]
    row = thread.gave[1] * step.settings["stride"][0] - top
    column = thread.gave[2] * step.settings["stride"][1] - left
    patch = np.zeros_like(kernel)
    for u in range(kernel.shape[0]):
        for v in range(kernel.shape[1]):
            if 0 <= row + u < step.x.shape[1] and 0 <= column + v < step.x.shape[2]:
                patch[u, v] = step.x[channel, row + u, column + v]
    if kernel.shape[1] > NUMBERED:
        return None
    title = say(
        "patch x and kernel w in channel {channel}, at row {row}, column {column}",
        channel=channel,
        row=row,
        column=column,
    )
    parts = [svg(Matrix(name, name, values, look="diverging", numbers=True), alone=False)
             for name, values in ((say("patch"), patch), (say("kernel"), kernel))]  # fmt: skip
    return joined(element("h4", title), element("div", *parts, class_="columns"))

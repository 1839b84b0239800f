"""Charts with two axes as SVG: curves, points, histograms, bars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

from seodang.core.language import say
from seodang.visualize.colour import INK, MUTED, PAPER, RULE, colour
from seodang.visualize.figure import Axis, Bars, Figure, Histogram, Lines, Mark, Scatter, Series
from seodang.visualize.markup import Markup, element, joined
from seodang.visualize.pixels import data_address
from seodang.visualize.scale import Scale, finite, limits, shown, text_width, tick_step, tick_text, ticks

MOST_POINTS = 500


class Drawing(NamedTuple):
    """The inside of a picture and its size; `plot` is what a page needs to answer the mouse."""

    width: float
    height: float
    body: Markup
    plot: str | None = None


@dataclass(frozen=True)
class Frame:
    """The rectangle between the axes."""

    left: float
    top: float
    right: float
    bottom: float
    across: Scale
    up: Scale

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


def label(x: float, y: float, text: str, **attributes: Any) -> Markup:
    return element("text", text, x=x, y=y, **{"fill": MUTED, "font_size": 12, **attributes})


def line(x1: float, y1: float, x2: float, y2: float, **attributes: Any) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **{"stroke": RULE, "stroke_width": 1, **attributes})


# ---------------------------------------------------------------------------------------------- curves


def lines(figure: Lines, width: float = 520, height: float = 290) -> Drawing:
    """Draw each series as a curve; long ones are averaged down to what the eye can tell apart."""
    series = [thinned(item) for item in figure.series]
    xs = finite(value for item in series for value in item.x)
    ys = finite(value for item in series for value in item.y) + ([figure.level.y] if figure.level else [])
    ys += finite(value for item in series for edge in item.band or () for value in edge)
    legend = [(item.name, _colour(item, place), item.dashed) for place, item in enumerate(series)]
    frame, axes = framed(figure.x, untitled(figure, figure.y), xs, ys, width, height, legend, tight_x=True)
    body = [axes]
    curves = [_band(item, place, frame) for place, item in enumerate(series) if item.band]
    if figure.level:
        y = frame.up(figure.level.y)
        body += [line(frame.left, y, frame.right, y, stroke=MUTED, stroke_dasharray="2 4"),
                 label(frame.right, y - 5, figure.level.text, text_anchor="end", font_size=11)]  # fmt: skip
    for place, item in enumerate(series):
        points = " ".join(f"{frame.across(x):.1f},{frame.up(y):.1f}" for x, y in zip(item.x, item.y, strict=True)
                          if len(finite([x, y])) == 2)  # fmt: skip
        curves.append(element("polyline", points=points, fill="none", stroke=_colour(item, place), stroke_width=2,
                            stroke_linejoin="round", stroke_linecap="round",
                            stroke_dasharray="5 4" if item.dashed else None))  # fmt: skip
        if len(item.x) == 1:
            body.append(
                element("circle", cx=frame.across(item.x[0]), cy=frame.up(item.y[0]), r=3, fill=_colour(item, place))
            )
    body.append(_inside(frame, *curves))
    body += [_mark(mark, frame) for mark in figure.marks]
    return Drawing(width, height, joined(*body), _plot(figure, series, frame))


def _band(item: Series, place: int, frame: Frame) -> Markup:
    assert item.band
    low, high = item.band
    edges = [*zip(item.x, high, strict=True), *reversed(list(zip(item.x, low, strict=True)))]
    points = " ".join(f"{frame.across(x):.1f},{frame.up(y):.1f}" for x, y in edges if len(finite([x, y])) == 2)
    return element("polygon", points=points, fill=_colour(item, place), fill_opacity=0.15)


def untitled(figure: Figure, axis: Axis) -> Axis:
    """Return the axis without its label where the title says the same."""
    return replace(axis, label="") if axis.label.lower() == figure.title.lower() and not axis.unit else axis


def _inside(frame: Frame, *children: Markup) -> Markup:
    """Return the children cut off at the frame: an axis with limits of its own need not hold every value."""
    box = {"x": frame.left - 3, "y": frame.top - 3, "width": frame.width + 6, "height": frame.height + 6}
    return element("svg", *children, viewBox=" ".join(f"{value:.1f}" for value in box.values()), **box)


def thinned(series: Series, most: int = MOST_POINTS) -> Series:
    """Return the series with at most `most` points, each the mean of its neighbours."""
    count = len(series.x)
    if count <= most:
        return series
    bounds = [round(index * count / most) for index in range(most + 1)]
    parts = list(pairwise(bounds))

    def means(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(sum(values[a:b]) / (b - a) for a, b in parts)

    band = (means(series.band[0]), means(series.band[1])) if series.band else None
    return Series(series.name, means(series.x), means(series.y), series.colour, series.dashed, band)


def _colour(series: Series, place: int) -> str:
    return colour(place if series.colour is None else series.colour)


def _mark(mark: Mark, frame: Frame) -> Markup:
    x, y = frame.across(mark.x), frame.up(mark.y)
    width = text_width(mark.text, 11.5)
    left = min(max(x - width / 2, frame.left + 2), frame.right - width)
    above = y - 12 > frame.top + 12
    place = {"stroke": PAPER, "stroke_width": 4, "paint_order": "stroke", "stroke_linejoin": "round"}
    return joined(
        element("circle", cx=x, cy=y, r=4.5, fill=PAPER, stroke=colour(mark.colour), stroke_width=2),
        label(left, y - 11 if above else y + 20, mark.text, fill=INK, font_size=11.5, font_weight=600, **place),
    )


def _plot(figure: Lines, series: Sequence[Series], frame: Frame) -> str:
    """Return what the page's script reads to show values beside the mouse."""
    lines_ = [
        {"name": item.name, "colour": _colour(item, place),
         "points": [[round(frame.across(x), 1), round(frame.up(y), 1), shown(x, figure.x), shown(y, figure.y)]
                    for x, y in zip(item.x, item.y, strict=True) if len(finite([x, y])) == 2]}
        for place, item in enumerate(series)
    ]  # fmt: skip
    box = [frame.left, frame.top, frame.right, frame.bottom]
    return json.dumps({"box": box, "x": figure.x.text, "lines": lines_}, ensure_ascii=False, separators=(",", ":"))


# -------------------------------------------------------------------------------------------- the frame


def framed(
    x: Axis, y: Axis, xs: Sequence[float], ys: Sequence[float], width: float, height: float,
    legend: Sequence[tuple[str, str, bool]] = (), tight_x: bool = False, square: bool = False,
) -> tuple[Frame, Markup]:  # fmt: skip
    """Return the rectangle the values fit in, and its axes, ticks and legend."""
    x_low, x_high = limits(xs, x, tight_x)
    y_low, y_high = limits(ys, y)
    x_step = 0.0 if x.log else tick_step(x_low, x_high)
    y_step = 0.0 if y.log else tick_step(y_low, y_high, 5)
    y_texts = [(value, tick_text(value, y, y_step)) for value in ticks(y_low, y_high, y.log)]
    legend = [entry for entry in legend if entry[0]]
    left = max([text_width(text) for _, text in y_texts] + [18.0]) + 14
    top = 12 + (20 if y.text else 0) + (22 * len(_legend_rows(legend, width)) if len(legend) > 1 else 0)
    bottom = height - 24 - (20 if x.text else 0)
    right = width - 18
    if square:
        side = min(right - left, bottom - top)
        right, bottom = left + side, top + side
    frame = Frame(
        left, top, right, bottom, Scale(x_low, x_high, left, right, x.log), Scale(y_low, y_high, bottom, top, y.log)
    )
    parts: list[Markup] = []
    for value, text in y_texts:
        place = frame.up(value)
        parts += [line(left, place, right, place), label(left - 8, place + 4, text, text_anchor="end")]
    taken = -1e9
    for value in ticks(x_low, x_high, x.log):
        place, text = frame.across(value), tick_text(value, x, x_step)
        half = text_width(text) / 2
        if place - half > taken + 8:
            parts += [line(place, bottom, place, bottom + 4, stroke=MUTED),
                      label(place, bottom + 18, text, text_anchor="middle")]  # fmt: skip
            taken = place + half
    parts.append(line(left, bottom, right, bottom, stroke=MUTED))
    if x.text:
        parts.append(label(right, bottom + 36, x.text, text_anchor="end"))
    if y.text:
        parts.append(label(2, 14, y.text))
    if len(legend) > 1:
        for row, entries in enumerate(_legend_rows(legend, width)):
            parts.append(_legend(entries, 2, 12 + 22 * row + (20 if y.text else 0)))
    return frame, joined(*parts)


def _legend_rows(entries: Sequence[tuple[str, str, bool]], width: float) -> list[list[tuple[str, str, bool]]]:
    """Return the legend in as many rows as it needs."""
    rows: list[list[tuple[str, str, bool]]] = []
    taken = width
    for entry in entries:
        needed = 21 + text_width(entry[0]) + 18
        if not rows or taken + needed > width:
            rows.append([])
            taken = 2
        rows[-1].append(entry)
        taken += needed
    return rows


def _legend(entries: Sequence[tuple[str, str, bool]], x: float, y: float) -> Markup:
    parts = []
    for name, code, dashed in entries:
        parts += [line(x, y, x + 16, y, stroke=code, stroke_width=3, stroke_dasharray="5 3" if dashed else None),
                  label(x + 21, y + 4, name, fill=INK)]  # fmt: skip
        x += 21 + text_width(name) + 18
    return joined(*parts)


# ---------------------------------------------------------------------------------------------- points


def scatter(figure: Scatter, width: float = 520, height: float = 400) -> Drawing:
    """Draw groups of points, over a painted ground where there is one."""
    xs = finite(value for item in figure.series for value in item.x)
    ys = finite(value for item in figure.series for value in item.y)
    x, y = figure.x, figure.y
    if figure.ground:
        x_from, x_to, y_from, y_to = figure.ground.extent
        x = Axis(x.label, x.unit, limits=(x_from, x_to))
        y = Axis(y.label, y.unit, limits=(y_from, y_to))
    elif figure.diagonal:
        low, high = limits(xs + ys, Axis())
        x, y = Axis(x.label, x.unit, limits=(low, high)), Axis(y.label, y.unit, limits=(low, high))
    ways = [(item, _colour(item, place)) for place, item in enumerate(figure.paths)]
    legend = [(item.name, code, item.dashed) for item, code in ways]
    legend += [(item.name, _colour(item, place), False) for place, item in enumerate(figure.series)]
    frame, axes = framed(x, y, xs, ys, width, height, legend, square=figure.square or figure.diagonal)
    body: list[Markup] = [axes]
    if figure.ground:
        body.append(element("image", x=frame.left, y=frame.top, width=frame.width, height=frame.height,
                            href=data_address(figure.ground.image), preserveAspectRatio="none"))  # fmt: skip
    if figure.diagonal:
        body.append(line(frame.left, frame.bottom, frame.right, frame.top, stroke=MUTED, stroke_dasharray="4 4"))
    body.append(_inside(frame, *(way for item, code in ways for way in _way(item, code, frame))))
    count = sum(len(item.x) for item in figure.series)
    radius = 6.0 if count <= 20 else 4.5 if count <= 150 else 3.0 if count <= 600 else 2.2
    for place, item in enumerate(figure.series):
        for index, (a, b) in enumerate(zip(item.x, item.y, strict=True)):
            if figure.names:
                body.append(label(frame.across(a), frame.up(b) + 5, figure.names[index], fill=INK, font_size=14,
                                  text_anchor="middle", font_weight=600))  # fmt: skip
            else:
                body.append(element("circle", cx=frame.across(a), cy=frame.up(b), r=radius, fill=_colour(item, place),
                                    stroke=PAPER, stroke_width=1.2 if radius > 3 else 0.5,
                                    fill_opacity=0.9 if count <= 300 else 0.65))  # fmt: skip
    named = sum(39 + text_width(name) for name, _, _ in legend if name)
    needed = max(frame.right + 18, min(named, width) if len(legend) > 1 else 0)
    return Drawing(needed if needed < width - 18 else width, frame.bottom + 44, joined(*body))


def _way(item: Series, code: str, frame: Frame) -> list[Markup]:
    """Return a line with a light rim, and a dot at its end."""
    places = [(frame.across(x), frame.up(y)) for x, y in zip(item.x, item.y, strict=True) if len(finite([x, y])) == 2]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    how = {"points": points, "fill": "none", "stroke_linejoin": "round", "stroke_linecap": "round"}
    drawn = [
        element("polyline", stroke=PAPER, stroke_width=4, **how),
        element("polyline", stroke=code, stroke_width=2, **how),
    ]
    if places:
        drawn.append(
            element("circle", cx=places[-1][0], cy=places[-1][1], r=4.0, fill=code, stroke=PAPER, stroke_width=1.2)
        )
    return drawn


# ------------------------------------------------------------------------------------------------ bars


def bars(figure: Bars, width: float = 520) -> Drawing:
    """Draw one horizontal bar for each name, the number at its end; values below zero go to the left."""
    height_of_one = 26.0
    texts = [shown(value, figure.x) for value in figure.values]
    left = min(max([text_width(name) for name in figure.names] + [20.0]) + 12, width * 0.45)
    right = width - max([text_width(text) for text in texts] + [20.0]) - 14
    low = min([0.0, *finite(figure.values)])
    high = max([0.0, *finite(figure.values)]) or 1.0
    if figure.x.limits:
        low, high = figure.x.limits
    scale = Scale(low, high, left, right)
    parts = []
    for place, (name, value, text) in enumerate(zip(figure.names, figure.values, texts, strict=True)):
        y = 8 + place * height_of_one
        marked = not figure.marked or place in figure.marked
        start, end = sorted((scale(0.0), scale(value if len(finite([value])) else 0.0)))
        parts += [
            label(left - 8, y + 16, clipped(name, left - 12), text_anchor="end", fill=INK),
            element("rect", x=start, y=y + 3, width=max(end - start, 1.0), height=height_of_one - 8, rx=2,
                    fill=colour(0) if marked else "#c9d2da"),
            label(end + 6, y + 16, text, fill=INK if marked else MUTED),
        ]  # fmt: skip
    height = 16 + len(figure.names) * height_of_one
    if figure.x.text:
        height += 18
        parts.append(label(left, height - 8, figure.x.text))
    return Drawing(width, height, joined(*parts))


def clipped(text: str, width: float, size: float = 12.0) -> str:
    """Return as much of a text as fits, ending in … where it was cut."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def histogram(figure: Histogram, width: float = 520, height: float = 290) -> Drawing:
    """Draw upright bars between the edges; what was expected is a step over them."""
    xs, ys = list(figure.edges), [0.0, *finite(figure.heights), *finite(figure.expected)]
    frame, axes = framed(figure.x, figure.y, xs, ys, width, height, tight_x=True)
    parts = [axes]
    for a, b, value in zip(figure.edges[:-1], figure.edges[1:], figure.heights, strict=True):
        if not finite([value]):
            continue
        x, y = frame.across(a), frame.up(value)
        width_of_one, height_of_one = max(frame.across(b) - x - 2, 0.5), max(frame.bottom - y, 0)
        parts.append(element("rect", x=x + 1, y=y, width=width_of_one, height=height_of_one, fill=colour(0), rx=1.5))
    for a, b, value in zip(figure.edges, figure.edges[1:], figure.expected, strict=False):
        if not finite([value]):
            continue
        y = frame.up(value)
        parts.append(line(frame.across(a) + 1, y, frame.across(b) - 1, y, stroke=colour(1), stroke_width=2.5))
    if figure.expected:
        names = [(say("found"), colour(0), False), (say("expected"), colour(1), False)]
        parts.append(_legend(names, frame.left + 8, frame.top + 4))
    return Drawing(width, height, joined(*parts))

"""Means with their spread, one row for each name, drawn as SVG."""

from __future__ import annotations

from seodang.visualize.charts import Drawing, clipped, label, line
from seodang.visualize.colour import INK, MUTED, PAPER, RULE, colour
from seodang.visualize.figure import Intervals
from seodang.visualize.markup import Markup, element, joined
from seodang.visualize.scale import Scale, finite, limits, text_width, tick_step, tick_text, ticks

ROW = 30.0


def intervals(figure: Intervals, width: float = 620) -> Drawing:
    """Draw each name's points as small dots, its mean as a large one with a bar from low to high, its text at the end."""
    reach = finite(value for values in figure.points for value in values)
    reach += finite(value for row in figure.bars if row for value in row)
    low, high = limits(reach, figure.x)
    left = min(max([text_width(name, 13.5) for name in figure.names] + [20.0]) + 14, width * 0.36)
    right = width - max([text_width(text) for text in figure.texts] + [20.0]) - 16
    across = Scale(low, high, left + 8, right - 8, figure.x.log)
    bottom = 8 + ROW * len(figure.names)
    parts: list[Markup] = []
    step, taken = (0.0 if figure.x.log else tick_step(low, high)), -1e9
    for value in ticks(low, high, figure.x.log):
        place, text = across(value), tick_text(value, figure.x, step)
        parts.append(line(place, 4, place, bottom))
        if place - text_width(text) / 2 > taken + 8:
            parts.append(label(place, bottom + 18, text, text_anchor="middle"))
            taken = place + text_width(text) / 2
    parts.append(line(left, bottom, right, bottom, stroke=MUTED))
    if figure.x.text:
        parts.append(label(right, bottom + 38, figure.x.text, text_anchor="end"))
    for place, name in enumerate(figure.names):
        parts.append(_row(figure, place, name, 8 + ROW * (place + 0.5), across, left, right))
    return Drawing(width, bottom + 46, joined(*parts))


def _row(figure: Intervals, place: int, name: str, y: float, across: Scale, left: float, right: float) -> Markup:
    code = colour(place)
    marked = place in figure.marked
    parts = [label(left - 8, y + 4, clipped(name, left - 12), text_anchor="end", fill=INK,
                   font_weight=600 if marked else None),
             label(right + 8, y + 4, figure.texts[place], fill=INK if marked else MUTED)]  # fmt: skip
    parts += [element("circle", cx=across(value), cy=y, r=3, fill=code, fill_opacity=0.35)
              for value in finite(figure.points[place])]  # fmt: skip
    if bar := figure.bars[place]:
        low, mean, high = bar
        if high > low:
            ends = [
                line(across(value), y - 6, across(value), y + 6, stroke=code, stroke_width=2) for value in (low, high)
            ]
            parts += [line(across(low), y, across(high), y, stroke=code, stroke_width=2), *ends]
        parts.append(element("circle", cx=across(mean), cy=y, r=5, fill=code, stroke=PAPER, stroke_width=1.5))
    else:
        parts.append(line(left, y, right, y, stroke=RULE, stroke_dasharray="2 4"))
    return joined(*parts)

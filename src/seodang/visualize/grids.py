"""Figures made of cells as SVG: heat maps, picture grids, tables, shaded text."""

from __future__ import annotations

import numpy as np

from seodang.visualize.charts import Drawing, clipped, label, line, lines, scatter
from seodang.visualize.colour import (
    BLUES,
    DIVERGING,
    INK,
    MUTED,
    ORANGES,
    RULE,
    balanced,
    codes,
    colour,
    painted,
    readable_on,
    stretched,
)  # fmt: skip
from seodang.visualize.figure import Images, Lines, Matrix, Panels, Passage, Pixels, Scatter, Strips, Table
from seodang.visualize.markup import Markup, element, joined
from seodang.visualize.pixels import SMALL, data_address
from seodang.visualize.scale import number, text_width

MOST_CELLS = 200
"""Heat maps with more cells than this, and no room for a number in each, are one picture."""
LEAST_NUMBERED = 15.0
"""Pixels a cell needs for its number."""


def matrix_colours(figure: Matrix) -> Pixels:
    """Return the colour of each cell (R, C, 3)."""
    values = figure.values.astype(np.float64)
    if figure.look == "diverging":
        return painted(balanced(values), DIVERGING)
    if figure.look == "sequential":
        return painted(stretched(values, min(0.0, float(np.nanmin(values)))), BLUES)
    shares = values / np.maximum(values.sum(1, keepdims=True), 1e-12)
    right = painted(shares, BLUES)
    wrong = painted(np.sqrt(shares), ORANGES)  # a few mistakes in a row of hundreds must still be seen
    diagonal = np.eye(*values.shape).astype(bool)[..., None]
    return np.where(diagonal, right, wrong).astype(np.uint8)


def matrix(figure: Matrix, width: float = 520) -> Drawing:
    """Draw a heat map: a cell for each value while they can be told apart, else one picture."""
    rows, columns = figure.values.shape
    left = max((text_width(name) for name in figure.rows), default=0.0) + 16
    left = max(min(left, width * 0.35), text_width(figure.y.text) + 24 if figure.y.text else 0)
    cell = min((width - left - 4) / columns, 46.0)
    cell_height = cell if figure.look == "confusion" or rows > 1 else 26.0
    if rows * cell_height > 900:
        cell_height = 900 / rows
    turned = any(text_width(name) > cell - 4 for name in figure.columns)
    top = 14.0 + (20 if figure.x.text else 0)
    if figure.columns:
        top += min(max(text_width(name) for name in figure.columns), 110) if turned else 16
    parts = [_column_name(name, left + (place + 0.5) * cell, top - 6, turned)
             for place, name in enumerate(figure.columns) if cell >= 9]  # fmt: skip
    for place, name in enumerate(figure.rows if cell_height >= 9 else ()):
        y = top + (place + 0.5) * cell_height + 4
        parts.append(label(left - 7, y, clipped(name, left - 8), text_anchor="end", fill=INK))
    if figure.x.text:
        parts.append(label(left, 14, figure.x.text + " →"))
    if figure.y.text:
        parts.append(label(left - 7, top - 6, figure.y.text + " ↓", text_anchor="end"))
    colours = matrix_colours(figure)
    if rows * columns > MOST_CELLS and not (figure.numbers and cell >= LEAST_NUMBERED):
        box = {"x": left, "y": top, "width": cell * columns, "height": cell_height * rows}
        how = {"preserveAspectRatio": "none", "image_rendering": "pixelated"}
        parts.append(element("image", href=data_address(colours), **box, **how))
    else:
        parts += [_cell(figure, row, column, colours, left, top, cell, cell_height)
                  for row in range(rows) for column in range(columns)]  # fmt: skip
    return Drawing(max(left + cell * columns + 4, 120), top + rows * cell_height + 6, joined(*parts))


def _column_name(name: str, x: float, y: float, turned: bool) -> Markup:
    if not turned:
        return label(x, y, name, text_anchor="middle", fill=INK)
    return label(x + 4, y, clipped(name, 110), fill=INK, transform=f"rotate(-90 {x + 4:.1f} {y:.1f})")


def _cell(
    figure: Matrix, row: int, column: int, colours: Pixels, left: float, top: float, cell: float, height: float
) -> Markup:
    value = float(figure.values[row, column])
    red, green, blue = colours[row, column]
    code = f"#{red:02x}{green:02x}{blue:02x}"
    x, y = left + column * cell, top + row * height
    names = [names[place] for names, place in ((figure.rows, row), (figure.columns, column)) if names]
    gap = 1.0 if cell > 12 else 0.0
    box = element("rect", x=x, y=y, width=cell - gap, height=height - gap, fill=code, rx=2 if cell > 18 else None)
    text = None
    if figure.numbers and cell >= LEAST_NUMBERED and (value or figure.look != "confusion"):
        written = number(value)
        size = min(13.0, 12 * (cell - 4) / max(text_width(written), 1))
        if size >= 6:
            text = element("text", written, x=x + cell / 2 - gap / 2, y=y + height / 2 + size * 0.35, font_size=size,
                           text_anchor="middle", fill=readable_on(code))  # fmt: skip
    return element("g", element("title", " → ".join(names) + f": {number(value)}"), box, text)


def panels(figure: Panels, width: float = 1080) -> Drawing:
    """Draw heat maps, curves or points side by side in rows, each under its title."""
    columns = figure.columns
    step = width / columns
    inner = step - 24
    drawings = [_panel(panel, inner) for panel in figure.panels]
    row = max(drawing.height for drawing in drawings) + 40
    parts = []
    for place, (panel, drawing) in enumerate(zip(figure.panels, drawings, strict=True)):
        x, y = place % columns * step, place // columns * row
        parts.append(label(x, y + 14, panel.title, fill=INK, font_weight=600))
        parts.append(element("g", drawing.body, transform=f"translate({x:.1f} {y + 24:.1f})"))
    rows = -(-len(drawings) // columns)
    return Drawing(width, rows * row - 16, joined(*parts))


def _panel(panel: Matrix | Lines | Scatter, width: float) -> Drawing:
    match panel:
        case Lines():
            return lines(panel, width, 160)
        case Scatter():
            return scatter(panel, width, width)
    return matrix(panel, width)


def strips(figure: Strips, width: float = 1080) -> Drawing:
    """Draw each vector as a row of coloured cells; zero is white, so signs can be seen."""
    left = min(max(text_width(name) for name in figure.names) + 14, width * 0.3)
    parts, height = [], 22.0
    for place, (name, values) in enumerate(zip(figure.names, figure.values, strict=True)):
        y = 2 + place * (height + 7)
        box = {"x": left, "y": y, "width": width - left, "height": height}
        how = {"preserveAspectRatio": "none", "image_rendering": "pixelated"}
        parts.append(label(left - 10, y + 15, clipped(name, left - 14), text_anchor="end", fill=INK))
        parts.append(element("image", href=data_address(painted(balanced(values), DIVERGING)[None]), **box, **how))
    return Drawing(width, len(figure.values) * (height + 7), joined(*parts))


# -------------------------------------------------------------------------------------------- pictures


def images(figure: Images, width: float = 720) -> Drawing:
    """Draw pictures in a grid with their captions below."""
    columns = max(1, min(figure.columns, len(figure.images)))
    step = min(width / columns, 132.0)
    side = step - 8
    tallest = max((image.shape[0] / image.shape[1] for image in figure.images), default=1.0)
    captions = [caption.split("\n") for caption in figure.captions]
    row = side * tallest + 8 + 15 * max((len(caption) for caption in captions), default=0)
    parts = []
    for place, image in enumerate(figure.images):
        x, y = place % columns * step + 4, place // columns * row + 4
        high = side * image.shape[0] / image.shape[1]
        crisp = not figure.smooth and max(image.shape[:2]) <= SMALL
        parts.append(element("image", x=x, y=y, width=side, height=high, href=data_address(image),
                             image_rendering="pixelated" if crisp else None))  # fmt: skip
        for index, text in enumerate(captions[place] if place < len(captions) else ()):
            ink = INK if index == 0 else MUTED
            parts.append(label(x, y + high + 14 + 14 * index, clipped(text, side, 11), font_size=11, fill=ink))
    rows = -(-len(figure.images) // columns)
    return Drawing(columns * step, rows * row + 8, joined(*parts))


# ---------------------------------------------------------------------------------------------- tables


def table(figure: Table) -> Drawing:
    """Draw a table with a rule under its head and above its total."""
    lines_ = [tuple(column.name for column in figure.columns), *figure.rows, *([figure.total] if figure.total else [])]
    widths = [
        min(max(text_width(row[place]) for row in lines_) * 1.06 + 24, 340.0) for place in range(len(figure.columns))
    ]
    starts = np.cumsum([0.0, *widths])
    parts: list[Markup] = []
    for index, row in enumerate(lines_):
        y = 18 + index * 24
        head, last = index == 0, bool(figure.total) and index == len(lines_) - 1
        for place, (column, text) in enumerate(zip(figure.columns, row, strict=True)):
            x = starts[place + 1] - 12 if column.number else starts[place]
            anchor, weight = "end" if column.number else None, 600 if last else None
            ink = MUTED if head else INK
            parts.append(
                label(float(x), y, clipped(text, widths[place]), fill=ink, text_anchor=anchor, font_weight=weight)
            )
        if head or (figure.total and index == len(lines_) - 2):
            parts.append(line(0, y + 7, float(starts[-1]), y + 7, stroke=MUTED if head else RULE))
    return Drawing(float(starts[-1]), 24 * len(lines_) + 8, joined(*parts))


def passage(figure: Passage, width: float = 720) -> Drawing:
    """Draw running text in a typewriter face, shaded by weight."""
    letter, height = 7.8, 20.0
    most = int(width // letter)
    parts, row, place = [], 0, 0
    for text, weight, note in figure.pieces:
        for symbol in text:
            if symbol == "\n" or place >= most:
                row, place = row + 1, 0
            if symbol == "\n":
                continue
            x, y = place * letter, row * height
            if weight is not None:
                code = codes([weight], BLUES)[0]
                parts.append(
                    element("rect", element("title", note), x=x, y=y + 3, width=letter, height=height - 2, fill=code)
                )
            ink = readable_on(codes([weight], BLUES)[0]) if weight is not None else INK
            parts.append(
                element("text", symbol, x=x, y=y + 17, font_size=13, fill=ink, font_family="ui-monospace, monospace")
            )
            place += 2 if text_width(symbol) > 10 else 1
    return Drawing(width, (row + 1) * height + 8, joined(*parts))


def share_bar(share: float) -> Markup:
    """Return a small bar for a table cell in a page."""
    return element("svg", element("rect", x=0, y=0, width=100, height=6, fill="#eef1f3", rx=3),
                   element("rect", x=0, y=0, width=max(0.0, min(1.0, share)) * 100, height=6, fill=colour(0), rx=3),
                   class_="bar", viewBox="0 0 100 6", width=60, height=6, aria_hidden="true")  # fmt: skip

"""From figures to files: SVG for what is made of lines and words, PNG for what is made of pixels.

One typeface, one palette, light ground. An SVG needs nothing else: pictures inside it are ``data:`` addresses.
"""

from __future__ import annotations

from pathlib import Path

from seodang.core.files import make_folders, write
from seodang.visualize.charts import Drawing, bars, histogram, label, lines, scatter
from seodang.visualize.colour import INK, MUTED, PAPER
from seodang.visualize.figure import (
    Bars,
    Figure,
    Film,
    Histogram,
    Images,
    Intervals,
    Lines,
    Matrix,
    Panels,
    Passage,
    Scatter,
    Strips,
    Table,
)  # fmt: skip
from seodang.visualize.grids import images, matrix, panels, passage, strips, table
from seodang.visualize.intervals import intervals
from seodang.visualize.markup import Markup, element
from seodang.visualize.pixels import film_png, images_png
from seodang.visualize.scale import text_width

TYPEFACE = (
    "system-ui, -apple-system, 'Segoe UI', 'Apple SD Gothic Neo', 'Malgun Gothic', 'Noto Sans CJK KR', sans-serif"
)


def drawn(figure: Figure) -> Drawing:
    """Return the inside of the SVG of any figure but a film."""
    match figure:
        case Lines():
            return lines(figure)
        case Scatter():
            return scatter(figure)
        case Bars():
            return bars(figure)
        case Intervals():
            return intervals(figure)
        case Histogram():
            return histogram(figure)
        case Matrix():
            return matrix(figure)
        case Panels():
            return panels(figure)
        case Strips():
            return strips(figure)
        case Images():
            return images(figure)
        case Table():
            return table(figure)
        case Passage():
            return passage(figure)
    raise TypeError(f"{type(figure).__name__} is not drawn as SVG")


def svg(figure: Figure, alone: bool = True) -> Markup:
    """Return the figure as SVG; `alone` with its title and reading aid inside, else for a page that has them beside."""
    drawing = drawn(figure)
    width, height = drawing.width, drawing.height
    body: tuple[object, ...] = (drawing.body,)
    namespace = None
    if alone:
        namespace = "http://www.w3.org/2000/svg"
        width = max(width, min(text_width(figure.title, 16), 720))
        head = [figure.title, *_wrapped(figure.about, width)]
        top = 30 + 17 * (len(head) - 1) + 6
        texts = [label(0, 20 if index == 0 else 24 + 17 * index, text, fill=INK if index == 0 else MUTED,
                       font_size=16 if index == 0 else 12, font_weight=600 if index == 0 else None)
                 for index, text in enumerate(head)]  # fmt: skip
        ground = element("rect", x=-16, y=-12, width=width + 32, height=height + top + 24, fill=PAPER)
        body = (ground, *texts, element("g", drawing.body, transform=f"translate(0 {top})"))
        box = f"-16 -12 {width + 32:.0f} {height + top + 24:.0f}"
        width, height = width + 32, height + top + 24
    else:
        box = f"0 0 {width:.0f} {height:.0f}"
    return element(
        "svg", element("title", figure.title), element("desc", figure.alt), *body,
        xmlns=namespace, viewBox=box, width=round(width), height=round(height), role="img", font_family=TYPEFACE,
        data_plot=None if alone else drawing.plot,
    )  # fmt: skip


def _wrapped(text: str, width: float) -> list[str]:
    rows: list[str] = []
    for word in text.split():
        if rows and text_width(f"{rows[-1]} {word}") <= width:
            rows[-1] += f" {word}"
        else:
            rows.append(word)
    return rows


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write the figure as ``folder/name.svg``, or ``.png`` where it is pixels only; return the file."""
    make_folders(folder)
    match figure:
        case Film():
            path, data = folder / f"{name}.png", film_png(figure)
        case Images() if not figure.captions:
            path, data = folder / f"{name}.png", images_png(figure)
        case _:
            path, data = folder / f"{name}.svg", ('<?xml version="1.0" encoding="UTF-8"?>\n' + svg(figure)).encode()
    write(path, data)
    return path

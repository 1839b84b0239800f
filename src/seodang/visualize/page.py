"""A page that needs nothing else: figures as HTML, one style sheet, one small script, no network.

The policy in its head allows pictures inside the page, and exactly this style sheet and this script by their
SHA-256; nothing can be loaded, sent or run besides. Every name and text from outside is escaped by `markup`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from seodang.core.language import language, say
from seodang.visualize.draw import svg
from seodang.visualize.figure import Column, Figure, Film, Images, Panels, Passage, Strips, Table
from seodang.visualize.frame import footer
from seodang.visualize.grids import share_bar
from seodang.visualize.markup import Markup, element, joined, safe
from seodang.visualize.pixels import SMALL, data_address, enlarged, film_png, grid
from seodang.visualize.sections import Section

HERE = Path(__file__).parent
WIDE_COLUMNS = 5
"""Tables with more columns take the whole width."""
MANY = 16
SHEET_COLUMNS = 10
"""More than `MANY` pictures without captions, in few columns, are one sheet of half the width."""


def page(title: str, header: Markup, sections: Sequence[Section], details: Markup) -> str:
    """Return the whole document."""
    links = [element("a", section.title, href=f"#{section.name}") for section in sections]
    links.append(element("a", say("The run"), href="#run"))
    return document(title, header, links, [*(section_html(section) for section in sections), details])


def document(
    title: str, header: Markup, links: Sequence[Markup], main: Sequence[Markup], style: str = "", script: str = ""
) -> str:
    """Return a page of these parts; `style` and `script` come after those every page has."""
    style = (HERE / "page.css").read_text(encoding="utf-8") + style
    script = (HERE / "page.js").read_text(encoding="utf-8") + script
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_sha256(style)}'; script-src '{_sha256(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element("header", element("div", header, class_="wrap")),
        element("nav", element("div", *links, class_="wrap")) if links else None,
        element("main", *main, class_="wrap"),
        element("footer", element("div", footer(), class_="wrap")),
        element("script", Markup(script)),
    )
    return "<!doctype html>\n" + element("html", head, body, lang=language()) + "\n"


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def section_html(section: Section) -> Markup:
    about = element("p", section.about) if section.about else None
    figures = element("div", *arranged(section.figures, section.title), class_="figures") if section.figures else None
    problem = element("p", section.problem, class_="problem") if section.problem else None
    return element("section", element("h2", section.title), about, problem, figures, id=section.name)


def arranged(figures: Sequence[Figure], said: str = "") -> list[Markup]:
    """Return the figures as HTML, two in a row; one that would stand alone has its words beside it instead.

    A title that is `said` above already is not repeated.
    """
    wide = [is_wide(figure) for figure in figures]
    written, column = [], 0
    for place, figure in enumerate(figures):
        alone = not wide[place] and column == 0 and (place + 1 == len(figures) or wide[place + 1])
        written.append(figure_html(figure, "wide" if wide[place] else "beside" if alone else "", figure.title != said))
        column = 0 if wide[place] or alone else 1 - column
    return written


def is_wide(figure: Figure) -> bool:
    match figure:
        case Images():
            return not is_sheet(figure)
        case Table():
            return len(figure.columns) > WIDE_COLUMNS
        case Passage() | Strips() | Panels():
            return True
    return False


def is_sheet(figure: Images) -> bool:
    return not figure.captions and len(figure.images) > MANY and figure.columns <= SHEET_COLUMNS


def figure_html(figure: Figure, place: str = "", titled: bool = True) -> Markup:
    """Return a figure with its title and reading aid; `place`: ``"wide"``, ``"beside"`` or half the width."""
    about = element("p", figure.about) if figure.about else None
    caption = element("figcaption", element("h3", figure.title) if titled else None, about)
    kind = ["wide"] if place == "wide" else ["wide", "beside"] if place == "beside" else []
    match figure:
        case Images():
            kind.append("pictures")
            inside = images_html(figure)
        case Film():
            kind.append("pictures")
            crisp = " crisp" if max(figure.frames[0].shape[:2]) <= 4 * SMALL else ""
            inside = element("img", src=data_address(film_png(figure)), alt=figure.alt, class_="film" + crisp)
        case Table():
            inside = table_html(figure)
        case Passage():
            inside = passage_html(figure)
        case _:
            inside = svg(figure, alone=False)
    return element("figure", caption, inside, class_=" ".join(kind) or None)


def images_html(figure: Images) -> Markup:
    largest = max((max(image.shape[:2]) for image in figure.images), default=0)
    crisp = "" if figure.smooth or largest > SMALL * 4 else " crisp"
    if is_sheet(figure):
        sheet = grid(figure.images, figure.columns, gap=2)
        return element("div", element("img", src=data_address(sheet), alt=figure.alt), class_="grid sheet" + crisp)
    columns = next((count for count in (1, 4, 8, 10, 16) if count >= figure.columns), 16)
    cells = []
    for place, image in enumerate(figure.images):
        caption = figure.captions[place] if place < len(figure.captions) else ""
        shown = image if crisp or largest > SMALL else enlarged(image, SMALL)
        picture = element("img", src=data_address(shown), alt=caption.replace("\n", ", ") or f"{place + 1}")
        lines = (element("span", line) for line in caption.split("\n") if line)
        cells.append(element("div", picture, *lines))
    return element("div", *cells, class_=f"grid c{columns}{crisp}")


def table_html(figure: Table) -> Markup:
    """Return a table that can be sorted by each of its columns; bars show the share of the largest."""
    values = figure.values or figure.rows
    largest = [max((float(row[place]) for row in values), default=0.0) if column.bar else 0.0
               for place, column in enumerate(figure.columns)]  # fmt: skip
    heads = [element("th", element("button", column.name, type="button"), class_="number" if column.number else None, scope="col")
             for column in figure.columns]  # fmt: skip
    body = [element("tr", *(_cell(column, text, value, most) for column, text, value, most
                            in zip(figure.columns, row, worth, largest, strict=True)))
            for row, worth in zip(figure.rows, values, strict=True)]  # fmt: skip
    parts = [element("thead", element("tr", *heads)), element("tbody", *body)]
    if figure.total:
        total = [_cell(column, text, text, 0.0) for column, text in zip(figure.columns, figure.total, strict=True)]
        parts.append(element("tfoot", element("tr", *total)))
    return element("div", element("table", *parts), class_="scroll")


def _cell(column: Column, text: str, value: float | str, most: float) -> Markup:
    kinds = [name for name, yes in (("number", column.number), ("path", column.path)) if yes]
    bar = share_bar(float(value) / most) if column.bar and isinstance(value, (int, float)) and value > 0 else None
    worth = None if value == text else value
    return element("td", text, bar, class_=" ".join(kinds) or None, data_value=worth)


def passage_html(figure: Passage) -> Markup:
    pieces = []
    for text, weight, note in figure.pieces:
        if weight is None:
            pieces.append(safe(text))
        else:
            pieces.append(element("b", text, class_=f"w{min(9, int(weight * 10))}", title=note or None))
    return element("div", joined(*pieces), class_="passage")

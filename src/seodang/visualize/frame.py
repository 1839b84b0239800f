"""What every page has around its figures: the brand above the title, tiles of headline figures, lists of facts, the last line."""

from __future__ import annotations

from collections.abc import Sequence

from seodang import __version__
from seodang.core.language import say
from seodang.visualize.markup import Markup, element, joined


def heading(what: str, title: str, *rest: Markup | None, aside: str | None = None) -> Markup:
    """Return the head of a page: `what` kind of page it is, with `aside` at its right, its title, and the rest."""
    right = None if aside is None else element("time", aside)
    return joined(element("div", seal(), element("span", what), right, class_="brand"), element("h1", title), *rest)


def seal() -> Markup:
    """Return the small sign of the house: the first letter of 서당."""
    return element(
        "svg", element("rect", x=0, y=0, width=26, height=26, rx=6, fill="#D55E00"),
        element("text", "서", x=13, y=18.5, font_size=15, font_weight=700, fill="#ffffff", text_anchor="middle"),
        width=26, height=26, viewBox="0 0 26 26", aria_hidden="true",
    )  # fmt: skip


def tiles(*shown: Markup) -> Markup:
    """Return the row of headline figures."""
    return element("dl", *shown, class_="tiles")


def tile(name: str, value: str, small: str | None = None, kind: str = "") -> Markup:
    """Return a headline figure; with `kind` "main" it is the one that decides."""
    below = element("small", small) if small else None
    return element("div", element("dt", name), element("dd", value, below), class_=f"tile {kind}".strip())


def fact_list(facts: Sequence[tuple[str, str]]) -> Markup:
    """Return names with what there is to say about each; those without a value are left out."""
    return element(
        "dl", *(joined(element("dt", name), element("dd", value)) for name, value in facts if value), class_="facts"
    )


def footer() -> Markup:
    return element("span", say("Written by Seodang {version}. This page is whole: it loads nothing and tells nobody anything.",
                               version=__version__))  # fmt: skip

"""Markup for SVG and HTML: every text and attribute that is not markup already is escaped."""

from __future__ import annotations

import re
from html import escape

UNCLOSED = frozenset({"br", "circle", "col", "image", "img", "line", "meta", "path", "polygon", "polyline", "use"})
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Markup(str):
    """Text that is markup already. Plain text becomes markup through `element` or `safe`."""

    __slots__ = ()


def safe(text: object) -> Markup:
    """Return `text` as markup: escaped unless it is markup; characters XML does not have become U+FFFD."""
    if isinstance(text, Markup):
        return text
    return Markup(escape(NOT_XML.sub("\ufffd", str(text)), quote=True))


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return ``<name …>children</name>``. `None` attributes are left out, ``class_`` is class, ``a_b`` is a-b."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{safe(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in UNCLOSED:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: object) -> Markup:
    """Return the children one after another; `None` is nothing."""
    return Markup("".join(safe(child) for child in children if child is not None))


def _short(value: object) -> object:
    """Pixels need no more than two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value

"""What `look` has drawn of one thing, together on a page that needs nothing else, and each figure as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from seodang import __version__
from seodang.core.files import make_folders, write
from seodang.core.language import say
from seodang.visualize.figure import Figure, Images
from seodang.visualize.markup import element, joined
from seodang.visualize.page import document, section_html
from seodang.visualize.pixels import enlarged
from seodang.visualize.raster import chart_png
from seodang.visualize.report import seal
from seodang.visualize.sections import Section

DRAWN = 256
"""Pixels of a picture on paper: smaller ones are enlarged by whole numbers first."""


def write_page(title: str, figures: Sequence[Figure], to: Path, name: str) -> Path:
    """Write ``name.html`` with all figures; return the file."""
    make_folders(to)
    head = joined(element("div", seal(), element("span", say("Seodang: look")), class_="brand"), element("h1", title))
    foot = element("span", say("Written by Seodang {version}. This page is whole: it loads nothing and tells nobody anything.",
                               version=__version__))  # fmt: skip
    sections = [Section(f"part-{place}", figure.title, "", [figure]) for place, figure in enumerate(figures)]
    links = [element("a", section.title, href=f"#{section.name}") for section in sections]
    path = to / f"{name}.html"
    write(path, document(title, head, links, [section_html(section) for section in sections], foot))
    return path


def write_pngs(figures: Sequence[Figure], drawings: Sequence[Path]) -> list[Path]:
    """Write beside each SVG the same as PNG, the pixels of small pictures as squares; return the files."""
    paths = []
    for figure, drawing in zip(figures, drawings, strict=True):
        if drawing.suffix != ".svg":
            continue
        if isinstance(figure, Images):
            figure = replace(figure, images=tuple(enlarged(image, DRAWN) for image in figure.images))
        paths.append(drawing.with_suffix(".png"))
        write(paths[-1], chart_png(figure))
    return paths

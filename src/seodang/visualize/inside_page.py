"""What `look` has drawn of one thing, together on a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seodang.core.files import make_folders, write
from seodang.core.language import say
from seodang.visualize.figure import Figure
from seodang.visualize.frame import heading
from seodang.visualize.markup import element
from seodang.visualize.page import document, section_html
from seodang.visualize.sections import Section


def write_page(title: str, figures: Sequence[Figure], to: Path, name: str) -> Path:
    """Write ``name.html`` with all figures; return the file."""
    make_folders(to)
    head = heading(say("Seodang: look"), title)
    sections = [Section(f"part-{place}", figure.title, "", [figure]) for place, figure in enumerate(figures)]
    links = [element("a", section.title, href=f"#{section.name}") for section in sections]
    path = to / f"{name}.html"
    write(path, document(title, head, links, [section_html(section) for section in sections]))
    return path

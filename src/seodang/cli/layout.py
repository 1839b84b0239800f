"""Text in columns: Korean letters are two cells wide, and lines fold at the width of the terminal."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Sequence

GAP = 2
NARROWEST = 24
"""Cells a folded last column keeps, however narrow the terminal is."""


def width(text: str) -> int:
    """Return how many cells of a terminal `text` takes."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text
    )


def padded(text: str, cells: int, right: bool = False) -> str:
    space = " " * max(0, cells - width(text))
    return space + text if right else text + space


def screen_width() -> int | None:
    """Return the width lines fold at, or None where nobody looks and lines stay whole."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrapped(text: str, cells: int | None) -> list[str]:
    """Cut `text` at spaces (a longer word stays whole) into lines of at most `cells`; its own line breaks remain."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        if cells is None:
            lines.append(paragraph)
            continue
        line = ""
        for word in paragraph.split(" "):
            if line and width(line) + 1 + width(word) > cells:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return lines


def columns(
    rows: Sequence[Sequence[str]], total: int | None = None, indent: int = 0, numeric: Sequence[int] = ()
) -> list[str]:
    """Return `rows` as aligned lines; the last column folds so that lines stay within `total` cells.

    Columns listed in `numeric` are aligned to the right.
    """
    if not rows:
        return []
    count = max(map(len, rows))
    full = [[*row, *[""] * (count - len(row))] for row in rows]
    widths = [max(width(row[column]) for row in full) for column in range(count)]
    before = indent + sum(widths[:-1]) + GAP * (count - 1)
    lines = []
    for row in full:
        last = wrapped(row[-1], None if total is None else max(NARROWEST, total - before))
        for number, part in enumerate(last):
            cells = row[:-1] if number == 0 else [""] * (count - 1)
            fitted = [padded(cell, widths[place], place in numeric) for place, cell in enumerate(cells)]
            end = padded(part, widths[-1], True) if count - 1 in numeric else part
            lines.append((" " * indent + (" " * GAP).join([*fitted, end])).rstrip())
    return lines


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> list[str]:
    """Return a table with a line under its headers, folded at the terminal's width."""
    lines = columns([headers, *rows], screen_width(), numeric=numeric)
    first = columns([headers, *rows], None, numeric=numeric)[0]
    if lines[0] != first:  # the headers themselves folded: no line under them
        return lines
    widest = max(map(width, lines))
    return [lines[0], "─" * widest, *lines[1:]]

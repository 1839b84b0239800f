"""What was measured of a ladder, written down: a page in Markdown with its charts, and the header of the ladder's file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seodang.comparison.ladder import Ladder
from seodang.comparison.results import plus_minus, row_cells
from seodang.core.files import make_folders, write
from seodang.core.language import say, translated
from seodang.visualize.comparison import figures
from seodang.visualize.draw import save
from seodang.visualize.scale import duration

MEASURED = "# Measured:"

Found = Mapping[str, Any]


def write_page(ladder: Ladder, found: Found, file: Path, folder: Path, measured: str) -> Path:
    """Write the page of a ladder and its charts into `folder`, and the figures into the header of `file`; return the page.

    `measured` says on what, when, and with which code.
    """
    make_folders(folder)
    named = {figure.name: figure for figure in figures(found)}
    pictures = []
    for chart in ladder.charts:
        if chart in named:
            name = file.stem if chart == "comparison" else f"{file.stem}-{chart}"
            pictures.append((named[chart].title, save(named[chart], folder, name).name))
    page = folder / f"{file.stem}.md"
    write(page, "\n".join(page_lines(ladder, found, file, pictures, measured)) + "\n")
    text = file.read_text(encoding="utf-8")
    write(file, with_measured(text, header_lines(found, measured)))
    return page


def page_lines(
    ladder: Ladder, found: Found, file: Path, pictures: Sequence[tuple[str, str]], measured: str
) -> list[str]:
    """Return the page."""
    command = ladder.name if file.stem == ladder.name else file.name
    lines = [f"# {ladder.name}", "", translated(ladder.about), "", f"    seodang compare {command}", ""]
    lines += [f"{say('Measured:')} {measured}, {took(found)}.", ""]
    lines += markdown(*row_cells(found))
    for title, name in pictures:
        lines += ["", f"![{title}]({name})"]
    lines += ["", *(f"{text}\n" for text in found["verdicts"])]
    for table in found["afterwards"]:
        lines += [f"## {table['title']}", "", *markdown(table["heads"], table["cells"]), ""]
    lines += [f"## {say('What was compared')}", ""]
    lines += [say("Recipe: {recipe}. Seeds: {seeds}.", recipe=f"`{Path(ladder.recipe).stem}`",
                  seeds=", ".join(map(str, found["seeds"]))), ""]  # fmt: skip
    if ladder.settings:
        lines += [say("For all variants: {settings}.", settings=settings_text(ladder.settings)), ""]
    rows = [(row["name"], settings_text(row["settings"]) or "–") for row in found["variants"]]
    lines += [*markdown([say("variant"), say("settings")], rows, numbers=False), ""]
    lines += [f"{text}\n" for text in found["notes"]]
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.rstrip("\n") if line.endswith("\n") and number == len(lines) - 1 else line
            for number, line in enumerate(lines)]  # fmt: skip


def took(found: Found) -> str:
    """Return in words how long it took: the whole, or where it was done in parts the training of its runs."""
    if found["wall_seconds"] is not None:
        return say("{time} in all, {processes} at a time, threads each: {threads}", time=duration(found["wall_seconds"]),
                   processes=found["processes"], threads=found["threads"])  # fmt: skip
    seconds = sum(run["train_seconds"] or 0.0 for row in found["variants"] for run in row["runs"])
    return say("{time} of training in all runs together", time=duration(seconds))


def settings_text(settings: Mapping[str, Any]) -> str:
    from seodang.training.resolve import flat

    return ", ".join(f"`{key} = {_toml(value)}`" for key, value in flat(settings))


def _toml(value: Any) -> str:
    """Return a value as TOML has it, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = True) -> list[str]:
    """Return a table in Markdown; with `numbers` all columns but the first are set to the right."""
    rule = ["---", *["---:" if numbers else "---"] * (len(heads) - 1)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (heads, rule, *rows)]


# ------------------------------------------------------------------------------------------- the ladder's own file


def header_lines(found: Found, measured: str) -> list[str]:
    """Return the lines of a header: on what it was measured, and a line for each variant."""
    name = found["metric"]["name"]
    longest = max(len(row["name"]) for row in found["variants"])
    rows = [
        f"#   {row['name']:<{longest}}  {plus_minus(name, row['mean'], row['standard_error'])}"
        for row in found["variants"]
    ]
    return [f"{MEASURED} {measured}, {len(found['seeds'])} seeds, {name}:", *rows]


def with_measured(text: str, header: Sequence[str]) -> str:
    """Put `header` where the measured lines of a file were, or below its first comments. Everything else stays."""
    lines = text.splitlines()
    comments = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    old = next((place for place, line in enumerate(lines[:comments]) if line.startswith(MEASURED)), comments)
    end = old + (old < comments)
    while end < comments and re.match(r"#   \S", lines[end]) and "seodang compare" not in lines[end]:
        end += 1
    return "\n".join([*lines[:old], *header, *lines[end:]]) + "\n"

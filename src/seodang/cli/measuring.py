"""seodang check RECIPE --measure: train it anew, compare with its promise, and write what was measured into its file."""

from __future__ import annotations

import math
import re
import subprocess
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seodang.cli.command import FAILED
from seodang.cli.display import number, score, write_json, write_lines
from seodang.cli.layout import table
from seodang.cli.settings import toml_key, toml_value
from seodang.core.errors import ConfigError, RunError
from seodang.core.language import say

if TYPE_CHECKING:
    from seodang.api import Run

BLOCK = re.compile(r"^\[expected(\.[^\]]*)?\]")
TABLE = re.compile(r"^\[")
MEASURED = "# Measured:"


class Row(NamedTuple):
    """One number: measured now, as written in the recipe, and its bounds."""

    name: str
    measured: float | None
    written: float | None
    at_least: float | None
    at_most: float | None

    @property
    def kept(self) -> bool:
        """Whether the promise is kept; a number that is missing or not finite keeps none."""
        if self.at_least is None and self.at_most is None:
            return True
        if self.measured is None or not math.isfinite(self.measured):
            return False
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.at_most is None or self.measured <= self.at_most
        )


def check_promise(name: str, write: bool, promises: Mapping[str, list[str]], plugin: str | None, machine: bool) -> int:
    """Train, compare, write if asked; return the exit code: 1 if the recipe falls short of its promise."""
    from seodang import api  # lazy: 0.1 s
    from seodang.cli.training import watched
    from seodang.core.run import new_run_path
    from seodang.core.shipped import recipe_path

    file = recipe_path(name)
    if write:
        _require_own_file(file)
    recipe, _ = api.read_recipe(file)
    bounds = {kind: _numbers(words) for kind, words in promises.items()}
    path = new_run_path(recipe.name)
    with watched([recipe.name, say("Run: {path}", path=path)], path, False, machine) as console:
        run = api.train(file, run=path, plugin=plugin, listeners=[console])
    if run.result is None:
        raise RunError("{path}: the run was stopped, so there is nothing to compare.", path=path)
    old = recipe.expected.values() if recipe.expected else {}
    for kind, values in bounds.items():
        old[kind] = {**old.get(kind, {}), **values}
    rows = compare(run.result, old)
    kept = all(row.kept for row in rows)
    if write:
        block = expected_block(run, old)
        write_block(file, block)
    if machine:
        write_json({"recipe": recipe.name, "run": str(run.path), "kept": kept, "rows": [row._asdict() for row in rows],
                    "written": str(file) if write else None})  # fmt: skip
    else:
        write_lines(report(rows, kept, file if write else None))
    return 0 if kept else FAILED


def _numbers(words: list[str]) -> dict[str, float]:
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise ConfigError(
                "'{word}': a promise is written name=number, for example accuracy=0.97.", word=word
            ) from None
    return found


def compare(result: Mapping[str, Any], expected: Mapping[str, Any]) -> list[Row]:
    """Return a row for every score, for the minutes, and for everything that is promised."""
    measured = {name: float(value) for name, value in result["scores"].items()}  # NaN is a text in JSON
    measured["minutes"] = result["train_seconds"] / 60
    written = {**expected.get("scores", {}), **({"minutes": expected["minutes"]} if "minutes" in expected else {})}
    least, most = expected.get("at_least", {}), expected.get("at_most", {})
    names = dict.fromkeys([*measured, *least, *most])
    return [Row(name, measured.get(name), written.get(name), least.get(name), most.get(name)) for name in names]


def report(rows: list[Row], kept: bool, file: Path | None) -> list[str]:
    shown = []
    for row in rows:
        bounds = [f"≥ {score(row.name, row.at_least)}"] if row.at_least is not None else []
        bounds += [f"≤ {score(row.name, row.at_most)}"] if row.at_most is not None else []
        now = "–" if row.measured is None else score(row.name, row.measured)
        before = "–" if row.written is None else score(row.name, row.written)
        mark = "" if not bounds else "✓" if row.kept else "✗"
        shown.append((row.name, now, before, " ".join(bounds), mark))
    lines = ["", *table([say("score"), say("measured"), say("written"), say("promised"), ""], shown, numeric=(1, 2))]
    if not any(row.at_least is not None or row.at_most is not None for row in rows):
        lines.append(say("The recipe promises nothing yet. Write a promise: --measure --write --at-least accuracy=…"))
    else:
        lines.append(say("The promise is kept.") if kept else say("It falls short of its promise."))
    return [*lines, say("Written into {file}", file=file)] if file else lines


# ----------------------------------------------------------------------------------------------- writing


def _require_own_file(file: Path) -> None:
    """Refuse to write into an installed package: a shipped recipe is written in a checkout only.

    Raises: ConfigError
    """
    from seodang.core.shipped import RECIPES

    shipped = file.resolve().parent == RECIPES.resolve()
    if shipped and not (RECIPES.parents[2] / "pyproject.toml").is_file():
        raise ConfigError("{file}: belongs to the installed package. Make it yours first: seodang new recipe NAME --from {name}",
                          file=file, name=file.stem)  # fmt: skip


def expected_block(run: Run, old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``[expected]`` block of what `run` measured; the bounds of the old block stay."""
    result = run.result
    assert result is not None
    return {
        "machine": machine_text(run),
        "date": str(date.today()),
        "commit": commit(),
        "minutes": round(result["train_seconds"] / 60, 3),
        "scores": {
            name: round(value, 6) for name, value in result["scores"].items() if isinstance(value, (int, float))
        },
        "at_least": dict(old.get("at_least", {})),
        "at_most": dict(old.get("at_most", {})),
    }


def machine_text(run: Run) -> str:
    """Return in a few words what a run was computed on."""
    here = run.read_json("environment.json") or {}
    result = run.result or {}
    if result.get("device", "cpu") != "cpu":
        return f"{result.get('devices', 1)} x {result['device']}"
    threads = result.get("threads", 1)
    return f"{threads} {'core' if threads == 1 else 'cores'}, {here.get('processor', 'unknown processor')}"


def commit() -> str:
    """Return the commit of the checkout Seodang runs from, marked if its code has been changed since; else its version."""
    from seodang import __version__

    folder = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        head = git("rev-parse", "--short=10", "HEAD")
        changed = git("status", "--porcelain", "--", ":/*.py")
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"
    return f"{head}, changed" if changed else head


def write_block(file: Path, block: Mapping[str, Any]) -> None:
    """Put `block` into the recipe's file, and the ``Measured:`` line into its header. Everything else stays as it is.

    Raises: ConfigError if the file is written in a way that cannot be kept.
    """
    from seodang.core.files import write

    text = file.read_text(encoding="utf-8")
    changed = with_block(text, block)
    before, after = tomllib.loads(text), tomllib.loads(changed)
    before.pop("expected", None)
    if after.pop("expected", None) != {key: value for key, value in block.items() if value != {}} or after != before:
        raise ConfigError(
            "{file}: cannot be rewritten safely. Write 'expected' as a block [expected] of its own.", file=file
        )
    write(file, changed)


def with_block(text: str, block: Mapping[str, Any]) -> str:
    lines, inside = [], False
    for line in text.splitlines():
        if TABLE.match(line):
            inside = bool(BLOCK.match(line))
        if not inside:
            lines.append(line)
    while lines and not lines[-1].strip():
        lines.pop()
    values = [f"{key} = {toml_value(value)}" for key, value in block.items() if value != {}]
    return "\n".join([*_with_header(lines, block), "", "[expected]", *values]) + "\n"


def _with_header(lines: list[str], block: Mapping[str, Any]) -> list[str]:
    """Put the measured line where the old one was, else below the first line of the header."""
    figures = ", ".join(f"{toml_key(name)} {number(value)}" for name, value in block["scores"].items())
    line = f"{MEASURED} {block['machine']}, {block['date']}, commit {block['commit']}: {number(block['minutes'])} min, {figures}."
    old = next((place for place, text in enumerate(lines) if text.startswith(MEASURED)), None)
    if old is not None:
        return [*lines[:old], line, *lines[old + 1 :]]
    top = 1 if lines and lines[0].startswith("#") else 0
    return [*lines[:top], line, *lines[top:]]

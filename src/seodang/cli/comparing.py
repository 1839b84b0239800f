"""seodang compare: variants of a recipe with several seeds, side by side."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from seodang.cli.command import (
    DOWNLOAD,
    INTERRUPTED,
    Data,
    Debug,
    Download,
    Json,
    Plugin,
    Quiet,
    complain,
    environment,
)
from seodang.cli.display import duration, say_aside, score, write_json, write_lines
from seodang.cli.layout import columns, padded, screen_width, table, width, wrapped
from seodang.core.errors import ConfigError
from seodang.core.language import say

CELLS = 40

Words = Annotated[list[str] | None, typer.Argument(metavar="[section.key=a,b,c …]", help=say(
    "Settings: with commas the values to compare (several such: every combination), without for all variants."))]  # fmt: skip


def compare(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE|LADDER", help=say(
        "A recipe; or a ladder, which holds its variants: a shipped name, or a TOML file."))],
    settings: Words = None,
    seeds: Annotated[int | None, typer.Option("--seeds", metavar="N", help=say(
        "How many seeds each variant is trained with, by default 3; the first is the recipe's."))] = None,
    paired: Annotated[bool, typer.Option("--paired", help=say(
        "Take the first values of all lists together, then the second…, in place of every combination."))] = False,
    variant: Annotated[list[str] | None, typer.Option("--variant", metavar="'NAME: key=value …'", help=say(
        "A whole combination of settings; give it several times. 'plain:' is the recipe as it is."))] = None,
    data: Data = None,
    to: Annotated[str | None, typer.Option("--to", metavar="DIR", help=say(
        "The folder of the comparison. Default: one below runs/, found again by the same command."))] = None,
    processes: Annotated[int | None, typer.Option("--processes", metavar="N", help=say(
        "Runs at a time. Default: as many as there are cores, one thread each; on a GPU one."))] = None,
    search: Annotated[bool, typer.Option("--search", help=say(
        "Search ranges, for example optimizer.lr=1e-4..1e-1, with Optuna (pip install 'seodang[search]')."))] = False,
    trials: Annotated[int, typer.Option("--trials", metavar="N", help=say("How many runs a search makes."))] = 20,
    plugin: Plugin = None,
    download: Download = False,
    quiet: Quiet = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    from seodang.comparison.comparing import Terms, compare_ladder, compare_variants  # lazy: 0.2 s
    from seodang.comparison.ladder import find_ladder, shared_settings
    from seodang.comparison.variants import variants_of

    watch = Watch(sys.stderr if machine else sys.stdout, quiet)
    terms = Terms(data, to, processes, plugin, watch.begin, watch, say_aside)
    with environment(DOWNLOAD, "1" if download else None), finished_or_exit(watch, machine) as ended:
        ladder = find_ladder(recipe)
        if ladder is not None:
            if search or paired or variant:
                raise ConfigError(
                    "{name}: is a ladder and has its variants: no --search, --paired or --variant.", name=recipe
                )
            made = ended(compare_ladder(ladder, shared_settings(ladder, settings or []), terms, seeds))
        elif search:
            made = ended(_searched(recipe, settings or [], trials, paired or bool(variant), terms))
        else:
            variants, shared = variants_of(settings or [], paired, variant or [])
            made = ended(compare_variants(recipe, variants, shared, terms, 3 if seeds is None else seeds))
    if machine:
        write_json({**made.found, "page": str(made.page)})
    else:
        write_lines(report(made.found, made.path))
        if search and made.best:
            print(say("Is it luck? {command}", command=_again(recipe, settings or [], made[made.best]["settings"])))
    if broken(made.found):
        raise typer.Exit(2)


@contextmanager
def finished_or_exit(watch: Watch, machine: bool) -> Iterator[Callable[[Any], Any]]:
    """Give a function that returns a comparison if it has ended; if it was stopped, say how to go on, and exit."""

    def ended(made: Any) -> Any:
        if made.stopped_by is not None:
            raise typer.Exit(
                complain(_go_on(made.path, saved=True), "KeyboardInterrupt", 128 + made.stopped_by, machine)
            )
        return made

    try:
        yield ended
    except KeyboardInterrupt:
        raise typer.Exit(complain(_go_on(watch.folder), "KeyboardInterrupt", INTERRUPTED, machine)) from None


def _searched(recipe: str, words: list[str], trials: int, other: bool, terms: Any) -> Any:
    from seodang.comparison.searching import search_space, space_of

    if other:
        raise ConfigError("--search: takes ranges and lists, neither --paired nor --variant.")
    return search_space(recipe, *space_of(words), terms, trials)


def _again(recipe: str, words: list[str], found: Mapping[str, Any]) -> str:
    """Return the command that compares what was found with the recipe as it is, over several seeds."""
    from seodang.cli.settings import toml_value

    fixed = [word for word in words if word.partition("=")[0] not in found]
    best = " ".join(f"{key}={value if isinstance(value, str) else toml_value(value)}" for key, value in found.items())
    return " ".join(["seodang compare", recipe, *fixed, f"--variant recipe: --variant 'found: {best}' --seeds 5"])


class Watch:
    """Tells how each run ended, and how long the rest will take."""

    def __init__(self, stream: TextIO, quiet: bool) -> None:
        self.stream, self.quiet = stream, quiet
        self.folder: Path | None = None
        self._began = time.monotonic()
        self._ended = self._left = 0
        self._metric = ""

    def begin(self, folder: Path, plan: Any, processes: int, left: int, count: int) -> None:
        self.folder, self._left, self._metric = folder, left, str(plan.facts["name"])
        self._began = time.monotonic()
        values = {"title": plan.title, "processes": processes, "threads": plan.threads}
        if "search" in plan.facts:
            self._say(
                say(
                    "{title}: a search of {count} trials; {processes} at a time, threads each: {threads}.",
                    count=count,
                    **values,
                )
            )
        else:
            self._say(say("{title}: {variants} variants × {seeds} seeds; {processes} at a time, threads each: {threads}.",
                          variants=len(plan.variants), seeds=len(plan.seeds), **values))  # fmt: skip
        for note in plan.notes:
            self._say(note)
        if left < count:
            done = count - left
            self._say(say("{done} of {count} runs have finished before; they are kept.", done=done, count=count))
        self._say(say("Folder: {path}", path=folder))

    def __call__(self, outcome: Any) -> None:
        from seodang.core.run import RunFolder

        self._ended += 1
        if outcome.state == "finished" and self.folder:
            scores = RunFolder(self.folder / outcome.name).scores
            said = f"{self._metric} {score(self._metric, scores.get(self._metric))}"
        else:
            said = outcome.message or say("stopped")
        count = f"{self._ended:>{len(str(self._left))}}/{self._left}"
        rest = (time.monotonic() - self._began) / self._ended * (self._left - self._ended)
        left = "  " + say("{time} left", time=duration(rest)) if self._ended < self._left else ""
        self._say(f"{count}  {outcome.name}  {said}{left}")

    def _say(self, text: str) -> None:
        if not self.quiet:
            print(text, file=self.stream, flush=True)


def _go_on(folder: Path | None, saved: bool = False) -> str:
    if folder is None:
        return say("Interrupted before the first run began; nothing was written.")
    if saved:
        return say("Stopped; every run is saved. Go on with the same command: what has finished in {path} is not done again.",
                   path=folder)  # fmt: skip
    return say(
        "Stopped at once. Go on with the same command: what has finished in {path} is not done again.", path=folder
    )


def broken(found: Mapping[str, Any]) -> bool:
    """Return whether a run failed by anything but its own numbers: a rate that is too high is a result."""
    return any(run["state"] != "finished" and run.get("kind") != "TrainingError"
               for row in found["variants"] for run in row["runs"])  # fmt: skip


# ------------------------------------------------------------------------------------------------ in words


def report(found: Mapping[str, Any], folder: Path) -> list[str]:
    """Return a comparison for people: chart, table, what can be said, where everything is."""
    from seodang.comparison.results import row_cells

    heads, rows = row_cells(found)
    lines = ["", *chart(found), "", *table(heads, rows, numeric=range(1, len(heads))), ""]
    for text in found["verdicts"]:
        lines += wrapped(text, screen_width())
    lines.append("")
    for text in found["notes"]:
        lines += wrapped(text, screen_width())
    for item in found["afterwards"]:
        lines += ["", item["title"], *table(item["heads"], item["cells"], numeric=range(1, len(item["heads"])))]
    rows_ = [(say("Page"), str(folder / "comparison.html")), (say("Runs"), str(folder))]
    return [*lines, "", *columns(rows_, screen_width())]


def chart(found: Mapping[str, Any]) -> list[str]:
    """Return a row for each variant: · a seed, ● the mean, ├─┤ its standard error."""
    rows = [row for row in found["variants"] if row["mean"] is not None]
    values = [run["score"] for row in rows for run in row["runs"] if run["score"] is not None]
    values += [row["mean"] + sign * (row["standard_error"] or 0) for row in rows for sign in (-1, 1)]
    if not values:
        return []
    low, high = min(values), max(values)
    name = found["metric"]["name"]
    longest = max(width(row["name"]) for row in rows)

    def cell(value: float) -> int:
        return round((value - low) / (high - low) * (CELLS - 1)) if high > low else CELLS // 2

    lines = []
    for row in rows:
        cells = [" "] * CELLS
        if error := row["standard_error"]:
            first, last = cell(row["mean"] - error), cell(row["mean"] + error)
            cells[first : last + 1] = "─" * (last + 1 - first)
            cells[first], cells[last] = "├", "┤"
        for run in row["runs"]:
            if run["score"] is not None and cells[cell(run["score"])] in " ─":
                cells[cell(run["score"])] = "·"
        cells[cell(row["mean"])] = "●"
        lines.append(f"{padded(row['name'], longest)}  {''.join(cells)}  {score(name, row['mean'])}")
    ends = f"{score(name, low)}{score(name, high).rjust(CELLS - len(score(name, low)))}"
    return [*lines, f"{' ' * longest}  {ends}"]

"""seodang find-lr: which learning rate to take, from a training of a few seconds with a rising rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seodang.cli.command import DOWNLOAD, Data, Debug, Download, Json, Plugin, RecipeName, Settings, environment, load
from seodang.cli.display import say_aside, write_json, write_lines
from seodang.cli.layout import screen_width, table, wrapped
from seodang.core.errors import ConfigError
from seodang.core.language import say
from seodang.core.places import expanded

ROWS = 16
BAR = 32


def find_lr(
    recipe: RecipeName,
    settings: Settings = None,
    data: Data = None,
    low: Annotated[float, typer.Option("--from", metavar="RATE", help=say("Smallest rate that is tried."))] = 1e-6,
    high: Annotated[float, typer.Option("--to", metavar="RATE", help=say("Largest rate that is tried."))] = 10.0,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=20, help=say("Updates on the way up."))] = 120,
    chart: Annotated[str | None, typer.Option("--chart", metavar="FILE", help=say(
        "Draw the curve into this file, an SVG. Default: find-lr-NAME.svg in the folder of runs."))] = None,
    plugin: Plugin = None,
    download: Download = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang import api  # lazy: 1 s
    from seodang.core.run import runs_folder
    from seodang.training.rate_finder import facts_of, find_rate

    if chart and not chart.endswith(".svg"):
        raise ConfigError("--chart {path}: the curve is drawn as SVG; name a file that ends in .svg.", path=chart)
    with environment(DOWNLOAD, "1" if download else None):
        resolved, notes = api.read_recipe(recipe, data, settings or [])
        path = expanded(chart) if chart else runs_folder() / f"find-lr-{resolved.name}.svg"
        for note in notes:
            say_aside(note)
        found = find_rate(resolved, low, high, steps)
    path = draw(found, path)
    if machine:
        write_json({"recipe": resolved.name, **facts_of(found), "chart": str(path)})
        return
    write_lines([*curve(found), "", *wrapped(found.reason, screen_width())])
    if found.proposal is not None:
        print(say("Take it: {command}", command=f"seodang train {recipe} optimizer.lr={found.proposal:g}"))
    print(say("Curve: {path}", path=path))


def curve(found: Any) -> list[str]:
    """Return the smoothed loss as bars, one for each of some rates; ← marks the rate proposed."""
    count = len(found.rates)
    places = sorted({round(step * (count - 1) / (ROWS - 1)) for step in range(ROWS)}) if count else []
    shown = [found.smoothed[place] for place in places]
    if not shown:
        return []
    ceiling = max(shown[0], min(shown)) * 1.5 or 1.0
    nearest = min(places, key=lambda place: abs(found.rates[place] / (found.proposal or 1) - 1))
    rows = []
    for place, value in zip(places, shown, strict=True):
        cells = round(min(value / ceiling, 1.0) * BAR)
        mark = "←" if found.proposal is not None and place == nearest else ""
        rows.append(
            (f"{found.rates[place]:.2g}", f"{value:.4g}", "█" * cells + ("…" if value > ceiling else "") + mark)
        )
    return table([say("rate"), say("loss"), ""], rows, numeric=(0, 1))


def draw(found: Any, path: Path) -> Path:
    """Write the curve as SVG: each loss, the smoothed loss, and the proposal; return the file."""
    from seodang.visualize.draw import save  # lazy: 1 s
    from seodang.visualize.figure import Axis, Lines, Mark, Series

    least, first = min(found.losses, default=0.0), found.smoothed[0] if found.smoothed else 1.0
    reach = max(first - least, 1e-9)
    marks: tuple[Mark, ...] = ()
    if found.proposal is not None:
        place = min(range(len(found.rates)), key=lambda place: abs(found.rates[place] - found.proposal))
        marks = (Mark(found.proposal, found.smoothed[place], f"{found.proposal:g}", 1),)
    series = (Series(say("loss of each update"), found.rates, found.losses, colour=5),
              Series(say("smoothed"), found.rates, found.smoothed, colour=0))  # fmt: skip
    figure: Any = Lines(
        say("Loss against the learning rate"), found.reason, series, x=Axis(say("learning rate"), log=True),
        y=Axis(say("loss"), limits=(least - 0.1 * reach, first + 0.5 * reach)), marks=marks, about=found.reason,
    )  # fmt: skip
    return save(figure, path.parent, path.stem)

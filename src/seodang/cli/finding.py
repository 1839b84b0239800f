"""seodang find-lr: which learning rate to take, from a training of a few seconds with a rising rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seodang.cli.command import DOWNLOAD, Data, Debug, Download, Json, Plugin, RecipeName, Settings, environment, load
from seodang.cli.display import say_aside, write_json, write_lines
from seodang.cli.layout import screen_width, table, wrapped
from seodang.core.language import say
from seodang.core.places import expanded

ROWS = 16
BAR = 32


def find_lr(
    recipe: RecipeName,
    settings: Settings = None,
    data: Data = None,
    low: Annotated[float, typer.Option("--low", metavar="RATE", help=say("Smallest rate that is tried."))] = 1e-6,
    high: Annotated[float, typer.Option("--high", metavar="RATE", help=say("Largest rate that is tried."))] = 10.0,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=20, help=say("Updates on the way up."))] = 120,
    to: Annotated[str | None, typer.Option("--to", metavar="DIR", help=say(
        "Where the curve goes. Default: figures/ in the folder of runs."))] = None,
    plugin: Plugin = None,
    download: Download = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang import api  # lazy: 1 s
    from seodang.core.run import runs_folder
    from seodang.training.rate_finder import facts_of, find_rate

    with environment(DOWNLOAD, "1" if download else None):
        resolved, notes = api.read_recipe(recipe, data, settings or [])
        for note in notes:
            say_aside(note)
        found = find_rate(resolved, low, high, steps)
    folder = expanded(to) if to else runs_folder() / "figures"
    paths = draw(found, folder, f"find-lr-{resolved.name}")
    if machine:
        write_json({"recipe": resolved.name, **facts_of(found), "pictures": [str(path) for path in paths]})
        return
    write_lines([*curve(found), "", *wrapped(found.reason, screen_width())])
    if found.proposal is not None:
        print(say("Take it: {command}", command=f"seodang train {recipe} optimizer.lr={found.proposal:g}"))
    write_lines(["", *map(str, paths)])


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


def draw(found: Any, folder: Path, name: str) -> list[Path]:
    """Write the curve as SVG and PNG: each loss, their mean around each rate, and the proposal; return the files."""
    from seodang.visualize.figure import Axis, Lines, Mark, Series  # lazy: 1 s
    from seodang.visualize.raster import save_both

    least, first = min(found.losses, default=0.0), found.smoothed[0] if found.smoothed else 1.0
    reach = max(first - least, 1e-9)
    marks: tuple[Mark, ...] = ()
    if found.proposal is not None:
        place = min(range(len(found.rates)), key=lambda place: abs(found.rates[place] - found.proposal))
        marks = (Mark(found.proposal, found.smoothed[place], f"{found.proposal:g}", 1),)
    series = [Series(say("loss of each update"), found.rates, found.losses, colour=5),
              Series(say("smoothed"), found.rates, found.smoothed, colour=0)]  # fmt: skip
    if found.bottom is not None:
        kept = [(rate, loss) for rate, loss in zip(found.rates, found.smoothed, strict=True)
                if found.bottom[0] <= rate <= found.bottom[1]]  # fmt: skip
        series.append(Series(say("its bottom"), [rate for rate, _ in kept], [loss for _, loss in kept], colour=1))
    figure: Any = Lines(
        say("Loss against the learning rate"), found.reason, tuple(series), x=Axis(say("learning rate"), log=True),
        y=Axis(say("loss"), limits=(least - 0.1 * reach, first + 0.5 * reach)), marks=marks, about=found.reason,
    )  # fmt: skip
    return save_both(figure, folder, name)

"""seodang depth: does the gradient reach the first layer, however deep the network is?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from seodang.cli.command import DOWNLOAD, Data, Debug, Download, Json, Plugin, RecipeName, Settings, environment, load
from seodang.cli.display import say_aside, write_json, write_lines
from seodang.cli.layout import screen_width, table, wrapped
from seodang.core.errors import ConfigError
from seodang.core.files import write
from seodang.core.language import say
from seodang.core.places import expanded


def depth(
    recipe: RecipeName,
    settings: Settings = None,
    data: Data = None,
    depths: Annotated[str, typer.Option("--depths", metavar="N,N,…", help=say(
        "Numbers of hidden layers."))] = "1,2,4,8,16,32,64",
    activations: Annotated[str, typer.Option("--activations", metavar="NAME,NAME,…", help=say(
        "Non-linearities; all takes every one there is."))] = "sigmoid,tanh,relu,elu,gelu",
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=0, help=say(
        "Updates between the two measurements; 0 measures fresh networks only."))] = 20,
    to: Annotated[str | None, typer.Option("--to", metavar="DIR", help=say(
        "Where chart and numbers go. Default: depth-NAME in the folder of runs."))] = None,
    plugin: Plugin = None,
    download: Download = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang import api  # lazy: 1 s
    from seodang.core.run import runs_folder
    from seodang.training.depth_test import depth_test, facts_of
    from seodang.visualize.depth import depth_figures, depth_verdict
    from seodang.visualize.look import save_all

    counts, names = whole_numbers(depths), activations.split(",") if activations != "all" else None
    plain = [f"model.{name}" for name in ("normalization=none", "dropout=0.0")]
    words = settings or []
    with environment(DOWNLOAD, "1" if download else None):
        resolved, notes = api.read_recipe(recipe, data, [
            *(word for word in plain if not any(given.startswith(word.partition("=")[0] + "=") for given in words)), *words])  # fmt: skip
        for note in notes:
            say_aside(note)
        found = list(depth_test(resolved, counts, names, steps))
    facts = facts_of(found, resolved, steps)
    folder = expanded(to) if to else runs_folder() / f"depth-{resolved.name}"
    pictures = save_all(depth_figures(facts["found"], steps), folder)
    facts["chart"] = str(pictures[0])
    write_numbers(folder / "depth.json", facts)
    if machine:
        write_json(facts)
        return
    write_lines([*shown(facts), "", *wrapped(depth_verdict(facts["found"]), screen_width())])
    print(say("Chart: {path}", path=pictures[0]))


def whole_numbers(text: str) -> list[int]:
    try:
        return sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise ConfigError(
            "--depths {text}: whole numbers with commas between, for example 1,4,16.", text=text
        ) from None


def shown(facts: dict[str, Any]) -> list[str]:
    """Return the norm of the gradient in the first layer: a row for each kind of network, a column for each depth."""
    from seodang.visualize.depth import curves  # lazy: 1 s

    depths = sorted({item["depth"] for item in facts["found"]})
    rows = []
    for what, when in (("first", say("at first")), ("first_after", say("after {count}", count=facts["steps"]))):
        for (activation, residual), items in (
            curves(facts["found"]).items() if facts["steps"] or what == "first" else ()
        ):
            values = {item["depth"]: "–" if item[what] is None else f"{item[what]:.2g}" for item in items}
            rows.append([activation, say("yes") if residual else say("no"), when,
                         *(values.get(depth, "") for depth in depths)])  # fmt: skip
    heads = [say("non-linearity"), say("residual"), say("updates"), *map(str, depths)]
    return table(heads, rows, numeric=range(3, len(heads)))


def write_numbers(path: Path, facts: dict[str, Any]) -> None:
    write(path, (json.dumps(facts, indent=1, allow_nan=False) + "\n").encode())

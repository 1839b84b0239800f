"""seodang landscape: ways down classic surfaces, and the loss around the weights of a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seodang.cli.command import DOWNLOAD, Debug, Download, Json, Plugin, environment, load
from seodang.cli.display import say_aside, write_json, write_lines
from seodang.cli.layout import table
from seodang.core.errors import ConfigError, DataError, SeodangError, UnknownName, nearest
from seodang.core.language import say
from seodang.core.places import expanded

if TYPE_CHECKING:
    from seodang.api import Run

DEFAULT_RULES = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")
BATCH, PICTURES = 256, 64
"""Examples at a time; so many pictures stay in the cache of a core."""


def landscape(
    what: Annotated[str, typer.Argument(metavar="SURFACE_OR_RUN", help=say(
        "bowl, ravine, saddle, beale or himmelblau; or the folder of a run."))],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[optimizer.key=value …]", help=say(
        "With a surface: which rules go down it, and their settings: optimizer.name=sgd,adam optimizer.lr=0.05"))] = None,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=1, help=say("With a surface: updates of each rule."))] = 200,
    plane: Annotated[Literal["auto", "random", "pca"], typer.Option("--plane", metavar="KIND", help=say(
        "With a run: random (filter-normalised), or pca (of its checkpoints). auto: pca where there are enough."))] = "auto",
    split: Annotated[str, typer.Option("--split", metavar="SPLIT", help=say("With a run: whose loss."))] = "train",
    examples: Annotated[int, typer.Option("--examples", metavar="N", min=0, help=say(
        "With a run: how many examples the loss is a mean over; 0 takes all."))] = 256,
    side: Annotated[int, typer.Option("--grid", metavar="N", min=3, max=401, help=say(
        "With a run: places along each side of the plane."))] = 41,
    reach: Annotated[float, typer.Option("--reach", metavar="R", min=1e-6, help=say(
        "With a random plane: how far it goes, in lengths of the weights."))] = 1.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help=say("Decides what is drawn by chance."))] = 0,
    to: Annotated[str | None, typer.Option("--to", metavar="DIR", help=say(
        "Where the pictures go. Default: figures/ in the run, or in the folder of runs."))] = None,
    plugin: Plugin = None,
    download: Download = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang.visualize.surfaces import SURFACES  # lazy: 1 s

    folder = expanded(to) if to else None
    if what in SURFACES:
        _surface(SURFACES[what], settings or [], steps, folder, machine)
        return
    if not expanded(what).exists():
        raise UnknownName("'{name}' is neither a surface nor a run.{suggestion} Surfaces: {known}.", name=what,
                          suggestion=nearest(what, SURFACES), known=", ".join(SURFACES))  # fmt: skip
    if settings:
        raise ConfigError("{word}: settings of optimizers go with a surface; a run has its own.", word=settings[0])
    from seodang import api  # lazy: 1 s

    with environment(DOWNLOAD, "1" if download else None):
        run = api.open_run(expanded(what))
        _run(
            run,
            {"plane": plane, "split": split, "examples": examples, "side": side, "reach": reach, "seed": seed},
            folder,
            machine,
        )


# --------------------------------------------------------------------------------------------- surfaces


def _surface(surface: Any, settings: list[str], steps: int, to: Path | None, machine: bool) -> None:
    from seodang.core.run import runs_folder
    from seodang.visualize.landscape_page import surface_figure, ways_table, write_landscape  # lazy: 1 s

    ways = [_way(surface, name, changes, steps) for name, changes in _rules(settings)]
    told = ways_table(surface, ways)
    facts = [(say("surface"), surface.name), (say("rules"), str(len(ways))), (say("updates"), f"{steps:,}")]
    paths = write_landscape(surface_figure(surface, ways), told, to or runs_folder() / "figures", facts)
    if machine:
        found = [{"rule": way.name, "rate": way.rate, "updates": len(way.points) - 1, "end": way.points[-1].tolist(),
                  "height": float(way.heights[-1]), "left_at": way.left_at} for way in ways]  # fmt: skip
        write_json(
            {
                "surface": surface.name,
                "minima": surface.minima,
                "ways": found,
                "pictures": [str(path) for path in paths],
            }
        )
        return
    write_lines([*_lines(told), "", *map(str, paths)])


def _rules(settings: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the rules a person named and their settings."""
    from seodang.core.config import parse_override

    names, changes = list(DEFAULT_RULES), {}
    for word in settings:
        keys, value = parse_override(word)
        if len(keys) != 2 or keys[0] != "optimizer":
            raise ConfigError("{word}: on a surface only the optimizer can be set: optimizer.key=value", word=word)
        if keys[1] == "name":
            names = [name.strip() for name in (value if isinstance(value, list) else str(value).split(","))]
        else:
            changes[keys[1]] = value
    if "muon" in names:
        raise ConfigError("optimizer.name=muon: is a rule for matrices; a point on a surface has no matrix.")
    return [(name, changes) for name in dict.fromkeys(names)]


def _way(surface: Any, name: str, changes: dict[str, Any], steps: int) -> Any:
    from seodang.core.recipe import Choice
    from seodang.training.optim import optimizers
    from seodang.visualize.surfaces import descend

    if name not in optimizers:
        raise UnknownName("There is no optimizer called '{name}'.{suggestion} There are: {known}.", name=name,
                          suggestion=nearest(name, optimizers.names()), known=", ".join(optimizers.names()))  # fmt: skip
    given = {"lr": surface.rates[name]} if name in surface.rates else {}
    rule = optimizers.make(Choice.of({"name": name, **given, **changes}))
    return descend(surface, name, rule.build, lambda step: rule.rate(step, step / steps, steps), steps)


def _lines(told: Any) -> list[str]:
    numeric = [place for place, column in enumerate(told.columns) if column.number]
    return table([column.name for column in told.columns], told.rows, numeric=numeric)


# ------------------------------------------------------------------------------------------------- runs


def _run(run: Run, wanted: dict[str, Any], to: Path | None, machine: bool) -> None:
    import numpy as np  # lazy: 1 s
    import torch

    from seodang import api
    from seodang.training.checkpoint import Checkpoint
    from seodang.visualize.landscape import (
        LEAST_FOR_PCA,
        loss_grid,
        mean_loss,
        pca_plane,
        random_plane,
        reach,
        spots,
        worker_count,
    )
    from seodang.visualize.landscape_page import plane_figure, spots_table, write_landscape

    bundle, task = api.open_bundle(run)
    model = bundle.model
    checkpoints = [(int(path.name[5:]), Checkpoint.read(path).weights) for path in run.checkpoints]
    batches, count = _batches(run, bundle.record.facts, wanted["split"], wanted["examples"])
    if bundle.record.facts.inputs.kind == "image":  # three times as fast on a CPU
        model.to(memory_format=torch.channels_last)
    before = mean_loss(model, task, batches)
    enough = len(checkpoints) > LEAST_FOR_PCA
    if wanted["plane"] == "pca" or (wanted["plane"] == "auto" and enough):
        plane = pca_plane(model, checkpoints)
    else:
        plane = random_plane(model, wanted["seed"], checkpoints)
    found = spots(plane, checkpoints)
    along = np.linspace(-wanted["reach"], wanted["reach"], wanted["side"])
    xs, ys = (along, along) if plane.kind == "random" else reach(found, wanted["side"])
    started = time.perf_counter()
    losses = loss_grid(model, task, batches, plane, xs, ys, _progress(wanted["side"], machine), worker_count(model))
    seconds = time.perf_counter() - started
    about = _about(plane.kind, wanted, count, run.recipe.name)
    told = spots_table(found)
    explained = None if plane.explained is None else sum(plane.explained)
    facts = [(say("run"), run.recipe.name), (say("loss of the trained weights"), f"{before:.4g}"),
             (say("examples"), f"{count:,}"), (say("explained variance"), "–" if explained is None else f"{explained:.1%}"),
             (say("seconds"), f"{seconds:.1f}")]  # fmt: skip
    picture = plane_figure(plane, losses, xs, ys, found, about)
    paths = write_landscape(picture, told, to or run.path / "figures", facts)
    if machine:
        write_json({"run": str(run.path), "plane": plane.kind, "loss": before, "split": wanted["split"], "examples": count,
                    "explained": plane.explained, "checkpoints": [spot._asdict() for spot in found], "seconds": seconds,
                    "x": xs.tolist(), "y": ys.tolist(), "losses": losses[::-1].tolist(),
                    "pictures": [str(path) for path in paths]})  # fmt: skip
        return
    write_lines([*(f"{name}: {value}" for name, value in facts), "", *_lines(told), "", *map(str, paths)])


def _about(kind: str, wanted: dict[str, Any], count: int, name: str) -> str:
    plane = (
        say("random directions, filter by filter as long as the weights (Li et al. 2018)")
        if kind == "random"
        else say("the two directions along which the checkpoints lie furthest from the trained weights")
    )
    return say("{plane}. Mean loss of {count:,} examples of {split}, {side}×{side} places. Batch normalisation keeps the statistics of "
               "the trained weights. Dark is high, yellow low.", plane=plane[:1].upper() + plane[1:], count=count,
               split=wanted["split"], side=wanted["side"])  # fmt: skip


def _progress(side: int, machine: bool) -> Any:
    def told(done: int) -> None:
        if done % (side * max(1, side // 4)) == 0 and done < side * side:
            say_aside(say("{done:,} of {total:,} places", done=done, total=side * side))

    return None if machine else told


def _batches(run: Run, facts: Any, split: str, most: int) -> tuple[list[Any], int]:
    """Return examples of the run's own data as it gives them without chance, in batches; and how many."""
    import torch  # lazy: 1 s

    from seodang.data.dataset import datasets, generator, map_tensors

    data = datasets.make(run.recipe.data, None, run.recipe.seed)
    data.adopt(facts)
    data.prepare()
    if facts.inputs.kind == "world" or not data.facts.sizes:
        raise SeodangError("landscape: needs the loss of fixed examples, and an agent makes its own as it acts.")
    if split not in data.facts.sizes:
        raise DataError("There is no split '{split}' in this data; it has {splits}.", split=split,
                        splits=", ".join(data.facts.sizes))  # fmt: skip
    size = PICTURES if facts.inputs.kind == "image" else BATCH
    source = data.split(split)
    rows = torch.arange(len(source))
    if 0 < most < len(source):
        rows = torch.randperm(len(source), generator=generator("landscape", split, len(source)))[:most].sort().values
    return [map_tensors(source.batch(chunk, None), _laid_out) for chunk in rows.split(size)], len(rows)


def _laid_out(field: Any) -> Any:
    import torch  # lazy: 1 s

    return field.contiguous(memory_format=torch.channels_last) if field.ndim == 4 else field

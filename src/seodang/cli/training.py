"""seodang train, seodang resume."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

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
    RecipeName,
    Settings,
    complain,
    environment,
    load,
)
from seodang.cli.display import byte_count, duration, score, write_json
from seodang.cli.layout import columns, screen_width, wrapped
from seodang.cli.settings import toml_value
from seodang.core.language import say, translated
from seodang.core.places import expanded

if TYPE_CHECKING:
    from seodang.api import Run
    from seodang.cli.console import Console

PROGRESS = "SEODANG_PROGRESS"
"""Set to "stderr" for the processes of a training whose standard output a program reads."""


def train(
    recipe: RecipeName,
    settings: Settings = None,
    data: Data = None,
    run: Annotated[str | None, typer.Option("--run", metavar="DIR", help=say(
        "The folder of the run; it must not exist yet. Default: a new one below runs/."))] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="RUN", help=say(
        "Begin with the weights of a run, a checkpoint, a bundle, or published ones (resnet18.imagenet), under a new head."))] = None,
    plugin: Plugin = None,
    download: Download = False,
    quiet: Quiet = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang import api  # lazy: 0.1 s
    from seodang.core.run import new_run_path

    if start is not None:
        settings = [*(settings or []), f"train.start={toml_value(start)}"]
    with environment(DOWNLOAD, "1" if download else None):
        for address in (recipe, start):
            _fetch(address)
        resolved, notes = api.read_recipe(recipe, data, settings or [])
        path = expanded(run) if run else None if api.in_process_group() else new_run_path(resolved.name)
        heading = [*notes, say("Run: {path}", path=path)]
        _introduce(resolved, quiet, machine)
        with watched(heading, path, quiet, machine) as console:
            finished = api.train(
                recipe, data=data, run=path, plugin=plugin, overrides=settings or [], listeners=[console]
            )
            _conclude(finished, console, machine, _picked(notes))


def _fetch(address: str | None) -> None:
    """Make a bundle of published weights that are asked for by their address, once; they are fetched if the user agrees."""
    if address is None or "." not in address or expanded(address).exists():
        return
    from seodang.cli.using import official_file  # lazy: 1 s
    from seodang.deploy.importing import import_weights
    from seodang.models.published import PUBLISHED
    from seodang.training.transfer import bundle_folder

    if address in PUBLISHED and not (folder := bundle_folder(address)).exists():
        import_weights(official_file(address), address, folder, {})


def _picked(notes: Sequence[str]) -> list[dict[str, Any]]:
    """Return what was picked from the data, for programs."""
    return [
        {name: getattr(note, name) for name in ("setting", "value", "why")}
        for note in notes
        if hasattr(note, "setting")
    ]


def resume(
    run: Annotated[str, typer.Argument(metavar="RUN", help=say("Folder of a run."))],
    allow_numeric_drift: Annotated[bool, typer.Option("--allow-numeric-drift", help=say(
        "Go on although code, thread count or machine have changed: the result differs in its last digits."))] = False,
    plugin: Plugin = None,
    download: Download = False,
    quiet: Quiet = False,
    machine: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    load(plugin)
    from seodang import api  # lazy: 0.1 s

    opened = api.open_run(expanded(run))
    _introduce(opened.recipe, quiet, machine)
    heading = [say("Run: {path}", path=opened.path)]
    with environment(DOWNLOAD, "1" if download else None), watched(heading, opened.path, quiet, machine) as console:
        finished = api.resume(opened, plugin=plugin, allow_drift=allow_numeric_drift, listeners=[console])
        _conclude(finished, console, machine)


@contextmanager
def watched(heading: Sequence[str], path: Path | None, quiet: bool, machine: bool) -> Iterator[Console]:
    """Show progress. A second Ctrl-C, or one before the training began, ends here: nothing more is saved then."""
    from seodang.cli.console import Console

    console = Console(_stream(machine), quiet)
    try:
        with environment(PROGRESS, "stderr" if machine else None), console.watching(heading):
            yield console
    except KeyboardInterrupt:
        raise typer.Exit(complain(_stopped_at_once(path), "KeyboardInterrupt", INTERRUPTED, machine)) from None


def _stopped_at_once(path: Path | None) -> str:
    from seodang.core.run import RunFolder  # lazy: 0.1 s

    if path is None or not (path / "recipe.toml").exists():
        return say("Interrupted before the training began; nothing was written.")
    if RunFolder(path).is_complete:
        return say("Interrupted.")
    return say("Stopped at once, without saving. Go on from the newest checkpoint:\n  seodang resume {path}", path=path)


def _introduce(recipe: Any, quiet: bool, machine: bool) -> None:
    """Say at once what will be trained: reading the data may take a while."""
    from seodang.api import in_process_group

    if not quiet and not in_process_group():
        text = f"{recipe.name}: {translated(recipe.about)}" if recipe.about else recipe.name
        for line in wrapped(text, screen_width()):
            print(line, file=_stream(machine), flush=True)


def _stream(machine: bool) -> TextIO:
    return sys.stderr if machine or os.environ.get(PROGRESS) == "stderr" else sys.stdout


# ----------------------------------------------------------------------------------------------- the end


def _conclude(run: Run, console: Console, machine: bool, picked: Sequence[Any] = ()) -> None:
    """Say how the run ended; exit with the code of the signal that ended it, if one did."""
    told = not console.started  # by the processes of a launched training; or this is one of them, and not the first
    if machine:
        write_json({**summary(run), **({"picked": list(picked)} if picked else {})})
    elif not told:
        stream = console.stream
        for line in finished_lines(run) if run.result else stopped_lines(run, console.step):
            print(line, file=stream, flush=True)
    if run.stopped_by is not None:
        raise typer.Exit(128 + run.stopped_by)


def summary(run: Run) -> dict[str, Any]:
    """Return how a run stands, for programs."""
    report = run.path / "report.html"
    return {
        "run": str(run.path),
        "status": run.status,
        "scores": run.scores,
        "result": run.result,
        "report": str(report) if report.exists() else None,
    }


def stopped_lines(run: Run, step: int) -> list[str]:
    return [say("Stopped at step {step:,}; everything is saved. Go on:", step=step), f"  seodang resume {run.path}"]


def finished_lines(run: Run) -> list[str]:
    """Return the end of a run for people: scores, costs, where everything is, what to try next."""
    result = run.result or {}
    report = run.path / "report.html"
    speeds = {name.removesuffix("_per_second"): value for name, value in result.items() if name.endswith("_per_second")}
    speed = next((say("{count:,.0f} {things}/s", count=value, things=translated(name))
                  for name, value in speeds.items() if value), "")  # fmt: skip
    costs = [duration(result.get("train_seconds", 0)), speed, byte_count(result.get("peak_memory_bytes", 0))]
    rows = []
    if result.get("scores"):
        rows.append((say("Scores ({split})", split=result.get("split")),
                     "  ".join(f"{name} {score(name, value)}" for name, value in result["scores"].items())))  # fmt: skip
    if result.get("best_step") not in (None, result.get("steps")):
        rows.append(
            (
                say("Best model"),
                say("that of step {best:,} of {steps:,}", best=result["best_step"], steps=result["steps"]),
            )
        )
    rows.append((say("Training"), ", ".join(part for part in costs if part)))
    rows.append((say("Run"), str(run.path)))
    if report.exists():
        rows.append((say("Report"), str(report)))
    rows += [(say("Try next") if place == 0 else "", command) for place, command in enumerate(next_commands(run))]
    return ["", *columns(rows, screen_width())]


def next_commands(run: Run) -> list[str]:
    """Return three commands that make sense after this run."""
    from seodang.core.recipe import LENGTHS

    inputs = {
        "image": "PICTURE.png",
        "tokens": "'ROMEO:' --max-tokens 200" if run.recipe.data.name == "tinyshakespeare" else "TEXT --max-tokens 200",
        "table": "ROW",
        "vector": "ROW",
        "vae": "'sample 16' to=drawn.png",
        "gan": "'sample 16' to=drawn.png",
        "world": "",
    }
    kind = run.recipe.task.name
    if kind not in inputs and run.best is not None:
        record = run.read_json(f"checkpoints/{run.best.name}/model.json") or {}
        kind = record.get("facts", {}).get("inputs", {}).get("kind", "")
    train = run.recipe.train
    name, length = next(((name, value) for name in LENGTHS if (value := getattr(train, name))), ("steps", 1000))
    first = f"seodang predict {run.path} {inputs[kind]}".rstrip() if kind in inputs else f"seodang evaluate {run.path}"
    return [
        first,
        f"seodang look {run.path}",
        f"seodang train {run.path} train.{name}={length * 2:g}",
    ]

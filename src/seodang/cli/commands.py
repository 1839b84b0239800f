"""The commands and what their help says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from seodang.cli import (
    checking,
    comparing,
    deepening,
    doctoring,
    evaluating,
    finding,
    landscaping,
    listing,
    new,
    runs,
    training,
    using,
)
from seodang.cli.command import Command, Commands
from seodang.core.language import say

app = typer.Typer(
    name="seodang",
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=False,
    invoke_without_command=True,
    help=say("Seodang (서당): train, judge, look inside and use every system of the core deep-learning curriculum."),
    epilog="\n".join([
        say("Examples:"),
        "  seodang train digits-cnn",
        "  seodang train digits-cnn --data photos/ train.epochs=10",
        "  seodang predict runs/… PICTURE.png",
    ]),
)  # fmt: skip


@app.callback()
def start(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help=say("Show the version."))] = False
) -> None:
    if version:
        from seodang import __version__

        print(__version__)
        raise typer.Exit()
    if context.invoked_subcommand is None:
        print(context.get_help())


def _command(name: str, function: Callable[..., None], about: str) -> None:
    app.command(name, cls=Command, help=about)(function)


_command("list", listing.list_, say("List recipes, ladders, models, datasets, tasks, optimizers and augmentations."))
_command(
    "show", listing.show, say("Show a recipe, ladder, model, dataset, task or optimizer: settings, layers, source.")
)
_command("train", training.train, say("Train a recipe. Ctrl-C saves; a second one ends at once."))
_command("resume", training.resume, say("Go on with a stopped or killed run, as if it had never stopped."))
_command("find-lr", finding.find_lr, say("Find a good learning rate: a moment's training with a rising rate."))
_command("depth", deepening.depth, say("Measure how much gradient reaches the first layer as a network gets deeper."))
_command(
    "compare", comparing.compare, say("Train variants of a recipe with several seeds: which is best, and is it luck?")
)
_command(
    "evaluate",
    evaluating.evaluate,
    say("Score trained models in depth: alone, averaged, under noise."),
)
_command("predict", using.predict, say("Answer about pictures, rows or sentences with a trained model."))
_command("look", using.look, say("Draw what is inside a trained model."))
_command(
    "landscape", landscaping.landscape, say("Draw the loss around a run's weights, or optimizers on classic surfaces.")
)
_command("doctor", doctoring.doctor, say("Say what ails a run: evidence, what it means, and one thing to try."))
_command("export", using.export, say("Write a trained model for use elsewhere."))
_command("import", using.import_, say("Put weights from elsewhere into a bundle."))
_command("check", checking.check, say("Check a recipe, a run, data, or this machine; measure a recipe."))
_command("new", new.new, say("Write a recipe to edit, every setting explained."))
_command("runs", runs.runs, say("List what has been trained."))

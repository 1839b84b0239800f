"""The verbs: model, train, resume, evaluate, predict, look, export. Command line and page can do only this.

Everything that needs torch is imported inside the verbs  # lazy: 1 s
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seodang.core.errors import ConfigError, RunError, WeightsError, nearest
from seodang.core.events import Event, Listener
from seodang.core.language import say
from seodang.core.recipe import Choice, Recipe
from seodang.core.registry import load_plugin
from seodang.core.run import RunFolder
from seodang.training.launch import create_once, in_process_group, launch, lost_processes, signals
from seodang.training.resolve import read_recipe

if TYPE_CHECKING:
    from torch import nn

    from seodang.data.dataset import Dataset
    from seodang.diagnosis.finding import Diagnosis
    from seodang.models.bundle import Bundle
    from seodang.task.base import Prediction


class Run(RunFolder):
    """A run with the verbs attached: ``run.scores``, ``run.events``, ``run.model()``, ``run.predict(…)``."""

    stopped_by: int | None = None
    """Number of the signal that ended the training that made this object, if one did."""

    def model(self) -> nn.Module:
        """Return the best model of the run, in evaluation mode."""
        return self.bundle().model

    def bundle(self) -> Bundle:
        """Return the best checkpoint as a bundle.

        Raises: RunError if nothing has been saved yet.
        """
        from seodang.models.bundle import Bundle  # lazy: 1 s

        if self.best is None:
            raise RunError("{path}: has no checkpoint yet.", path=self.path)
        return Bundle.read(self.best)

    def predict(self, *inputs: str, **options: Any) -> list[Prediction]:
        return predict(self, *inputs, **options)

    def evaluate(self, **options: Any) -> dict[str, float]:
        return evaluate(self, **options)

    def look(self, *inputs: str, **options: Any) -> list[Path]:
        return look(self, *inputs, **options)


# ----------------------------------------------------------------------------------------------- verbs


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    data: str | Path | Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    plugin: str | Path | None = None,
    listeners: Sequence[Listener] = (),
    overrides: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Train a recipe and return the run.

    recipe     a shipped name, a TOML file, a mapping, or a `Recipe`
    data       a folder, a file, or the name of a dataset, in place of the recipe's; or a mapping of its settings
    run        the folder to make; default: a fresh one below ``runs/``
    plugin     a Python file that registers your own model, dataset or task
    settings   changes: ``train={"epochs": 3}``, ``seed=1`` or ``**{"optimizer.lr": 0.1}``

    Raises: SeodangError and its kin for whatever the user can mend.
    """
    if plugin:
        load_plugin(plugin)
    resolved, notes = read_recipe(recipe, data, overrides, settings)
    from seodang.training.assemble import assemble
    from seodang.training.devices import wanted_devices  # lazy: 1 s
    from seodang.training.listeners import look_over_data

    launched = in_process_group()
    count = wanted_devices(resolved.train)
    if launched and run is None:
        raise ConfigError(
            "torchrun: give every process the same folder: torchrun … -m -- seodang train RECIPE --run DIR"
        )
    assembly = assemble(resolved)
    look_over_data(assembly.data, listeners)
    if not launched and count > 1:  # assembled here only to say what is wrong before there is a folder
        folder = RunFolder.create(resolved, run)
        return _launched(folder, count, plugin, allow_drift=False)
    folder = create_once(resolved, run)
    return _fit(assembly, folder, listeners, notes, lambda folder: None, allow_drift=False)


def resume(
    run: str | Path | RunFolder,
    *,
    plugin: str | Path | None = None,
    listeners: Sequence[Listener] = (),
    allow_drift: bool = False,
) -> Run:
    """Go on with a stopped or killed run from its newest checkpoint; the result is as if it had never stopped.

    Raises: RunError if it is running, finished, or something it depends on has changed.
    """
    if plugin:
        load_plugin(plugin)
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    if folder.is_complete:
        raise RunError("{path}: is finished; there is nothing to resume. For a longer run: seodang train {path} train.steps=…",
                       path=folder.path)  # fmt: skip
    from seodang.training.assemble import assemble  # lazy: 1 s
    from seodang.training.devices import wanted_devices

    recipe = folder.recipe
    if not in_process_group() and wanted_devices(recipe.train) > 1:
        return _launched(folder, wanted_devices(recipe.train), plugin, allow_drift)
    return _fit(assemble(recipe, begun=bool(folder.checkpoints)), folder, listeners, [], newest_good, allow_drift)


def evaluate(
    run: str | Path | RunFolder | Sequence[str | Path | RunFolder],
    *,
    data: str | Path | None = None,
    split: str | None = None,
    plugin: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    **how: Any,
) -> dict[str, float]:
    """Return the scores of a run's best model on a split (default: test, else valid) of its data or of `data`.

    Of several runs, those of their average; with ``snapshots=True``, of the snapshots of one. ``tta=("flip", "crop")``
    averages over ``draws=8`` versions of each picture.
    """
    return dict(evaluation(run, data=data, split=split, plugin=plugin, settings=settings, **how)["scores"])


def evaluation(
    run: str | Path | RunFolder | Sequence[str | Path | RunFolder],
    *,
    plugin: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    **wanted: Any,
) -> dict[str, Any]:
    """Return scores, the split they are on, and what a simple baseline scores there; of classes also each class, the
    confusions, calibration and the worst mistakes; of several runs each one's scores, and what averaging gains.

    `wanted` are those of `seodang.evaluation.judging.Wanted`.
    """
    if plugin:
        load_plugin(plugin)
    from seodang.evaluation.judging import Wanted, judge  # lazy: 1 s

    return judge(folders(run), Wanted.of(settings=settings or {}, **wanted)).found


def robustness(
    run: str | Path | RunFolder | Sequence[str | Path | RunFolder],
    levels: Sequence[float],
    *,
    where: Literal["inputs", "weights"] = "inputs",
    repeats: int = 3,
    plugin: str | Path | None = None,
    **wanted: Any,
) -> dict[str, Any]:
    """Return the deciding score of one or more runs at each level of noise in their inputs, or in their weights."""
    if plugin:
        load_plugin(plugin)
    from seodang.evaluation.judging import Wanted  # lazy: 1 s
    from seodang.evaluation.robustness import robustness as measure

    return measure(folders(run), Wanted.of(**wanted), where, levels, repeats)


def predict(
    run: str | Path | RunFolder | Sequence[str | Path | RunFolder],
    *inputs: str,
    plugin: str | Path | None = None,
    stream: Callable[[str], object] | None = None,
    **options: Any,
) -> list[Prediction]:
    """Answer about each input (a file, a sentence, a row) with the best model of a run, a bundle, an exported file or published
    weights (resnet50.imagenet); with several runs, averaged.

    `stream` is called with each piece of an answer that is written bit by bit; `options` are the task's own.

    Raises: ConfigError on an option the task does not have.
    """
    if plugin:
        load_plugin(plugin)
    paths = folders(run)
    bundle, task = open_bundle(paths[0])
    if len(paths) > 1:
        from seodang.evaluation.averaging import mixture_of  # lazy: 1 s
        from seodang.evaluation.members import open_members

        bundle = bundle._replace(model=mixture_of(open_members(paths), task))
    named = {name for name, item in signature(task.predict).parameters.items() if item.kind is not item.VAR_KEYWORD}
    known = {*task.options, *named} - {"model", "inputs", "stream"}
    for name in options:
        if name not in known:
            raise ConfigError("{name}: is not an option of the task '{task}'.{suggestion} Options: {known}.", name=name,
                              task=bundle.record.task.name, suggestion=nearest(name, known),
                              known=", ".join(sorted(known)) or "–")  # fmt: skip
    if stream is not None and "stream" in named:
        options["stream"] = stream
    return [task.predict(bundle.model, text, **options) for text in inputs or ("",)]


def look(
    run: str | Path | RunFolder, *inputs: str, to: str | Path | None = None, plugin: str | Path | None = None
) -> list[Path]:
    """Draw what a run is inside, for the given inputs or its own data (a bundle: inputs); return the pictures' files."""
    if plugin:
        load_plugin(plugin)
    from seodang.models.bundle import SETTINGS  # lazy: 1 s
    from seodang.visualize.look import look as draw

    path = run.path if isinstance(run, RunFolder) else Path(run)
    bundle, task = open_bundle(run)
    opened = None if (path / SETTINGS).is_file() else open_run(run)
    return draw(opened, bundle, task, list(inputs), Path(to) if to else path / "figures")


def doctor(run: str | Path | RunFolder, *, page: bool = False, plugin: str | Path | None = None) -> Diagnosis:
    """Return what ails a run, finished or not: by its history, its newest network, its data; if asked, write a `page`."""
    if plugin:
        load_plugin(plugin)
    from seodang.diagnosis.doctor import diagnose  # lazy: 1 s

    opened = open_run(run)
    bundle, task = open_bundle(opened.checkpoints[-1]) if opened.checkpoints else (None, None)
    return diagnose(opened, bundle, task, page)


def export(run: str | Path | RunFolder, to: str = "safetensors", path: str | Path | None = None) -> Path:
    """Write the best model of a run for use elsewhere: ``safetensors`` (a bundle), ``onnx``, ``torch``; or weights under the
    names of ``torchvision``, ``timm`` or ``huggingface``."""
    from seodang.deploy.export import export as write_export  # lazy: 1 s
    from seodang.deploy.export import place_for

    bundle, _ = open_bundle(run)
    base = run.path if isinstance(run, RunFolder) else Path(run)
    return write_export(bundle, to, place_for(base, to, path))


def model(name: str | Path | RunFolder, **settings: Any) -> nn.Module:
    """Return a module: a new one of a named architecture, or the trained one of a run or bundle folder."""
    from seodang.models.base import architectures  # lazy: 1 s

    if isinstance(name, RunFolder) or Path(name).is_dir():
        if settings:
            raise ConfigError("A trained model has its settings already: {names}.", names=", ".join(settings))
        return open_bundle(name)[0].model
    return architectures.make(Choice.of({"name": str(name), **settings}))


# --------------------------------------------------------------------------------------------- details


def folders(run: str | Path | RunFolder | Sequence[str | Path | RunFolder]) -> list[Path]:
    """Return where one or more runs are."""
    several = [run] if isinstance(run, (str, Path, RunFolder)) else list(run)
    if not several:
        raise ConfigError("No run was given.")
    return [one.path if isinstance(one, RunFolder) else Path(one) for one in several]


def open_run(run: str | Path | RunFolder) -> Run:
    return run if isinstance(run, Run) else Run(run.path if isinstance(run, RunFolder) else run)


def open_bundle(where: str | Path | RunFolder) -> tuple[Bundle, Any]:
    """Return the bundle of a run (its best), a checkpoint, a bundle, an exported file or published weights, and its task.

    The task of a run or checkpoint also has what it kept in training (a film, a target network).
    """
    from seodang.deploy.opening import read_bundle  # lazy: 1 s
    from seodang.models.bundle import equip
    from seodang.task.base import tasks
    from seodang.training.checkpoint import STATE, Checkpoint

    path = where.path if isinstance(where, RunFolder) else Path(where)
    found = read_bundle(path)
    run = open_run(path) if found is None else None
    bundle = run.bundle() if run else found
    assert bundle
    facts = bundle.record.facts
    task = tasks.make(bundle.record.task, facts.known(), facts)
    equip(task)
    task.prepare(bundle.model, 0)
    newest = run.checkpoints[-1] if run else path
    if task.state() and (newest / STATE).is_file():
        task.restore(Checkpoint.read(newest).state["task"])
    return bundle, task


def newest_good(folder: RunFolder) -> Any:
    """Return the newest checkpoint that is whole, or None if there has been none yet.

    A damaged one is set aside, with a word about it, and the one before is taken.
    Raises: RunError if there were checkpoints and none of them is whole.
    """
    from seodang.training.checkpoint import Checkpoint  # lazy: 1 s

    found = folder.checkpoints
    for path in reversed(found):
        try:
            return Checkpoint.read(path)
        except WeightsError as error:
            aside = folder.set_aside(path)
            print(say("{error} It was set aside as {aside}; going on from the one before.", error=error, aside=aside.name),
                  file=sys.stderr)  # fmt: skip
    if found:
        raise RunError("{path}: none of its {count} checkpoints is whole. Start again: seodang train {path}/recipe.toml",
                       path=folder.path, count=len(found))  # fmt: skip
    return None


def _launched(folder: RunFolder, count: int, plugin: str | Path | None, allow_drift: bool) -> Run:
    run = Run(folder.path)
    run.stopped_by = launch(folder, count, plugin, allow_drift)
    return run


def _fit(
    assembly: Any,
    folder: RunFolder,
    listeners: Sequence[Listener],
    notes: Sequence[str],
    find: Callable[[RunFolder], Any],
    allow_drift: bool,
) -> Run:
    """Train in `folder`, from the checkpoint that `find` finds there, if any."""
    from seodang.diagnosis.live import Watch  # lazy: 1 s
    from seodang.training.determinism import deterministic
    from seodang.training.devices import Devices, machine
    from seodang.training.listeners import look_over_data
    from seodang.training.trainer import Trainer

    devices = Devices(assembly.recipe.train)
    run = Run(folder.path)
    try:
        with (lost_processes(devices.rank, devices.world), run.locked() if devices.main else nullcontext(),
              deterministic(assembly.recipe.train.deterministic)):  # fmt: skip
            run.clear_stop()
            if not devices.main:
                devices.barrier()  # the first process sets damaged checkpoints aside
            checkpoint = find(run)
            if devices.main:
                devices.barrier()
            own: list[Listener] = [Watch(run), _pictures(run, assembly.data)] if devices.main else []
            trainer = Trainer(assembly.recipe, assembly.model, assembly.task, assembly.data, assembly.rule, run,
                              assembly.record, devices, [*listeners, *own])  # fmt: skip
            if checkpoint:
                trainer.restore(checkpoint, allow_drift)
            elif devices.main:
                trainer.remarks = look_over_data(assembly.data, listeners)
            if devices.main:
                run.write_json("environment.json", {**machine(), **trainer.facts, "command": sys.argv,
                               "started": datetime.now().astimezone().isoformat(timespec="seconds"),
                               "notes": [*notes, *assembly.data.facts.notes, *assembly.task.notes]})  # fmt: skip
            with signals(trainer):
                trainer.fit()
            run.stopped_by = trainer.stopped_by
    except BaseException:
        devices.abandon()
        raise
    devices.close()
    return run


def _pictures(run: Run, data: Dataset) -> Listener:
    """Return the listener that draws the report when a run has finished."""

    def report(event: Event) -> None:
        from seodang.core.events import Stopped

        if isinstance(event, Stopped) and event.finished:
            from seodang.visualize.report import write_report  # lazy: 1 s

            bundle, task = open_bundle(run)
            write_report(run, bundle.model, task, data)

    return report

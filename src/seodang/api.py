"""The verbs: model, train, resume, evaluate, predict, look, export. Command line and page can do only this.

Everything that needs torch is imported inside the verbs  # lazy: 1 s
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seodang.core.config import override, parse_override
from seodang.core.errors import ConfigError, DataError, RunError, UnknownName, WeightsError, nearest
from seodang.core.events import Event, Listener
from seodang.core.language import say
from seodang.core.recipe import LENGTHS, Choice, Recipe
from seodang.core.registry import load_plugin
from seodang.core.run import RunFolder
from seodang.core.shipped import recipe_values

if TYPE_CHECKING:
    from torch import nn

    from seodang.models.bundle import Bundle
    from seodang.task.base import Prediction
    from seodang.training.trainer import Trainer

SECTIONS = ("model", "data", "task", "optimizer")


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


# --------------------------------------------------------------------------------------------- recipes


def read_recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    data: str | Path | None = None,
    overrides: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> tuple[Recipe, list[str]]:
    """Return the recipe after overrides, and notes on what was left out when a name was exchanged.

    `overrides` are written ``section.key=value``; `settings` are the same as Python values. One length
    (steps, epochs or minutes) that is given replaces the recipe's own.
    """
    if isinstance(recipe, Recipe):
        values: dict[str, Any] = recipe.written()
    else:
        values = dict(recipe) if isinstance(recipe, Mapping) else recipe_values(str(recipe))
    original = {section: dict(Choice.of({"name": item} if isinstance(item, str) else item).values())
                for section in SECTIONS if (item := values.get(section)) is not None}  # fmt: skip
    values |= {section: dict(original[section]) for section in original}
    changes = [parse_override(text) for text in overrides] + [(key.split("."), item) for key, item in flat(settings or {})]
    if data is not None:
        changes = [(["data", key], item) for key, item in data_source(str(data)).items()] + changes
        values.pop("expected", None)
    given = [keys[1] for keys, _ in changes if keys[0] == "train" and len(keys) == 2 and keys[1] in LENGTHS]
    if given:
        values["train"] = {key: item for key, item in values.get("train", {}).items() if key not in LENGTHS}
    for keys, item in changes:
        if len(keys) == 1 and keys[0] in Recipe.model_fields and isinstance(item, str) and keys[0] in SECTIONS:
            keys = [keys[0], "name"]
        override(values, keys, item)
    notes = _drop_foreign_settings(values, original, {tuple(keys) for keys, _ in changes})
    return Recipe.of(values), notes


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ("train.steps", 200) for {"train": {"steps": 200}} and for {"train.steps": 200}."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def data_source(text: str) -> dict[str, Any]:
    """Return the data section for what a user typed after ``--data``: a path, or the name of a dataset.

    Raises: UnknownName, DataError
    """
    path = Path(text).expanduser()
    if path.is_dir():
        return {"name": "folder", "path": str(path)}
    if path.is_file():
        from seodang.data.sources import dataset_for_file  # lazy: 1 s

        return {"name": dataset_for_file(path), "path": str(path)}
    from seodang.data.dataset import datasets  # lazy: 1 s

    if text in datasets:
        return {"name": text}
    if path.suffix or "/" in text:
        raise DataError("{path}: there is no such file or folder.", path=text)
    raise UnknownName("'{name}' is neither a file, a folder nor a dataset.{suggestion} See them all: seodang list datasets",
                      name=text, suggestion=nearest(text, datasets.names()))  # fmt: skip


def _drop_foreign_settings(
    values: dict[str, Any], original: Mapping[str, Mapping[str, Any]], changed: set[tuple[str, ...]]
) -> list[str]:
    """Where the user exchanged a name, keep those settings of the recipe that the new one has; say which went."""
    notes = []
    for section, before in original.items():
        now = values[section]
        if now["name"] == before["name"]:
            continue
        known = type(registry_of(section)[now["name"]].settings).fields()
        gone = [key for key in before if key != "name" and key not in known and (section, key) not in changed]
        for key in gone:
            del now[key]
        if gone:
            notes.append(say("{section}.name={name} has no {gone}: left out.", section=section, name=now["name"],
                             gone=", ".join(gone)))  # fmt: skip
    return notes


def registry_of(section: str) -> Any:
    """Return the registry a section of the recipe is looked up in."""
    from seodang.data.dataset import datasets  # lazy: 1 s
    from seodang.models.base import architectures
    from seodang.task.base import tasks
    from seodang.training.optim import optimizers

    return {"model": architectures, "data": datasets, "task": tasks, "optimizer": optimizers}[section]


# ----------------------------------------------------------------------------------------------- verbs


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    data: str | Path | None = None,
    run: str | Path | None = None,
    plugin: str | Path | None = None,
    listeners: Sequence[Listener] = (),
    overrides: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Train a recipe and return the run.

    recipe     a shipped name, a TOML file, a mapping, or a `Recipe`
    data       a folder, a file, or the name of a dataset, in place of the recipe's
    run        the folder to make; default: a fresh one below ``runs/``
    plugin     a Python file that registers your own model, dataset or task
    settings   changes: ``train={"epochs": 3}``, ``seed=1`` or ``**{"optimizer.lr": 0.1}``

    Raises: SeodangError and its kin for whatever the user can mend.
    """
    if plugin:
        load_plugin(plugin)
    resolved, notes = read_recipe(recipe, data, overrides, settings)
    from seodang.training.devices import wanted_devices  # lazy: 1 s

    launched = in_process_group()
    if not launched and wanted_devices(resolved.train) > 1:
        folder = RunFolder.create(resolved, run)
        _launch(folder, wanted_devices(resolved.train), plugin, allow_drift=False)
        return Run(folder.path)
    if launched and run is None:
        raise ConfigError("torchrun: give every process the same folder: --run DIR")
    from seodang.training.assemble import assemble

    assembly = assemble(resolved)
    folder = _create_once(resolved, run)
    return _fit(assembly, folder, listeners, notes, None, allow_drift=False)


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
    if folder.result:
        raise RunError("{path}: is finished; there is nothing to resume. For a longer run: seodang train {path} train.steps=…",
                       path=folder.path)  # fmt: skip
    from seodang.training.assemble import assemble  # lazy: 1 s
    from seodang.training.devices import wanted_devices

    recipe = folder.recipe
    if not in_process_group() and wanted_devices(recipe.train) > 1:
        _launch(folder, wanted_devices(recipe.train), plugin, allow_drift)
        return Run(folder.path)
    return _fit(assemble(recipe), folder, listeners, [], newest_good(folder), allow_drift)


def evaluate(
    run: str | Path | RunFolder, *, data: str | Path | None = None, split: str | None = None,
    plugin: str | Path | None = None, settings: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Return the scores of a run's best model on a split (default: test, else valid) of its data or of `data`."""
    return evaluation(run, data=data, split=split, plugin=plugin, settings=settings)["scores"]


def evaluation(
    run: str | Path | RunFolder, *, data: str | Path | None = None, split: str | None = None,
    plugin: str | Path | None = None, settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return scores, the split they are on, and what a simple baseline scores there."""
    if plugin:
        load_plugin(plugin)
    from seodang.data.dataset import datasets, in_order, map_tensors  # lazy: 1 s
    from seodang.models.bundle import equip
    from seodang.task.base import tasks
    from seodang.training.devices import Devices
    from seodang.training.trainer import evaluate_model

    opened = open_run(run)
    bundle, recipe = opened.bundle(), opened.recipe
    if data is not None or settings:
        recipe, _ = read_recipe(recipe, data, (), {"data": settings or {}})
    dataset = datasets.make(recipe.data, None, recipe.seed)
    dataset.adopt(bundle.record.facts if data is not None else None)
    dataset.prepare()
    sizes = dataset.facts.sizes
    split = split or ("test" if "test" in sizes else "valid" if "valid" in sizes else "train")
    if split not in sizes:
        raise DataError("There is no split '{split}' in this data; it has {splits}.", split=split, splits=", ".join(sizes))
    devices = Devices(recipe.train)
    devices.precision = (opened.result or {}).get("precision", devices.precision)
    model = devices.place(bundle.model)
    task = tasks.make(bundle.record.task, bundle.record.facts.known(), bundle.record.facts)
    equip(task)
    task.prepare(model, recipe.seed)
    batches = (map_tensors(batch, devices.move) for batch in in_order(dataset.split(split), 256))
    scores = evaluate_model(model, task, batches, devices, recipe.seed)
    return {"split": split, "examples": sizes[split], "scores": scores, "baseline": task.baseline(dataset, split)}


def predict(
    run: str | Path | RunFolder, *inputs: str, plugin: str | Path | None = None, **options: Any
) -> list[Prediction]:
    """Answer about each input (a file, a sentence, a row) with the best model of a run, or with a bundle."""
    if plugin:
        load_plugin(plugin)
    bundle, task = open_bundle(run)
    return [task.predict(bundle.model, text, **options) for text in inputs or ("",)]


def look(
    run: str | Path | RunFolder, *inputs: str, to: str | Path | None = None, plugin: str | Path | None = None
) -> list[Path]:
    """Draw what a run is inside, for the given inputs or its own data; return the pictures' files."""
    if plugin:
        load_plugin(plugin)
    from seodang.visualize.look import look as draw  # lazy: 1 s

    opened = open_run(run)
    bundle, task = open_bundle(opened)
    return draw(opened, bundle, task, list(inputs), Path(to) if to else opened.path / "figures")


def export(run: str | Path | RunFolder, to: str = "safetensors", path: str | Path | None = None) -> Path:
    """Write the best model of a run for use elsewhere: ``safetensors`` (a bundle), ``onnx`` or ``torch``."""
    from seodang.deploy.export import export as write_export  # lazy: 1 s

    bundle, _ = open_bundle(run)
    base = run.path if isinstance(run, RunFolder) else Path(run)
    return write_export(bundle, to, Path(path) if path else base / "export")


def model(name: str | Path | RunFolder, **settings: Any) -> nn.Module:
    """Return a module: a new one of a named architecture, or the trained one of a run or bundle folder."""
    from seodang.models.base import architectures  # lazy: 1 s

    if isinstance(name, RunFolder) or Path(name).is_dir():
        if settings:
            raise ConfigError("A trained model has its settings already: {names}.", names=", ".join(settings))
        return open_bundle(name)[0].model
    return architectures.make(Choice.of({"name": str(name), **settings}))


# --------------------------------------------------------------------------------------------- details


def open_run(run: str | Path | RunFolder) -> Run:
    return run if isinstance(run, Run) else Run(run.path if isinstance(run, RunFolder) else run)


def open_bundle(where: str | Path | RunFolder) -> tuple[Bundle, Any]:
    """Return the bundle of a run (its best), a checkpoint or a bundle folder, and its task.

    The task of a run or checkpoint also has what it kept in training (a film, a target network).
    """
    from seodang.models.bundle import SETTINGS, Bundle, equip  # lazy: 1 s
    from seodang.task.base import Task, tasks
    from seodang.training.checkpoint import STATE, Checkpoint

    path = where.path if isinstance(where, RunFolder) else Path(where)
    run = None if (path / SETTINGS).is_file() else open_run(path)
    bundle = run.bundle() if run else Bundle.read(path)
    facts = bundle.record.facts
    task = tasks.make(bundle.record.task, facts.known(), facts)
    equip(task)
    task.prepare(bundle.model, 0)
    newest = run.checkpoints[-1] if run else path
    if type(task).state is not Task.state and (newest / STATE).is_file():
        task.restore(Checkpoint.read(newest).state["task"])
    return bundle, task


def newest_good(folder: RunFolder) -> Any:
    """Return the newest checkpoint that is whole, or None if there has been none yet.

    A damaged one is set aside, with a word about it, and the one before is taken.
    Raises: RunError if there were checkpoints and none of them is whole.
    """
    from seodang.core.files import disk
    from seodang.training.checkpoint import Checkpoint  # lazy: 1 s

    found = folder.checkpoints
    for path in reversed(found):
        try:
            return Checkpoint.read(path)
        except WeightsError as error:
            aside = path.with_name(f"damaged-{path.name}")
            disk.rename(path, aside)
            print(say("{error} It was set aside as {aside}; going on from the one before.", error=error, aside=aside.name),
                  file=sys.stderr)  # fmt: skip
    if found:
        raise RunError("{path}: none of its {count} checkpoints is whole. Start again: seodang train {path}/recipe.toml",
                       path=folder.path, count=len(found))  # fmt: skip
    return None


def in_process_group() -> bool:
    import os

    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _create_once(recipe: Recipe, path: str | Path | None) -> RunFolder:
    """Rank 0 makes the folder; the others wait for it."""
    from seodang.training.devices import Devices

    devices = Devices(recipe.train)
    if devices.main:
        folder = RunFolder.create(recipe, path)
        devices.barrier()
        return folder
    devices.barrier()
    assert path is not None
    return RunFolder(path)


def _launch(folder: RunFolder, count: int, plugin: str | Path | None, allow_drift: bool) -> None:
    """Run `seodang resume` on `count` devices with PyTorch's own launcher."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}",
               "-m", "seodang", "resume", str(folder.path)]  # fmt: skip
    command += ["--plugin", str(plugin)] if plugin else []
    command += ["--allow-numeric-drift"] if allow_drift else []
    code = subprocess.run(command, check=False).returncode
    if code:
        raise RunError("{path}: the {count} processes ended with exit code {code}; their messages are above.",
                       path=folder.path, count=count, code=code)  # fmt: skip


def _fit(
    assembly: Any, folder: RunFolder, listeners: Sequence[Listener], notes: Sequence[str], checkpoint: Any, allow_drift: bool
) -> Run:
    from seodang.training.devices import Devices, machine  # lazy: 1 s
    from seodang.training.trainer import Trainer

    devices = Devices(assembly.recipe.train)
    run = Run(folder.path)
    try:
        with run.locked() if devices.main else _nothing():
            run.clear_stop()
            pictures = [_pictures(run)] if devices.main else []
            trainer = Trainer(assembly.recipe, assembly.model, assembly.task, assembly.data, assembly.rule, run,
                              assembly.record, devices, [*listeners, *pictures])  # fmt: skip
            if checkpoint:
                trainer.restore(checkpoint, allow_drift)
            if devices.main:
                run.write_json("environment.json", {**machine(), **trainer.numeric_facts(), "command": sys.argv,
                               "started": datetime.now().astimezone().isoformat(timespec="seconds"),
                               "notes": [*notes, *assembly.data.facts.notes, *assembly.task.notes]})  # fmt: skip
            with _signals(trainer):
                trainer.fit()
            run.stopped_by = trainer.stopped_by
    finally:
        devices.close()
    return run


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _pictures(run: Run) -> Listener:
    """Return the listener that draws the report when a run has finished."""

    def report(event: Event) -> None:
        from seodang.core.events import Stopped

        if isinstance(event, Stopped) and event.finished:
            from seodang.visualize.report import write_report  # lazy: 1 s

            write_report(run)

    return report


@contextmanager
def _signals(trainer: Trainer) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM saves and ends; the second Ctrl-C ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: types.FrameType | None) -> None:
        trainer.stopped_by = number
        trainer.stop(say("interrupted") if number == signal.SIGINT else say("terminated"))
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Members: the trained models that are judged, and whether several of them can be averaged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seodang.core.errors import RunError
from seodang.core.inputs import Column, Facts, ImageInputs, Inputs, TableInputs, VectorInputs
from seodang.core.language import say
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder
from seodang.data.dataset import Dataset, datasets, in_order
from seodang.models.bundle import SETTINGS, Bundle
from seodang.task.base import tasks
from seodang.training.optim import optimizers
from seodang.training.resolve import read_recipe

TOLERANCE = 1e-3
"""Difference of standardised inputs up to which they are the same: each run rounds its own statistics."""


class Member(NamedTuple):
    """A trained model: its name in tables, the run it is of (None for a bundle), and the bundle."""

    name: str
    run: RunFolder | None
    bundle: Bundle

    @property
    def facts(self) -> Facts:
        return self.bundle.record.facts

    @property
    def recipe(self) -> Recipe:
        assert self.run is not None
        return self.run.recipe

    @property
    def precision(self) -> Any:
        """The arithmetic the run was scored in, once it is known."""
        return (self.run.result or {}).get("precision") if self.run else None


def open_members(paths: Sequence[Path], snapshots: bool = False) -> list[Member]:
    """Return the best model of each run, or with `snapshots` the model at the end of each cycle of one run.

    Raises: RunError, WeightsError
    """
    if snapshots:
        if len(paths) > 1:
            raise RunError(
                "--snapshots averages the snapshots of one run, and {count} runs were given.", count=len(paths)
            )
        run = RunFolder(paths[0])
        return [Member(path.name, run, Bundle.read(path)) for path in snapshots_of(run)]
    names = [path.resolve().name for path in paths]
    named = [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
    return [_open(path, name) for path, name in zip(paths, named, strict=True)]


def _open(path: Path, name: str) -> Member:
    if (path / SETTINGS).is_file():
        return Member(name, None, Bundle.read(path))
    run = RunFolder(path)
    if run.best is None:
        raise RunError("{path}: has no checkpoint yet.", path=run.path)
    return Member(name, run, Bundle.read(run.best))


def snapshots_of(run: RunFolder) -> list[Path]:
    """Return the checkpoints at the ends of the cycles of a run's learning rate.

    Source: Huang et al. 2017, "Snapshot ensembles: train 1, get M for free", arXiv:1704.00109.
    Raises: RunError if it has no cycles, or fewer than two have ended.
    """
    rule = optimizers.make(run.recipe.optimizer)
    totals = [event.get("total_steps") for event in run.events if event["event"] == "started"]
    total = totals[-1] if totals else None
    if rule.settings.schedule != "cyclic" or not isinstance(total, int):
        raise RunError("{path}: has no snapshots: its learning rate is {schedule}. Train with optimizer.schedule=cyclic.",
                       path=run.path, schedule=rule.settings.schedule)  # fmt: skip
    found = [path for path in run.checkpoints if rule.ends_cycle(int(path.name[5:]), total)]
    if len(found) < 2:
        raise RunError("{path}: has {count} snapshots; averaging needs two or more. Go on with it: seodang resume {path}",
                       path=run.path, count=len(found))  # fmt: skip
    return found


# ------------------------------------------------------------------------------------------------ fitting


def require_fit(members: Sequence[Member]) -> None:
    """Refuse members whose answers cannot be averaged: another task, other classes, quantities or inputs.

    Raises: RunError naming the first that does not fit, and in what.
    """
    first = members[0]
    for other in members[1:]:
        for what, one, another in _differences(first, other):
            if one != another:
                raise RunError("{other}: does not fit {first}: its {what} is {another}, not {one}. Only runs that answer the same question can "
                               "be averaged.", other=other.name, first=first.name, what=what, one=one, another=another)  # fmt: skip


def _differences(first: Member, other: Member) -> list[tuple[str, str, str]]:
    """Return what two members must have in common, as each has it."""
    told: list[tuple[str, Callable[[Member], str]]] = [
        (say("task"), lambda member: member.bundle.record.task.name),
        (say("loss"), _losses),
        (say("list of classes"), lambda member: _listed(member.facts.classes)),
        (say("list of quantities"), lambda member: _listed([target.name for target in member.facts.targets])),
        (say("kind of inputs"), lambda member: member.facts.inputs.kind),
        (say("shape of inputs"), lambda member: " × ".join(map(str, member.facts.inputs.shape))),
        (say("list of columns"), lambda member: _listed(_columns(member.facts.inputs))),
        (say("tokenizer"), lambda member: _digest(getattr(member.facts.inputs, "tokenizer", ""))),
    ]
    return [(what, say_of(first), say_of(other)) for what, say_of in told]


def _losses(member: Member) -> str:
    settings = tasks.settings(member.bundle.record.task)
    return str(getattr(settings, "loss", ""))


def _listed(names: Sequence[str] | None) -> str:
    """Return names in a few words that differ where the names do."""
    if not names:
        return "–"
    whole = ", ".join(names)
    return whole if len(whole) <= 200 else f"{whole[:180]} … ({len(names)}, {_digest(whole)})"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8] if text else "–"


def _columns(inputs: Inputs) -> tuple[str, ...]:
    if not isinstance(inputs, TableInputs):
        return ()
    return tuple(_column(column) for column in inputs.columns)


def _column(column: Column) -> str:
    kinds = f" ({'|'.join(column.categories)})" if column.kind == "category" else ""
    return column.name + kinds + ("?" if column.missing else "")


def require_same_examples(first: Member, other: Member, split: str, data: Dataset, others: Dataset) -> None:
    """Refuse to average runs that hold out other examples: one may have been trained on those the other is judged by.

    Raises: RunError
    """
    scale, shift = conversion(first.facts.inputs, other.facts.inputs)
    same = data.facts.sizes.get(split) == others.facts.sizes.get(split)
    if same:
        for one, another in zip(in_order(data.split(split), 256), in_order(others.split(split), 256), strict=True):
            if not _alike(one, another, scale, shift):
                same = False
                break
    if not same:
        raise RunError(
            "{other}: its {split} examples are others than those of {first}, so one may have learned what the other is judged by. "
            "Where the seed draws the split, keep seed and vary train.bootstrap=1,2,3; or judge all on data none has seen: --data PATH.",
            other=other.name, first=first.name, split=split)  # fmt: skip


def _alike(one: Any, another: Any, scale: Tensor, shift: Tensor) -> bool:
    if any(
        (a is None) != (b is None) or (a is not None and a.shape != b.shape) for a, b in zip(one, another, strict=True)
    ):
        return False
    targets = one[1] is None or (
        torch.equal(one[1], another[1]) if not one[1].is_floating_point() else True
    )  # quantities are standardised by each run's own rows; equal inputs decide
    if not one[0].is_floating_point():
        return targets and torch.equal(one[0], another[0])
    return targets and bool(torch.allclose(one[0] * scale + shift, another[0], atol=TOLERANCE * 10, rtol=TOLERANCE))


def conversion(one: Inputs, another: Inputs) -> tuple[Tensor, Tensor]:
    """Return scale and shift that make inputs standardised for one model into those for another.

    Shapes: both meet a batch of inputs.
    """
    if isinstance(one, ImageInputs) and isinstance(another, ImageInputs):
        shape: tuple[int, ...] = (-1, 1, 1)
        pairs = [(one.mean, one.std), (another.mean, another.std)]
    elif isinstance(one, VectorInputs) and isinstance(another, VectorInputs):
        shape, pairs = (-1,), [(one.mean, one.std), (another.mean, another.std)]
    elif isinstance(one, TableInputs) and isinstance(another, TableInputs):
        shape, pairs = (-1,), [_statistics(one), _statistics(another)]
    else:
        return torch.ones(()), torch.zeros(())
    (mean, std), (other_mean, other_std) = (
        [torch.tensor(values, dtype=torch.float64) for values in pair] for pair in pairs
    )
    scale, shift = std / other_std, (mean - other_mean) / other_std
    return scale.float().view(shape), shift.float().view(shape)


def _statistics(inputs: TableInputs) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each input of a table: those that are no numbers are not standardised."""
    means, stds = [], []
    for column in inputs.columns:
        number = column.kind == "number"
        means += [column.mean if number else 0.0] + [0.0] * (column.width - 1)
        stds += [column.std if number else 1.0] + [1.0] * (column.width - 1)
    return tuple(means), tuple(stds)


# --------------------------------------------------------------------------------------------------- data


def data_of(
    member: Member, data: str | Path | None = None, settings: Mapping[str, Any] | None = None
) -> tuple[Dataset, bool]:
    """Return the data of a member's run, or `data` read as the run read its own; and whether it is other data."""
    recipe = member.recipe
    if data is not None or settings:
        recipe, _ = read_recipe(recipe, data, (), {"data": settings or {}})
    dataset = datasets.make(recipe.data, None, recipe.seed)
    dataset.adopt(member.facts if data is not None else None)
    dataset.prepare()
    return dataset, data is not None

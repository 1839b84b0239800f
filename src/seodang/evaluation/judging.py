"""Judging: scores of one model, or of several and of their average, on the examples of a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError, DataError, RunError, SeodangError, nearest
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.core.recipe import Choice
from seodang.data.baselines import Beside
from seodang.data.dataset import Batch, Dataset, datasets, in_order, map_tensors
from seodang.evaluation.averaging import Augmented, averaged, in_units_of, majority, require_augmentable
from seodang.evaluation.details import details
from seodang.evaluation.gains import Gain, Numbers, gain
from seodang.evaluation.members import Member, data_of, open_members, require_fit, require_same_examples
from seodang.models.bundle import equip
from seodang.task.base import Task, tasks
from seodang.training.devices import Devices
from seodang.training.evaluation import evaluate_model
from seodang.visualize.answers import Answers

BATCH = 256
MEAN, VOTE, PLAIN = "mean probabilities", "majority vote", "as they are"
MEAN_QUANTITIES = "mean answer"
"""What several models together are called in JSON; people read it in their language."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of a run, or of several."""

    data: str | Path | None = None
    split: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    snapshots: bool = False
    tta: tuple[str | Choice, ...] = ()
    draws: int = 8
    seed: int = 0

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Return what is `given` by name.

        Raises: ConfigError on a name nobody knows.
        """
        known = [item.name for item in fields(cls)]
        for name in given:
            if name not in known:
                raise ConfigError("{name}: is not an option of evaluate.{suggestion} Options: {known}.", name=name,
                                  suggestion=nearest(name, known), known=", ".join(known))  # fmt: skip
        tta = given.get("tta", ())
        return cls(**{**given, "tta": tuple(tta.split(",") if isinstance(tta, str) else tta)})


@dataclass(frozen=True)
class Judgement:
    """What was found: plain values for programs, and the answers that figures are drawn from."""

    found: dict[str, Any]
    facts: Facts
    task: Task
    answers: dict[str, Answers]
    """What each system says, by its name: the one that was asked for last."""


class Bench:
    """Members on the same examples: models on their device, one task, one dataset."""

    def __init__(self, members: Sequence[Member], wanted: Wanted) -> None:
        self.members, self.wanted = members, wanted
        first = members[0]
        for member in members:
            if member.run is None:
                raise RunError("{path}: is a bundle and brings no data; evaluate takes runs.", path=member.name)
        require_fit(members)
        self.facts = first.facts
        self.data, self.elsewhere = data_of(first, wanted.data, wanted.settings)
        sizes = self.data.facts.sizes
        split = wanted.split or ("test" if "test" in sizes else "valid" if "valid" in sizes else "train")
        if split not in sizes:
            raise DataError("There is no split '{split}' in this data; it has {splits}.",
                            split=split, splits=", ".join(sizes))  # fmt: skip
        self.split, self.count = split, sizes[split]
        self._require_same_examples()
        self.devices = [self._device_of(member) for member in members]
        record = first.bundle.record
        self.task = tasks.make(record.task, record.facts.known(), record.facts)
        equip(self.task)
        if wanted.tta:
            require_augmentable(self.task, wanted.tta, wanted.draws)
        self.models = [self._model(member, devices) for member, devices in zip(members, self.devices, strict=True)]
        self.task.prepare(self.models[0], first.recipe.seed)

    def batches(self) -> Iterator[Batch]:
        move = self.devices[0].move
        return (map_tensors(batch, move) for batch in in_order(self.data.split(self.split), BATCH))

    def augmented(self, model: nn.Module) -> nn.Module:
        """Return `model` seeing several versions of each picture, if that is wanted; made anew for each pass."""
        if not self.wanted.tta:
            return model
        assert isinstance(self.facts.inputs, ImageInputs)
        wanted = self.wanted
        return Augmented(model, self.task, wanted.tta, self.facts.inputs, wanted.draws, wanted.seed)

    def _require_same_examples(self) -> None:
        """Refuse members that hold out other examples; with other data than theirs all are judged by the same."""
        if self.elsewhere or self.facts.inputs.kind == "world":
            return
        first = self.members[0]
        known = {first.facts.digest}
        for other in self.members[1:]:
            if other.facts.digest in known and other.facts.digest:
                continue
            require_same_examples(first, other, self.split, self.data, data_of(other, None, self.wanted.settings)[0])
            known.add(other.facts.digest)

    def _device_of(self, member: Member) -> Devices:
        devices = Devices(member.recipe.train)
        devices.precision = member.precision or devices.precision
        return devices

    def _model(self, member: Member, devices: Devices) -> nn.Module:
        model = devices.place(member.bundle.model)
        own = Member(member.name, member.run, member.bundle._replace(model=model))
        return in_units_of(self.members[0].facts, own).to(devices.device)


def judge(paths: Sequence[Path], wanted: Wanted) -> Judgement:
    """Return the scores of one run; of several runs, or of the snapshots of one, also those of their average.

    Raises: RunError naming a run that does not fit the others, DataError, ConfigError
    """
    members = open_members(paths, wanted.snapshots)
    bench = Bench(members, wanted)
    task = bench.task
    if len(members) > 1 and task.answers == "":
        raise ConfigError("task.name={task}: what its models say cannot be averaged. Classes, quantities and tokens can.",
                          task=members[0].bundle.record.task.name)  # fmt: skip
    if len(members) > 1 and task.answers == "tokens":
        from seodang.evaluation.texts import judge_texts

        return judge_texts(bench)
    systems = _systems(bench)
    scores, answers = {name: one.scores for name, one in systems.items()}, {}
    last = list(systems)[-1]
    shown = next((name for name in (MEAN, MEAN_QUANTITIES) if name in systems), last)
    found = found_of(bench, scores, shown)
    if len(systems) > 1:
        found["gains"] = [one._asdict() for one in _gains(bench, systems)]
    for name, system in systems.items():
        if system.answers is not None and name != VOTE:
            answers[name] = system.answers
    if task.answers == "classes" and shown in answers and bench.facts.classes:
        found["classes"] = details(answers[shown], bench.facts)
        if len(systems) > 1:
            found["calibration_errors"] = {
                name: details(one, bench.facts)["calibration_error"] for name, one in answers.items()
            }
    return Judgement(found, bench.facts, task, answers)


def found_of(bench: Bench, scores: Mapping[str, Mapping[str, float]], shown: str) -> dict[str, Any]:
    """Return what every evaluation tells: scores, the split they are on, what a baseline scores there."""
    first = bench.members[0]
    baseline, notes = _baseline(first, bench)
    several = {"members": {name: dict(one) for name, one in scores.items()}} if len(scores) > 1 else {}
    return {"split": bench.split, "examples": bench.count, "scores": dict(scores[shown]), "baseline": baseline,
            "notes": notes, **several}  # fmt: skip


# --------------------------------------------------------------------------------------------- systems


@dataclass(frozen=True)
class System:
    """A model, or several that answer as one."""

    scores: dict[str, float]
    answers: Answers | None


def _systems(bench: Bench) -> dict[str, System]:
    """Return the members, and what they make together; with one member and several versions of pictures, both ways."""
    wanted, alone = bench.wanted, len(bench.members) == 1
    systems: dict[str, System] = {}
    for member, model, devices in zip(bench.members, bench.models, bench.devices, strict=True):
        if alone and wanted.tta:
            systems[PLAIN] = _asked(bench, model, devices, member)
        name = member.name if not (alone and wanted.tta) else f"{_names(wanted.tta)} × {wanted.draws}"
        systems[name] = _asked(bench, bench.augmented(model), devices, member)
    if alone:
        return systems
    outputs, known = [], next(iter(systems.values())).answers
    for name, system in systems.items():
        if system.answers is None or known is None:
            raise ConfigError(
                "{run}: its answers cannot be averaged: its task does not ask the model once for each batch.", run=name
            )
        outputs.append(system.answers.outputs)
    assert known is not None
    mean = averaged(bench.task, outputs)
    systems[MEAN if bench.task.answers == "classes" else MEAN_QUANTITIES] = _told(bench, mean, known)
    if bench.task.answers == "classes":
        votes = majority(bench.task, outputs)
        right = (votes == known.targets).double().mean().item()
        told = nn.functional.one_hot(votes, mean.shape[-1]).float().clamp(min=1e-30).log()
        systems[VOTE] = System({"accuracy": right}, known._replace(outputs=told))
    return systems


def _names(tta: Sequence[str | Choice]) -> str:
    return " + ".join(name if isinstance(name, str) else name.name for name in tta)


def _asked(bench: Bench, model: nn.Module, devices: Devices, member: Member) -> System:
    """Ask a model about every example."""
    targets: list[Any] = []

    def batches() -> Iterator[Batch]:
        for batch in bench.batches():
            targets.append(batch[1] if len(batch) > 1 else None)
            yield batch

    keeping = bench.task.answers in ("classes", "quantities")
    with _captured(model, keeping) as outputs:
        scores = evaluate_model(model, bench.task, batches(), devices, member.recipe.seed)
    if not keeping or not outputs or any(target is None for target in targets):
        return System(scores, None)
    said, truth = torch.cat(outputs), torch.cat([target.cpu() for target in targets])
    if len(said) != len(truth):  # a task of somebody's own that asks in another way
        return System(scores, None)
    stored: Any = Stored(bench.data, bench.split)
    return System(scores, Answers(bench.split, bench.count, stored, truth, said))


def _told(bench: Bench, outputs: Tensor, known: Answers) -> System:
    """Score what several models say together: the answers themselves take the place of model and inputs."""
    devices = bench.devices[0]
    parts = zip(outputs.split(BATCH), known.targets.split(BATCH), strict=True)
    batches = ((said.to(devices.device), truth.to(devices.device)) for said, truth in parts)
    scores = evaluate_model(nn.Identity(), bench.task, batches, devices, bench.members[0].recipe.seed)
    if bench.task.answers == "classes" and getattr(bench.task.settings, "loss", "cross-entropy") != "cross-entropy":
        scores.pop("loss", None)  # no loss of margins knows what to do with probabilities
    return System(scores, known._replace(outputs=outputs))


@contextmanager
def _captured(model: nn.Module, wanted: bool) -> Iterator[list[Tensor]]:
    """Keep what `model` returns while it is scored."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            kept.append(output.detach().float().cpu())

    handle = model.register_forward_hook(keep) if wanted else None
    try:
        yield kept
    finally:
        if handle:
            handle.remove()


class Stored:
    """Inputs of a split, read when they are looked at: a split of large pictures does not fit into memory."""

    def __init__(self, data: Dataset, split: str) -> None:
        self.examples = data.split(split)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, places: int | Tensor) -> Tensor:
        one = isinstance(places, int)
        rows = torch.tensor([places]) if isinstance(places, int) else places
        inputs: Tensor = self.examples.batch(rows.reshape(-1), None)[0]
        return inputs[0] if one or rows.ndim == 0 else inputs


# ----------------------------------------------------------------------------------------------- gains


def _gains(bench: Bench, systems: Mapping[str, System]) -> list[Gain]:
    """Return how far what several say together is above each of them, or several versions of pictures above one."""
    names = list(systems)
    if len(bench.members) == 1:
        pairs = [(names[1], names[0])]
    else:
        members = [member.name for member in bench.members]
        pairs = [(name, other) for name in names[len(members) :] for other in members]
    found = []
    for one, other in pairs:
        a, b = systems[one].answers, systems[other].answers
        if a is not None and b is not None:
            found.append(_gain(bench.task, one, other, a, b))
    return found


def _gain(task: Task, one: str, other: str, ones: Answers, others: Answers) -> Gain:
    right = task.answers == "classes"

    def values(answers: Answers) -> Numbers:
        if right:
            return (answers.predicted == answers.targets).double().numpy()
        errors: Numbers = (answers.outputs - answers.targets).double().square().flatten(1).mean(1).numpy()
        return errors

    first, second = values(ones), values(others)
    return gain("accuracy" if right else "loss", one, other, first, second, np.ones(len(first)), right)


# -------------------------------------------------------------------------------------------- baselines


def _baseline(member: Member, bench: Bench) -> tuple[dict[str, float] | None, list[str]]:
    """Return what simple methods score that saw the training examples of the run, or a note on why they cannot."""
    if not bench.elsewhere:
        return bench.task.baseline(bench.data, bench.split), []
    own = datasets.make(member.recipe.data, None, member.recipe.seed)
    try:
        own.prepare()
    except SeodangError as error:
        note = say("No simple method stands beside it: the data of the run cannot be read. {error}", error=error)
        return None, [note]
    if own.facts.digest != bench.facts.digest:
        return None, [say("No simple method stands beside it: the data of the run has changed since.")]
    return bench.task.baseline(Beside(own, bench.data, bench.split), "test"), []

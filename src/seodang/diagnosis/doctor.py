"""diagnose: every rule on a run's history, its newest network and its data; what could not be looked at is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from seodang.core.errors import SeodangError
from seodang.core.inputs import TokenInputs, WorldInputs
from seodang.core.language import say
from seodang.core.run import RunFolder
from seodang.data.dataset import Batch, Dataset, datasets, map_tensors
from seodang.diagnosis import course, labels, material, network, rates
from seodang.diagnosis.finding import Diagnosis, Finding
from seodang.diagnosis.material import Sample, sample
from seodang.diagnosis.page import write_page
from seodang.diagnosis.story import Story
from seodang.task.base import Task, evaluating
from seodang.visualize.activations import layer_health
from seodang.visualize.gradients import Flow, flows
from seodang.visualize.sections import takes

EXAMPLES = 256
"""Examples that are pushed through the network, at most."""
TOKENS, PIXELS = 1 << 13, 1 << 21
"""Tokens, or numbers of other inputs, that they hold together at most: a text or a large picture is an expensive example."""

HISTORY: tuple[Callable[[Story], Finding | None], ...] = (
    rates.diverged, rates.rate_too_high, rates.momentum_too_high, rates.loss_not_moving, rates.rate_too_low, rates.clip_too_small,
    rates.batch_too_small, course.plateau, course.over_fitting, course.posterior_collapse, course.discriminator_wins,
    course.mode_collapse, course.not_learning_to_act,
)  # fmt: skip
FATAL = {"divergence", "rate-too-low", "rate-too-high", "momentum-too-high", "inputs-constant", "labels-unrelated", "label-noise",
         "units-alike", "dead-units", "vanishing-gradients", "clip-too-small"}  # fmt: skip
"""Illnesses that explain a bad score by themselves: with one of them nothing is said about the size of the network."""


EXPLAINS = {
    "units-alike": {"dead-units", "rate-too-low", "vanishing-gradients"},
    "inputs-constant": {"dead-units", "saturation", "loss-not-moving", "inputs-not-normalised"},
    "vanishing-gradients": {"rate-too-low", "dead-units"},
    "dead-units": {"rate-too-low"},
    "exploding-gradients": {"rate-too-low"},
}
"""Illness → what follows from it and is not said beside it."""


class Examined(Protocol):
    """What `diagnose` needs of a bundle."""

    @property
    def model(self) -> nn.Module: ...


class Examination:
    """A diagnosis in the making."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.story = Story(run.recipe, str(run.path), run.events)
        self.findings: list[Finding] = []
        self.unseen: list[str] = []
        self.flows: list[Flow] = []

    def add(self, finding: Finding | None) -> None:
        if finding is not None and all(finding.illness != known.illness for known in self.findings):
            self.findings.append(finding)

    def history(self) -> None:
        """Read the recorded events."""
        if not self.story.points and not self.story.failed:
            self.unseen.append(say("the history: the run has no line of progress yet"))
        for rule in HISTORY:
            self.add(rule(self.story))

    def data(self) -> Dataset | None:
        """Return the run's data, or None, saying why, if it has no fixed examples or cannot be read."""
        data = datasets.make(self.run.recipe.data, None, self.run.recipe.seed)
        try:
            data.prepare()
        except SeodangError as error:
            self.unseen.append(say("the data: {error}", error=error))
            return None
        if isinstance(data.facts.inputs, WorldInputs) or "train" not in data.facts.sizes:
            self.unseen.append(say("the data: an agent makes its own"))
            return None
        return data

    def network(self, model: nn.Module, task: Task, data: Dataset) -> None:
        """Push examples through the network: gradients on the way back, non-linearities on the way forward."""
        examples = data.split("train")
        each = examples.batch(torch.arange(1), None)[0].numel()
        most = (TOKENS if isinstance(data.facts.inputs, TokenInputs) else PIXELS) // each
        batch = examples.batch(torch.arange(min(EXAMPLES, max(material.LEAST, most), len(examples))), None)
        device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
        batch = map_tensors(batch, lambda field: field.to(device))
        self.add(network.units_alike(model, self.story))
        if len(self.story.networks) > 1:
            self.unseen.append(
                say("gradients: two networks play against each other, and neither has a loss of its own")
            )
        else:
            self.flows = flows(model, task, batch)
            self.add(network.vanishing(self.flows, self.story, model))
            self.add(network.exploding(self.flows, self.story, model))
        if len(batch[0]) >= material.LEAST and takes(model, task, batch[0]):
            health = layer_health(model, batch[0])
            self.add(network.dead_units(health, self.story, model))
            self.add(network.saturation(health, self.story))

    def material(self, model: nn.Module | None, task: Task | None, data: Dataset) -> None:
        """Look at the training examples themselves."""
        if isinstance(data.facts.inputs, TokenInputs):
            self.unseen.append(say("the inputs: texts have no scale and no neighbours"))
            return
        some = sample(data, "train")
        self.add(material.inputs_constant(some, data, self.story))
        self.add(material.inputs_not_normalised(some, data, self.story))
        self.add(material.duplicates(data, self.story))
        if some.answers is None or task is None or task.answers not in ("classes", "quantities"):
            return
        if task.answers == "classes":
            every = (
                sample(data, "train", len(data.split("train"))).answers if len(data.split("train")) < 100_000 else None
            )
            self.add(material.class_imbalance(some.answers if every is None else every, data, self.story))
        classes = len(data.facts.classes or ()) or int(some.answers.max()) + 1
        said = labels.votes(some, classes)
        if said is None:
            return
        self.add(labels.labels_unrelated(some, said, self.story, data))
        if said.shares is not None and not self._has("labels-unrelated"):
            self.add(labels.label_noise(some, said, data, self.story))
        if model is not None and not any(self._has(name) for name in FATAL):
            self.add(labels.under_fitting(some, said, self._trained(model, task, some), self.story, self.story.settled))

    def _trained(self, model: nn.Module, task: Task, some: Sample) -> float:
        """Return accuracy or R² on training examples as the network sees them without chance."""
        device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
        assert some.answers is not None
        batches: list[Batch] = [(inputs.to(device), answers.to(device)) for inputs, answers in
                                zip(some.inputs.split(EXAMPLES), some.answers.split(EXAMPLES), strict=True)]  # fmt: skip
        with evaluating(model):
            tallies = task.evaluate(model, batches)
        scores = task.finish({name: float(tally.total) / float(tally.count) for name, tally in tallies.items()})
        return next((value for name, value in scores.items() if name.startswith(("accuracy", "r2"))), 1.0)

    def _has(self, illness: str) -> bool:
        return any(finding.illness == illness for finding in self.findings)

    def conclude(self, page: Path | None = None) -> Diagnosis:
        """Return the findings without those that another explains; write a page about them into the folder `page`."""
        here = {finding.illness for finding in self.findings}
        explained = {name for illness in here for name in EXPLAINS.get(illness, ())}
        kept = tuple(finding for finding in self.findings if finding.illness not in explained)
        unseen = tuple(self.unseen)
        written = write_page(kept, unseen, self.story, self.flows, page) if page else None
        return Diagnosis(str(self.run.path), kept, unseen, str(written) if written else None)


def examine(run: RunFolder, bundle: Examined | None, task: Task | None) -> Examination:
    """Look at a run's history, at its newest network and at its data."""
    found = Examination(run)
    found.history()
    data = found.data()
    if bundle is None or task is None:
        found.unseen.append(say("the network: nothing has been saved yet"))
    elif data is not None:
        found.network(bundle.model, task, data)
    if data is not None:
        found.material(bundle.model if bundle else None, task, data)
    return found


def diagnose(run: RunFolder, bundle: Examined | None, task: Task | None, page: bool = False) -> Diagnosis:
    """Return everything that seems to be wrong with a run; nothing in it changes, but for the `page` if one is wanted."""
    return examine(run, bundle, task).conclude(run.path / "figures" if page else None)

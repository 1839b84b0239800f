"""Averages of what several models say, or of what one says about several versions of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice
from seodang.data.augment import augmentations, changed, fitted
from seodang.data.dataset import Draws
from seodang.data.images import normalize, statistics
from seodang.evaluation.members import Member, conversion, require_fit
from seodang.task.base import Task

TINY = torch.finfo(torch.float32).tiny
MOST_DRAWS = 1000


def log_probabilities(task: Task, outputs: Tensor) -> Tensor:
    """Return the logarithm of the probabilities a model gives; of a vote, of almost 0 for what it is against."""
    own = getattr(task, "probabilities", None)
    return outputs.float().log_softmax(-1) if own is None else own(outputs).clamp(min=TINY).log()


def averaged(task: Task, outputs: Sequence[Tensor]) -> Tensor:
    r"""Return what models say together: the logarithm of their mean probabilities $\frac1M \sum_m p_m(y|x)$, or mean quantities.

    Quantities must be in one unit. Logarithms are what a softmax makes probabilities of again, so that all that
    takes logits takes them.

    Source: mean probabilities Breiman 1996, "Bagging predictors", Machine Learning 24, sec. 4.2; of networks Hansen &
    Salamon 1990, "Neural network ensembles", IEEE TPAMI 12.
    """
    if task.answers == "quantities":
        return torch.stack([output.float() for output in outputs]).mean(0)
    logs = torch.stack([log_probabilities(task, output) for output in outputs])
    return logs.logsumexp(0) - torch.tensor(float(len(outputs)), device=logs.device).log()


def majority(task: Task, outputs: Sequence[Tensor]) -> Tensor:
    """Return the class most models name; where several have equally many votes, the one with the highest mean probability.

    Source: plurality voting, Breiman 1996, "Bagging predictors", Machine Learning 24, sec. 1.
    """
    classes = outputs[0].shape[-1]
    votes = torch.stack([nn.functional.one_hot(output.argmax(-1), classes) for output in outputs]).sum(0)
    means = averaged(task, outputs).exp()
    return (votes.double() + means.double().clamp(max=1) / 2).argmax(-1)


class Converted(nn.Module):
    """A model behind a change of units: of what comes in, and of the quantities that come out."""

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, Tensor], outputs: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        self.model = model
        self.scale_in: Tensor
        self.shift_in: Tensor
        self.scale_out: Tensor
        self.shift_out: Tensor
        for name, value in zip(("scale_in", "shift_in", "scale_out", "shift_out"), (*inputs, *outputs), strict=True):
            self.register_buffer(name, value)

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.is_floating_point():
            inputs = inputs * self.scale_in + self.shift_in
        outputs: Tensor = self.model(inputs)
        return outputs * self.scale_out + self.shift_out


class Mixture(nn.Module):
    """Several models that answer as one."""

    def __init__(self, models: Sequence[nn.Module], task: Task) -> None:
        super().__init__()
        self.models, self.task = nn.ModuleList(models), task

    def forward(self, inputs: Tensor) -> Tensor:
        return averaged(self.task, [model(inputs) for model in self.models])


class Augmented(nn.Module):
    """A model that sees several versions of each picture, the first as it is, and gives the mean of what it says.

    Batch number n of those it is given always sees the same versions.

    Source: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification", sec. 4.1 (ten patches, mean of the softmax).
    Differs: the versions are drawn by chance from the named changes, as in training.
    """

    def __init__(
        self, model: nn.Module, task: Task, names: Sequence[str | Choice], inputs: ImageInputs, draws: int, seed: int
    ) -> None:
        super().__init__()
        self.model, self.task, self.inputs, self.draws, self.seed = model, task, inputs, draws, seed
        self.changes = fitted(names, inputs)
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        mean, std = statistics(self.inputs, images.device)
        grey = (images * std + mean) * 255
        outputs = [self.model(images)]
        for draw in range(1, self.draws):
            drawn = Draws(self.seed, draw, self.seen, len(images), slice(None))
            version = changed(grey, self.changes, drawn)
            outputs.append(self.model(normalize(version / 255, self.inputs)))
        self.seen += 1
        return averaged(self.task, outputs)


def require_augmentable(task: Task, names: Sequence[str | Choice], draws: int) -> None:
    """Refuse test-time augmentation where it has no meaning.

    Raises: ConfigError, UnknownName
    """
    for name in names:
        augmentations.settings(Choice.of({"name": name}) if isinstance(name, str) else name)
    if not isinstance(task.facts.inputs, ImageInputs) or task.answers not in ("classes", "quantities"):
        raise ConfigError("--tta: changes pictures and averages what is said of them; this run takes {kind}.",
                          kind=task.facts.inputs.kind)  # fmt: skip
    if not 2 <= draws <= MOST_DRAWS:
        raise ConfigError("--draws={draws}: test-time augmentation needs 2 versions of each picture or more, and {most} at most.",
                          draws=draws, most=MOST_DRAWS)  # fmt: skip


def mixture_of(members: Sequence[Member], task: Task) -> nn.Module:
    """Return the members as one model that takes what the first takes and answers in its units; for `predict`.

    Raises: RunError if they do not fit, ConfigError if their answers cannot be averaged.
    """
    require_fit(members)
    if task.answers == "":
        raise ConfigError("task.name={task}: what its models say cannot be averaged. Classes, quantities and tokens can.",
                          task=members[0].bundle.record.task.name)  # fmt: skip
    first, models = members[0].facts, []
    for member in members:
        models.append(in_units_of(first, member))
    return Mixture(models, task).eval()


def in_units_of(first: Facts, member: Member) -> nn.Module:
    """Return the model of `member`, taking inputs standardised as for `first` and answering in its units."""
    facts, model = member.facts, member.bundle.model
    if facts.inputs == first.inputs and facts.targets == first.targets:
        return model
    scale, shift = torch.ones(()), torch.zeros(())
    if first.targets:
        std, mean = (torch.tensor([getattr(target, name) for target in first.targets]) for name in ("std", "mean"))
        own_std, own_mean = (
            torch.tensor([getattr(target, name) for target in facts.targets]) for name in ("std", "mean")
        )
        scale, shift = own_std / std, (own_mean - mean) / std
    return Converted(model, conversion(first.inputs, facts.inputs), (scale, shift))

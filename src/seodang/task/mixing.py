"""Mixing of examples and their labels within a batch: mixup and CutMix.

Randomness is torch's global generator, which checkpoints keep: training resumes exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from seodang.core.config import Config
from seodang.core.language import say


class Mixed(NamedTuple):
    """Mixed examples: `share` of the label is that in `labels`, the rest of it the one in `others`."""

    inputs: Tensor
    labels: Tensor
    others: Tensor
    share: float

    def loss(self, of: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the loss against the mixed labels, for a loss that is linear in the target, as cross-entropy is."""
        if self.share == 1:
            return of(self.labels)
        return self.share * of(self.labels) + (1 - self.share) * of(self.others)


class MixingConfig(Config):
    """How examples of a batch are mixed while training."""

    mixup: float = Field(0.0, ge=0)
    """Examples are averaged in pairs, with a weight from Beta(mixup, mixup); 0 = off, 0.2 is usual, 1 mixes strongly."""
    cutmix: float = Field(0.0, ge=0)
    """A rectangle of one picture is pasted into another; what stays of it is from Beta(cutmix, cutmix); 0 = off, 1 is usual."""
    mixed: float = Field(1.0, gt=0, le=1)
    """Share of the batches that are mixed, with mixup or cutmix; with both, each of these takes one of them by chance."""

    @property
    def mixing(self) -> str:
        """The setting that mixes, as it would be written, or ``""``."""
        return f"mixup={self.mixup}" if self.mixup else f"cutmix={self.cutmix}" if self.cutmix else ""


class Unmixable(Config):
    """Settings of a task whose targets are no classes: those that would mix or smooth classes are refused by name."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, values: Any) -> Any:
        for name in ("smoothing", "mixup", "cutmix"):
            if isinstance(values, dict) and name in values and name not in cls.model_fields:
                raise ValueError(say("{name}={value} spreads a target over classes, and goes with task.name=classification only",
                                     name=name, value=values[name]))  # fmt: skip
        return values


def mix(inputs: Tensor, labels: Int[Tensor, " B"], settings: MixingConfig) -> Mixed:
    """Return a batch mixed as `settings` say: by mixup, by CutMix, by one of them, or, by chance, not at all."""
    if settings.mixed < 1 and torch.rand(()).item() >= settings.mixed:
        return Mixed(inputs, labels, labels, 1.0)
    cut = bool(settings.cutmix) and (not settings.mixup or torch.rand(()).item() < 0.5)
    return cutmix(inputs, labels, settings.cutmix) if cut else mixup(inputs, labels, settings.mixup)


def mixup(inputs: Float[Tensor, "B ..."], labels: Int[Tensor, " B"], alpha: float) -> Mixed:
    r"""Return $\lambda x_i + (1 - \lambda) x_j$ with $\lambda \sim \mathrm{Beta}(\alpha, \alpha)$, one for the batch.

    Source: Zhang, Cissé, Dauphin & Lopez-Paz 2018, "mixup: beyond empirical risk minimization", arXiv:1710.09412, sec. 2;
    one weight for a batch, and partners from the same batch, as there.
    """
    share = beta(alpha)
    partners = torch.randperm(len(inputs), device=inputs.device)
    return Mixed(torch.lerp(inputs[partners], inputs, share), labels, labels[partners], share)


def cutmix(images: Float[Tensor, "B C H W"], labels: Int[Tensor, " B"], alpha: float) -> Mixed:
    r"""Return pictures with the same rectangle of each replaced by that of another of the batch.

    Its sides are $\sqrt{1 - \lambda}$ of the picture's, $\lambda \sim \mathrm{Beta}(\alpha, \alpha)$; its centre is any
    place, so that part of it may lie outside. Labels are mixed by the area that was really replaced.

    Source: Yun et al. 2019, "CutMix: regularization strategy to train strong classifiers", arXiv:1905.04899, sec. 3 and
    algorithm A1.
    """
    height, width = images.shape[-2:]
    side = (1 - beta(alpha)) ** 0.5
    rows, columns = (cut_span(int(size * side), size) for size in (height, width))
    partners = torch.randperm(len(images), device=images.device)
    made = images.clone()
    made[..., rows, columns] = images[partners][..., rows, columns]
    replaced = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mixed(made, labels, labels[partners], 1 - replaced / (height * width))


def cut_span(length: int, size: int) -> slice:
    """Return a stretch of at most `length` of `size` places about a random centre; what lies outside is cut off."""
    centre = int(torch.randint(size, ()))
    return slice(max(centre - length // 2, 0), min(centre - length // 2 + length, size))


def beta(alpha: float) -> float:
    """Return a draw from Beta(alpha, alpha)."""
    concentration = torch.tensor(alpha, dtype=torch.float64)
    return float(torch.distributions.Beta(concentration, concentration, validate_args=False).sample())

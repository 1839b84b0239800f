"""Multi-label classification: each of several labels is there or not, whatever the others are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts
from seodang.data.dataset import Batch, Dataset
from seodang.data.reading import read_inputs
from seodang.layers.auxiliary import add_losses
from seodang.task.base import Prediction, Tally, Task, tasks


class MultilabelConfig(Config):
    """How labels are learned and told."""

    threshold: float = Field(0.5, gt=0, lt=1)
    """Probability from which a label counts as there: for F1 and for answers."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    """Share by which 0 and 1 are moved towards a half."""


@tasks.register({"multilabel": MultilabelConfig()})
class Multilabel(Task):
    r"""Tell which of several labels an input has, each by itself, by binary cross-entropy.

    Scores: `map` is the mean over labels of average precision, $\sum_n (R_n - R_{n-1}) P_n$ over the thresholds from the
    highest down, equal probabilities being one threshold, over labels at least one example has; `f1_micro` counts all
    decisions together, `f1_macro` is the mean of the labels' F1.

    Source: binary cross-entropy per label, Nam et al. 2014, "Large-scale multi-label text classification", sec. 3;
    average precision without interpolation, Buckley & Voorhees 2000, "Evaluating evaluation measure stability"; F1,
    van Rijsbergen 1979, "Information retrieval", ch. 7.
    Units: loss is in nats per example, the mean over its labels.
    Differs: on several devices `map` is the mean of each device's, weighted by the labels it has examples of.
    """

    takes: ClassVar[tuple[str, ...]] = ("image",)
    monitor: ClassVar[tuple[str, str]] = ("map", "max")
    settings: MultilabelConfig

    def __init__(self, settings: MultilabelConfig, facts: Facts) -> None:
        super().__init__(settings, facts)
        if not facts.classes:
            raise ConfigError(
                "task.name=multilabel: the data has no labels. Name a CSV of paths and labels: data.labels=labels.csv"
            )

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        inputs, labels = batch
        targets = self._targets(labels)

        def loss(logits: Tensor) -> Tensor:
            return self._loss(logits, targets * (1 - self.settings.smoothing) + self.settings.smoothing / 2)

        yield "model", add_losses(model(inputs), loss)

    def _targets(self, labels: Tensor) -> Float[Tensor, "B K"]:
        """Return zeros and ones; where every example has one class, its number becomes a one."""
        if labels.ndim == 2:
            return labels
        return F.one_hot(labels, len(self.facts.classes or ())).to(torch.float32)

    def _loss(self, logits: Float[Tensor, "B K"], targets: Float[Tensor, "B K"]) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum") / targets.shape[1]

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Tally]:
        """Score all batches together: the ranking of a label is over all examples."""
        logits, targets = [], []
        for inputs, labels in batches:
            logits.append(model(inputs).float())
            targets.append(self._targets(labels))
        return self._scores(torch.cat(logits), torch.cat(targets))

    def score(self, model: nn.Module, batch: Batch) -> dict[str, Tally]:
        inputs, labels = batch
        return self._scores(model(inputs).float(), self._targets(labels))

    def _scores(self, logits: Float[Tensor, "N K"], targets: Float[Tensor, "N K"]) -> dict[str, Tally]:
        precision = average_precision(logits, targets)
        known = targets.sum(0) > 0
        said = (logits.sigmoid() >= self.settings.threshold).to(targets.dtype)
        hits, both = (said * targets).sum(0), said.sum(0) + targets.sum(0)
        each = torch.where(both > 0, 2 * hits / both.clamp(min=1), torch.zeros(()).to(both))
        return {
            "loss": Tally(self._loss(logits, targets), len(targets)),
            "map": Tally(precision[known].sum(), known.sum()),
            "f1_micro": Tally(2 * hits.sum(), both.sum()),
            "f1_macro": Tally(each[known].sum(), known.sum()),
        }

    def baseline(self, data: Dataset, split: str) -> dict[str, float] | None:
        """Return what guessing scores: the average precision of a random order is about the share of examples with the label."""
        labels = getattr(data.split(split), "labels", None)
        if not isinstance(labels, Tensor):
            return None
        shares = self._targets(labels).mean(0)
        return {"map (random order)": shares[shares > 0].mean().item()}

    def predict(self, model: nn.Module, inputs: str, **options: Any) -> Prediction:
        """Return the labels that are there, and the probability of each."""
        device = next(model.parameters()).device
        with torch.no_grad():
            logits = model(read_inputs(self.facts.inputs, inputs).to(device))[0]
        ranked = sorted(
            zip(self.facts.classes or (), logits.float().sigmoid().tolist(), strict=True), key=lambda pair: -pair[1]
        )
        there = [(name, value) for name, value in ranked if value >= self.settings.threshold]
        text = ", ".join(f"{name} ({value:.1%})" for name, value in there) or "–"
        return Prediction(text, {"labels": [name for name, _ in there], "probabilities": dict(ranked)})


def average_precision(scores: Float[Tensor, "N K"], targets: Float[Tensor, "N K"]) -> Float[Tensor, " K"]:
    """Return the average precision of each column; 0 where no example has the label. Equal scores are one threshold."""
    ordered, order = scores.double().sort(0, descending=True)
    hits = targets.double().gather(0, order).cumsum(0)
    count = torch.arange(1, len(scores) + 1, device=scores.device, dtype=torch.float64)[:, None]
    last = torch.ones_like(ordered, dtype=torch.bool)
    last[:-1] = ordered[:-1] != ordered[1:]
    found = torch.where(last, hits, torch.zeros_like(hits)).cummax(0).values
    before = torch.cat([torch.zeros_like(found[:1]), found[:-1]])
    gained = torch.where(last, hits - before, torch.zeros_like(hits))
    return ((gained * hits / count).sum(0) / targets.double().sum(0).clamp(min=1)).float()

"""Classification: one of several classes for each picture, row or vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.data.dataset import Batch
from seodang.data.reading import read_input
from seodang.task.losses import cross_entropy
from seodang.task.base import Prediction, Tally, Task, tasks


class ClassificationConfig(Config):
    """How class errors are weighed."""

    smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread evenly over all classes."""


@tasks.register({"classification": ClassificationConfig()})
class Classification(Task):
    """Tell which of several classes an input belongs to, by cross-entropy.

    Source: softmax and maximum likelihood, Bridle 1990; label smoothing Szegedy et al. 2016, arXiv:1512.00567.
    """

    takes: ClassVar[tuple[str, ...]] = ("image", "table", "vector")
    monitor: ClassVar[tuple[str, str]] = ("accuracy", "max")
    answers: ClassVar[str] = "classes"
    settings: ClassificationConfig

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        inputs, labels = batch
        yield "model", cross_entropy(model(inputs), labels, self.settings.smoothing)

    def score(self, model: nn.Module, batch: Batch) -> dict[str, Tally]:
        inputs, labels = batch
        logits = model(inputs)
        right = (logits.argmax(-1) == labels).sum()
        return {"loss": Tally(cross_entropy(logits, labels), len(labels)), "accuracy": Tally(right, len(labels))}

    def predict(self, model: nn.Module, inputs: str, **options: Any) -> Prediction:
        """Return the most probable class and the probability of each."""
        device = next(model.parameters()).device
        with torch.no_grad():
            logits = model(read_input(self.facts.inputs, inputs).unsqueeze(0).to(device))[0]
        probabilities = logits.float().softmax(-1).tolist()
        classes = self.facts.classes or tuple(map(str, range(len(probabilities))))
        ranked = sorted(zip(classes, probabilities, strict=True), key=lambda pair: -pair[1])
        return Prediction(f"{ranked[0][0]} ({ranked[0][1]:.1%})", {"class": ranked[0][0], "probabilities": dict(ranked)})

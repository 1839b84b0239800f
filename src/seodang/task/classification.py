"""Classification: one of several classes for each picture, row or vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts
from seodang.core.language import say
from seodang.data.dataset import Batch, Dataset, Examples, MemoryExamples
from seodang.data.reading import read_inputs
from seodang.layers.auxiliary import add_losses
from seodang.task.base import Prediction, Tally, Task, tasks
from seodang.task.losses import cross_entropy, perceptron_criterion
from seodang.task.mixing import Mixed, MixingConfig, mix
from seodang.task.weights_film import WeightsFilm

TOP = 5
"""With more than twice as many classes, how often the right one is among this many best is scored too."""


class ClassificationConfig(MixingConfig):
    """How class errors are weighed."""

    loss: Literal["cross-entropy", "perceptron"] = "cross-entropy"
    """Cross-entropy of the softmax; or the perceptron criterion, which learns from wrong answers only."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread evenly over all classes, for cross-entropy."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.loss == "perceptron" and self.smoothing:
            raise ValueError(say("smoothing={value} goes with loss=cross-entropy only", value=self.smoothing))
        if self.loss == "perceptron" and self.mixing:
            raise ValueError(say("{setting} goes with loss=cross-entropy only: a perceptron learns from one right answer",
                                 setting=self.mixing))  # fmt: skip
        if self.mixed < 1 and not self.mixing:
            raise ValueError(say("mixed={value} is the share of batches that mixup or cutmix mixes, and both are off",
                                 value=self.mixed))  # fmt: skip
        return self


@tasks.register({"classification": ClassificationConfig()})
class Classification(Task):
    """Tell which of several classes an input belongs to, by cross-entropy or by the perceptron criterion.

    Source: softmax and maximum likelihood, Bridle 1990, "Probabilistic interpretation of feedforward classification
    network outputs"; label smoothing Szegedy et al. 2016, arXiv:1512.00567, sec. 7; mixup Zhang et al. 2018,
    arXiv:1710.09412; CutMix Yun et al. 2019, arXiv:1905.04899; perceptron criterion Rosenblatt 1962, "Principles of
    neurodynamics", ch. 5.
    Units: loss is in nats per example with cross-entropy; accuracy and top5 are shares.
    """

    takes: ClassVar[tuple[str, ...]] = ("image", "table", "vector")
    monitor: ClassVar[tuple[str, str]] = ("accuracy", "max")
    answers: ClassVar[str] = "classes"
    settings: ClassificationConfig
    weights_film: WeightsFilm | None = None
    """With two inputs: what is needed to draw the decision boundary at every moment."""

    def __init__(self, settings: ClassificationConfig, facts: Facts) -> None:
        super().__init__(settings, facts)
        if facts.classes is None and facts.targets:
            raise ConfigError("task.name=classification: the data has no classes but quantities: {names}. "
                              "Use task.name=regression.", names=", ".join(target.name for target in facts.targets))  # fmt: skip
        if facts.several:
            raise ConfigError("task.name=classification: tells one class of each example, but here an example may have several labels, or "
                              "none. Use task.name=multilabel.")  # fmt: skip
        if facts.classes is not None and len(facts.classes) < 2:
            raise ConfigError("task.name=classification: the data has one class only, '{name}'; there is nothing to tell apart.",
                              name=", ".join(facts.classes))  # fmt: skip

        kind = facts.inputs.kind
        if settings.cutmix and kind != "image":
            raise ConfigError("task.cutmix={value} pastes a part of one picture into another, but this data gives {kind}. "
                              "Use task.mixup.", value=settings.cutmix, kind=kind)  # fmt: skip
        if settings.mixup and kind not in ("image", "table", "vector"):
            raise ConfigError("task.mixup={value} averages numbers, but this data gives {kind}, of which there is no mean.",
                              value=settings.mixup, kind=kind)  # fmt: skip

    def prepare(self, model: nn.Module, seed: int) -> None:
        self.weights_film = WeightsFilm.of(model, self.facts)

    def after_step(self, model: nn.Module, step: int) -> None:
        if self.weights_film:
            self.weights_film.watch(step)

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        mixed = self.seen(batch, model.training)

        def loss(logits: Tensor) -> Tensor:
            return mixed.loss(lambda labels: self._loss(logits, labels, self.settings.smoothing))

        yield "model", add_losses(model(mixed.inputs), loss)

    def seen(self, batch: Batch, training: bool = True) -> Mixed:
        """Return the examples as the model sees them: in training they are mixed, if a setting says so."""
        inputs, labels = batch
        if training and self.settings.mixing:
            return mix(inputs, labels, self.settings)
        return Mixed(inputs, labels, labels, 1.0)

    def _loss(self, logits: Float[Tensor, "B K"], labels: Tensor, smoothing: float = 0.0) -> Tensor:
        if self.settings.loss == "perceptron":
            return perceptron_criterion(logits, labels)
        return cross_entropy(logits, labels, smoothing)

    def score(self, model: nn.Module, batch: Batch) -> dict[str, Tally]:
        inputs, labels = batch
        logits = model(inputs)
        right = (logits.argmax(-1) == labels).sum()
        scores = {"loss": Tally(self._loss(logits, labels), len(labels)), "accuracy": Tally(right, len(labels))}
        if logits.shape[-1] > 2 * TOP:
            among = (logits.topk(TOP, dim=-1).indices == labels[:, None]).sum()
            scores[f"top{TOP}"] = Tally(among, len(labels))
        return scores

    def baseline(self, data: Dataset, split: str) -> dict[str, float] | None:
        """Return what simple methods score: the dataset's own, else always giving the most common training class."""
        own = data.baseline(split)
        if own is not None:
            return own
        known, asked = (
            _labels(data.split("train" if "train" in data.facts.sizes else split)),
            _labels(data.split(split)),
        )
        if known is None or asked is None:
            return None
        return {"accuracy (most common class)": (asked == known.bincount().argmax()).double().mean().item()}

    def probabilities(self, logits: Float[Tensor, "... K"]) -> Float[Tensor, "... K"]:
        """Return the softmax; for a perceptron, which knows no probabilities, 1 for its answer and 0 for the others."""
        if self.settings.loss == "perceptron":
            return nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()
        return logits.float().softmax(-1)

    def predict(self, model: nn.Module, inputs: str, **options: Any) -> Prediction:
        """Return the most probable class and the probability of each; for a file of rows, of every row."""
        device = next(model.parameters()).device
        with torch.no_grad():
            logits = model(read_inputs(self.facts.inputs, inputs).to(device))
        answers = [self._answer(row) for row in self.probabilities(logits).tolist()]
        if len(answers) == 1:
            return answers[0]
        return Prediction("\n".join(answer.text for answer in answers),
                          {"predictions": [answer.values for answer in answers]})  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {"weights_film": self.weights_film.state()} if self.weights_film else {}

    def restore(self, state: dict[str, Any]) -> None:
        if self.weights_film and "weights_film" in state:  # checkpoints of before have none
            self.weights_film.restore(state["weights_film"])

    def _answer(self, probabilities: list[float]) -> Prediction:
        classes = self.facts.classes or tuple(map(str, range(len(probabilities))))
        ranked = sorted(zip(classes, probabilities, strict=True), key=lambda pair: -pair[1])
        best, probability = ranked[0]
        text = best if self.settings.loss == "perceptron" else f"{best} ({probability:.1%})"
        return Prediction(text, {"class": best, "probabilities": dict(ranked)})


def _labels(examples: Examples) -> Tensor | None:
    """Return the class numbers of examples, where they are known without reading the examples."""
    return examples.fields[-1] if isinstance(examples, MemoryExamples) else getattr(examples, "labels", None)

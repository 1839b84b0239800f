"""Task: turns a batch into losses, scores and human-readable answers. It yields sums; the trainer alone divides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.inputs import Facts
from seodang.core.registry import Registry
from seodang.data.dataset import Batch, Dataset, Loader
from seodang.task.pictures import Picture


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Keep `model` in evaluation mode and without gradients inside; afterwards it trains again, if it did."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


class Tally(NamedTuple):
    """A total and how many things it is over: adds over batches and ranks; the score is their ratio."""

    total: Tensor | float
    count: Tensor | float  # type: ignore[assignment]  # hides tuple.count, which nobody asks a score for


class Prediction(NamedTuple):
    """An answer: `text` for people, `values` (JSON-able) for programs."""

    text: str
    values: Mapping[str, Any]


class Task:
    """Only `losses` and `predict` are required. Subclasses are registered in `tasks`.

    Made with its settings and the facts of the data.
    """

    takes: ClassVar[tuple[str, ...]] = ()
    """Kinds of inputs it works on: image, table, vector, tokens, world. Empty: any."""
    monitor: ClassVar[tuple[str, str]] = ("loss", "min")
    """The score that decides which checkpoint is best, and whether "min" or "max" is better."""
    counts: ClassVar[str] = "examples"
    """What `size` counts, in the plural: for the speed people read."""
    answers: ClassVar[str] = ""
    """What `model(inputs)` returns for ``batch[0]``: "classes" (logits), "quantities" (standardised) or "tokens"
    (logits of the next one); "" for anything else. Decides which pictures the report can draw by itself."""
    helper: str | None = None
    """Name of a shipped bundle this task judges by; `equip` receives it before `prepare`."""
    options: ClassVar[tuple[str, ...]] = ()
    """What `predict` takes besides the input, where its signature does not name it."""
    notes: tuple[str, ...] = ()
    """What was decided while the task was made, for people: kept with the run."""

    def __init__(self, settings: Config, facts: Facts) -> None:
        self.settings, self.facts = settings, facts

    def equip(self, helper: nn.Module, facts: Facts) -> None:
        """Take the model of the shipped bundle `helper` names, and the facts of its data."""

    def prepare(self, model: nn.Module, seed: int) -> None:
        """Set up what the task itself keeps during training (a target network, fixed noise)."""

    def networks(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return what is trained: one optimizer each. Names are attributes of the model, or ``"model"`` for all of it."""
        return {"model": model}

    def batches(self, data: Dataset, model: nn.Module, loader: Loader | None, batch_size: int | str) -> Iterable[Batch]:
        """Return an endless stream of training batches with `state` and `restore`. Reinforcement learning acts here."""
        assert loader is not None
        return loader

    def size(self, batch: Batch) -> Tensor | int:
        """Return how many things the losses of this batch sum over."""
        return len(batch[0])

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Yield (network, SUM over the batch). After each, the trainer differentiates and steps that network."""
        raise NotImplementedError(f"{type(self).__name__}.losses")

    def after_step(self, model: nn.Module, step: int) -> None:
        """Do what follows an update: `step` is the number of updates made."""

    def score(self, model: nn.Module, batch: Batch) -> dict[str, Tally]:
        """Return what is measured on a batch that is not trained on."""
        with torch.no_grad():
            (_, loss) = next(iter(self.losses(model, batch)))
        return {"loss": Tally(loss, self.size(batch))}

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Tally]:
        """Add `score` over all batches. Override for what does not add up batch by batch."""
        sums: dict[str, Tally] = {}
        for batch in batches:
            for name, tally in self.score(model, batch).items():
                old = sums.get(name)
                sums[name] = tally if old is None else Tally(old.total + tally.total, old.count + tally.count)
        return sums

    def evaluate_at_end(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Tally]:
        """Return what a finished model scores: `evaluate`, and what is too dear to compute along the way."""
        return self.evaluate(model, batches)

    def finish(self, scores: dict[str, float]) -> dict[str, float]:
        """Derive scores from means (perplexity from loss), after adding over batches and ranks."""
        return scores

    def baseline(self, data: Dataset, split: str) -> dict[str, float] | None:
        """Return what a simple method scores on the same split, to print beside; None if there is none."""
        return None

    def predict(self, model: nn.Module, inputs: str, **options: Any) -> Prediction:
        """Answer about one input: a path, a sentence, a row."""
        raise NotImplementedError(f"{type(self).__name__}.predict")

    def blank_inputs(self, model: nn.Module) -> dict[str, Tensor]:
        """Return a batch with one blank example for the model (under ``""``), or for each part of it that takes one.

        What runs a model once, to look inside or to count, runs it on these.
        """
        device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
        kind = torch.long if self.facts.inputs.kind == "tokens" else torch.float32
        return {"": torch.zeros(1, *self.facts.inputs.shape, dtype=kind, device=device)}

    def pictures(self, model: nn.Module, data: Dataset | None) -> list[Picture]:
        """Return pictures of what the model makes; `data` is None where its examples are not at hand."""
        return []

    def pictures_of(self, model: nn.Module, inputs: str) -> list[Picture]:
        """Return pictures of what the model makes of one input, as a person writes it for `predict`.

        Raises: DataError
        """
        return []

    def state(self) -> dict[str, Any]:
        """Return what must survive a resume: tensors and plain numbers, nested at will; nothing if `restore` has nothing to do."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""


tasks: Registry[Task] = Registry("task", "seodang.task")

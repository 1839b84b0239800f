"""Regression: one or more quantities for each row, vector or picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.core.inputs import Facts
from seodang.data.dataset import Batch, Dataset
from seodang.data.reading import read_inputs
from seodang.task.base import Prediction, Tally, Task, tasks
from seodang.task.losses import squared_error
from seodang.task.mixing import Unmixable

LEAST_VARIANCE = 1e-6
"""Variance of the standardised targets of a split below which r2 says nothing."""


class RegressionConfig(Unmixable):
    """Least squares has nothing to choose."""


@tasks.register({"regression": RegressionConfig()})
class Regression(Task):
    r"""Predict quantities by least squares.

    The loss of an example is $\frac{1}{K} \sum_k (\hat y_k - y_k)^2$ over its K quantities, each standardised by the
    training rows. Scores are over a whole split: rmse and mae per quantity, and the coefficient of determination
    $r^2 = 1 - \sum (\hat y - y)^2 / \sum (y - \bar y)^2$ with the mean of that split.

    Source: Legendre 1805, Gauss 1809; $r^2$ Wright 1921, "Correlation and causation", J. Agricultural Research 20.
    Units: loss in squared standard deviations, rmse and mae in the target's own unit; r2 has none.
    """

    takes: ClassVar[tuple[str, ...]] = ("image", "table", "vector")
    answers: ClassVar[str] = "quantities"
    settings: RegressionConfig

    def __init__(self, settings: RegressionConfig, facts: Facts) -> None:
        super().__init__(settings, facts)
        if not facts.targets:
            raise ConfigError(
                "task.name=regression predicts quantities, but this data has {found}. Use task.name=classification, or, for "
                "a table whose classes are numbers, data.kind=quantity.",
                found="classes" if facts.classes else "no target")  # fmt: skip

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        inputs, targets = batch
        yield "model", squared_error(model(inputs), targets) / targets.shape[1]

    def score(self, model: nn.Module, batch: Batch) -> dict[str, Tally]:
        """Return means of powers of errors and targets in standard units; `finish` makes scores of them."""
        inputs, targets = batch
        errors = model(inputs).float() - targets
        count = len(targets)
        tallies = {"loss": Tally(errors.square().mean(1).sum(), count)}
        for index in range(targets.shape[1]):
            error, target = errors[:, index].double(), targets[:, index].double()
            tallies |= {
                f"squared error/{index}": Tally(error.square().sum(), count),
                f"absolute error/{index}": Tally(error.abs().sum(), count),
                f"target/{index}": Tally(target.sum(), count),
                f"squared target/{index}": Tally(target.square().sum(), count),
            }
        return tallies

    def finish(self, scores: dict[str, float]) -> dict[str, float]:
        """Return loss, and rmse, mae and r2 of each quantity; its name is added where there are several."""
        finished = {"loss": scores["loss"]}
        for index, target in enumerate(self.facts.targets):
            squared, mean = scores[f"squared error/{index}"], scores[f"target/{index}"]
            variance = scores[f"squared target/{index}"] - mean**2
            suffix = f" {target.name}" if len(self.facts.targets) > 1 else ""
            finished[f"rmse{suffix}"] = squared**0.5 * target.std
            finished[f"mae{suffix}"] = scores[f"absolute error/{index}"] * target.std
            if variance > LEAST_VARIANCE:
                finished[f"r2{suffix}"] = 1 - squared / variance
        return finished

    def baseline(self, data: Dataset, split: str) -> dict[str, float] | None:
        """Return what ridge regression and a forest score on the same split, where the data is a table."""
        return data.baseline(split)

    def predict(self, model: nn.Module, inputs: str, **options: Any) -> Prediction:
        """Return the quantities for a row ("a=1,b=2", JSON, or values in column order), or for every row of a file."""
        device = next(model.parameters()).device
        with torch.no_grad():
            answers = model(read_inputs(self.facts.inputs, inputs).to(device)).float().cpu()
        rows = [self._in_own_units(answer.tolist()) for answer in answers]
        text = "\n".join(", ".join(f"{name}: {value:.6g}" for name, value in row.items()) for row in rows)
        return Prediction(text, rows[0] if len(rows) == 1 else {"predictions": rows})

    def _in_own_units(self, values: Sequence[float]) -> dict[str, float]:
        return {
            target.name: value * target.std + target.mean
            for target, value in zip(self.facts.targets, values, strict=True)
        }

"""How well quantities are predicted: predicted beside true, what is left over, and which inputs matter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from seodang.core.inputs import Facts
from seodang.core.language import say
from seodang.data.dataset import generator
from seodang.visualize.answers import Answers, columns_of
from seodang.visualize.classes import examined
from seodang.visualize.figure import Axis, Bars, Figure, Histogram, Scatter, Series
from seodang.visualize.scale import number

MOST_TARGETS = 4
MOST_COLUMNS = 20


def quantity_figures(answers: Answers, facts: Facts) -> list[Figure]:
    """Return predicted against true and the residuals of each quantity, in its own units."""
    figures: list[Figure] = []
    true, predicted = answers.targets.double(), answers.outputs.double()
    true, predicted = true.reshape(len(true), -1), predicted.reshape(len(predicted), -1)
    for place, target in enumerate(facts.targets[:MOST_TARGETS]):
        a = true[:, place].numpy() * target.std + target.mean
        b = predicted[:, place].numpy() * target.std + target.mean
        residuals = b - a
        spread = float(((a - a.mean()) ** 2).sum())
        explained = 1 - float((residuals**2).sum()) / spread if spread else float("nan")
        error = float(np.sqrt((residuals**2).mean()))
        summary = say(
            "Root mean squared error {error}, R² {explained}.", error=number(error), explained=number(explained)
        )
        figures += [
            Scatter(say("{name}: predicted beside true", name=target.name), summary,
                    (Series("", tuple(a), tuple(b)),), Axis(say("true")), Axis(say("predicted")), diagonal=True,
                    about=say("{examples}. {summary} On the line, the prediction is exact.", examples=examined(answers),
                              summary=summary), name=f"predicted-{target.name}"),
            residual_histogram(target.name, residuals),
        ]  # fmt: skip
    return figures


def residual_histogram(name: str, residuals: np.ndarray) -> Histogram:
    """Return how often the prediction is off by how much."""
    heights, edges = np.histogram(residuals, bins=min(30, max(8, len(residuals) // 12)))
    mean = float(residuals.mean())
    return Histogram(
        say("{name}: residuals", name=name), say("Predicted minus true; mean {mean}.", mean=number(mean)),
        tuple(edges.tolist()), tuple(float(height) for height in heights), Axis(say("predicted minus true")),
        Axis(say("examples")), about=say("Predicted minus true; mean {mean}. Best is a narrow heap around zero.",
                                         mean=number(mean)), name=f"residuals-{name}")  # fmt: skip


def importance(
    model: nn.Module, answers: Answers, facts: Facts, loss: Callable[[Tensor, Tensor], Tensor]
) -> Bars | None:
    """Return how much the mean loss grows when one column is shuffled; None with fewer than two columns.

    Source: permutation importance, Breiman 2001, "Random forests", sec. 10; Fisher, Rudin & Dominici 2019, arXiv:1801.01489.
    """
    columns = columns_of(facts)
    if len(columns) < 2 or len(answers.inputs) < 2:
        return None
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    before = float(loss(answers.outputs, answers.targets)) / len(answers.targets)
    grown = []
    with torch.no_grad():
        for name, span in columns[:200]:
            shuffled = answers.inputs.clone()
            order = torch.randperm(len(shuffled), generator=generator("importance", name, len(shuffled)))
            shuffled[:, span] = shuffled[order, span]
            outputs = model(shuffled.to(device)).float().cpu()
            grown.append((name, float(loss(outputs, answers.targets)) / len(answers.targets) - before))
    grown.sort(key=lambda pair: -pair[1])
    shown = grown[:MOST_COLUMNS]
    return Bars(
        say("Which inputs matter"), say("Most: {name}.", name=shown[0][0]), tuple(name for name, _ in shown),
        tuple(value for _, value in shown), Axis(say("growth of the mean loss")),
        about=say("How much the loss grows on {examples} when one column is shuffled and so tells nothing. Columns that say "
                  "the same stand in for each other: each then seems to matter less.", examples=examined(answers)),
                  name="importance")  # fmt: skip

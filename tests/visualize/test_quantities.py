"""Regression: the errors people read are those of scikit-learn, in the units of the file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score
from torch import nn

from seodang.core.inputs import Column, Facts, TableInputs, Target
from seodang.task.losses import squared_error
from seodang.visualize.answers import Answers
from seodang.visualize.figure import Histogram, Scatter
from seodang.visualize.quantities import importance, quantity_figures
from seodang.visualize.scale import number

COLUMNS = tuple(Column(name=name, kind="number") for name in ("a", "b", "c"))
FACTS = Facts(inputs=TableInputs(columns=COLUMNS), targets=(Target(name="price", mean=100.0, std=20.0),), sizes={})


def answers_of(model: nn.Module, count: int = 200) -> Answers:
    inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(5))
    targets = 2 * inputs[:, :1] - inputs[:, 1:2] + 0.1 * inputs[:, :1].square()
    with torch.no_grad():
        return Answers("test", count, inputs, targets, model(inputs))


def linear() -> nn.Linear:
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, -1.0, 0.0]]))
        model.bias.zero_()
    return model


def test_predicted_beside_true_in_the_users_units() -> None:
    answers = answers_of(linear())
    scatter, histogram = quantity_figures(answers, FACTS)
    assert isinstance(scatter, Scatter)
    assert isinstance(histogram, Histogram)
    true, predicted = (values[:, 0].double().numpy() * 20 + 100 for values in (answers.targets, answers.outputs))
    assert np.allclose(scatter.series[0].x, true)
    assert np.allclose(scatter.series[0].y, predicted)
    assert number(float(np.sqrt(((predicted - true) ** 2).mean()))) in scatter.alt
    assert number(r2_score(true, predicted)) in scatter.alt
    assert sum(histogram.heights) == 200
    assert histogram.edges[0] == pytest.approx((predicted - true).min())


def test_a_column_the_model_ignores_does_not_matter() -> None:
    answers = answers_of(linear())
    found = importance(linear(), answers, FACTS, squared_error)
    assert found is not None
    values = dict(zip(found.names, found.values, strict=True))
    assert found.names[0] == "a"
    assert values["c"] == 0.0
    assert values["a"] == pytest.approx(2 * 4 * float(answers.inputs[:, 0].var()), rel=0.35), (
        "shuffled: E(2a - 2a')² = 8 Var(a)"
    )
    assert values["a"] > values["b"] > 0


def test_one_column_has_nothing_to_compare_with() -> None:
    facts = Facts(inputs=TableInputs(columns=COLUMNS[:1]), sizes={})
    model = nn.Linear(1, 1)
    inputs = torch.ones(4, 1)
    answers = Answers("test", 4, inputs, inputs, model(inputs).detach())
    assert importance(model, answers, facts, squared_error) is None

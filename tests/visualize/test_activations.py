"""Saturation and dead units are counted by their definitions; nothing of the model changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import seodang as sd
from seodang.layers.activation import ACTIVATIONS
from seodang.visualize.activations import activation_health_figures, by_unit, known, layer_health, slope, steepest
from seodang.visualize.draw import svg
from seodang.visualize.figure import Lines, Table


def network(kind: nn.Module, bias: list[float]) -> nn.Sequential:
    """Return one layer whose units see the input moved by their bias."""
    model = nn.Sequential(nn.Linear(1, len(bias)), kind)
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.copy_(torch.tensor(bias))
    return model


ROWS = torch.tensor([[-1.0], [1.0], [2.0], [3.0]])


def test_a_rectifier_that_never_fires_is_dead() -> None:
    (found,) = layer_health(network(nn.ReLU(), [0.0, -10.0, 10.0, -2.5]), ROWS)
    assert (found.path, found.kind, found.units) == ("1", "ReLU", 4)
    assert found.dead == 1 / 4
    assert found.saturated == (1 + 4 + 0 + 3) / 16
    inputs = ROWS + torch.tensor([0.0, -10.0, 10.0, -2.5])
    assert found.mean == pytest.approx(inputs.mean().item())
    assert found.spread == pytest.approx(inputs.std().item())


def test_a_sigmoid_saturates_on_both_sides() -> None:
    (found,) = layer_health(network(nn.Sigmoid(), [0.0, 20.0, -20.0]), ROWS)
    assert found.dead == pytest.approx(2 / 3)
    assert steepest(nn.Sigmoid()) == pytest.approx(0.25)
    edge = 4.3567  # σ′ there is a twentieth of 1/4
    (found,) = layer_health(network(nn.Sigmoid(), [edge - 1.01, edge - 0.99]), torch.tensor([[1.0]]))
    assert found.saturated == 0.5


def test_no_non_linearity_of_the_table_is_dead_at_its_best_place() -> None:
    for name, item in ACTIVATIONS.items():
        if name == "identity":
            continue
        found = layer_health(network(item(), [0.5, 1.0]), torch.zeros(3, 1))
        assert [layer.dead for layer in found] == [0.0], name


def test_channels_are_the_units_of_maps_and_places_count_as_examples() -> None:
    maps = torch.randn(2, 3, 4, 5)
    assert by_unit(maps).shape == (40, 3)
    assert torch.equal(by_unit(maps)[:, 1], maps[:, 1].flatten())
    assert by_unit(torch.randn(2, 7, 3)).shape == (14, 3)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 0.0])[:, None, None, None])
        model[0].bias.copy_(torch.tensor([0.0, -1.0]))
    (found,) = layer_health(model, torch.tensor([[[[1.0, -1.0], [-1.0, -1.0]]]]))
    assert (found.units, found.dead, found.saturated) == (2, 0.5, 7 / 8)


def test_the_slope_is_the_derivative() -> None:
    x = torch.linspace(-3, 3, 13)
    torch.testing.assert_close(slope(nn.Tanh(), x), 1 - x.tanh() ** 2)


def test_looking_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3), nn.PReLU(), nn.Dropout()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer_health(model, ROWS)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_figures_carry_the_formula_and_can_be_drawn() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.GELU("tanh"), nn.Linear(8, 2))
    table, relu, gelu = activation_health_figures(model, torch.randn(50, 4))
    assert isinstance(table, Table)
    assert [row[:3] for row in table.rows] == [("1", "ReLU", "8"), ("3", "GELU", "8")]
    assert isinstance(relu, Lines) and isinstance(gelu, Lines)
    assert "max(0, x)" in relu.about and "Nair & Hinton 2010" in relu.about
    assert "0.044715" in gelu.about
    assert [series.name for series in relu.series] == ["g(x)", "g′(x)", "inputs of 1"]
    for figure in (table, relu, gelu):
        assert str(svg(figure)).startswith("<svg")
    assert activation_health_figures(nn.Linear(4, 2), torch.randn(5, 4)) == []


def test_every_non_linearity_is_known() -> None:
    for name, item in ACTIVATIONS.items():
        assert known(item()) is item, name
    assert known(nn.GLU()) is None


def test_look_draws_them_for_a_run(tmp_path: Path) -> None:
    run = sd.train(
        "digits-mlp", run=tmp_path / "run", model={"activation": "sigmoid"}, train={"steps": 5, "threads": 1}
    )
    drawn = {path.name: path for path in run.look()}
    assert {"activation-health.svg", "activation-sigmoid.svg"} <= set(drawn)
    text = drawn["activation-health.svg"].read_text()
    assert "layers.3" in text and "dead units" in text

"""Spreads are those of the layers' own numbers; sigmoid vanishes over depth where rectifiers do not; nothing changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import seodang as sd
from seodang.core.errors import RunError
from seodang.core.recipe import Choice
from seodang.models.base import architectures
from seodang.task.base import Task
from seodang.task.losses import cross_entropy
from seodang.visualize.draw import svg
from seodang.visualize.gradients import flows, gradient_figures, schemes, verdict


class Pair(NamedTuple):
    inputs: Tensor
    labels: Tensor


class Plain(Task):
    def __init__(self) -> None:
        pass

    def losses(self, model: nn.Module, batch: Any) -> Iterator[tuple[str, Tensor]]:
        yield "model", cross_entropy(model(batch.inputs), batch.labels)


def batch(features: int = 20) -> Pair:
    draw = torch.Generator().manual_seed(0)
    return Pair(torch.randn(64, features, generator=draw), torch.randint(3, (64,), generator=draw))


def mlp(depth: int, **settings: Any) -> nn.Module:
    torch.manual_seed(1)
    return architectures.make(Choice.of({"name": "mlp", "in_features": 20, "hidden_sizes": [40] * depth, "out_features": 3,
                                         **settings}))  # fmt: skip


def test_the_numbers_are_those_of_autograd() -> None:
    model, data = mlp(1), batch()
    found = flows(model, Plain(), data)
    hidden = model.layers[1](data.inputs)
    logits = model.layers[3](model.layers[2](hidden))
    loss = nn.functional.cross_entropy(logits, data.labels)
    back = torch.autograd.grad(loss, [hidden, logits, model.layers[1].weight, model.layers[3].weight])
    sizes = [value.square().mean().sqrt().item() for value in (hidden, logits, *back)]
    assert [flow.path for flow in found] == ["layers.1", "layers.3"]
    assert [flow.output for flow in found] == pytest.approx(sizes[:2], rel=1e-5)
    assert [flow.gradient for flow in found] == pytest.approx(sizes[2:4], rel=1e-5)
    assert [flow.weight_gradient for flow in found] == pytest.approx(sizes[4:], rel=1e-5)


def test_sigmoid_vanishes_over_depth_where_rectifiers_do_not() -> None:
    deep = {name: flows(mlp(15, activation=name, init=init), Plain(), batch())
            for name, init in (("sigmoid", "xavier"), ("relu", "he"), ("tanh", "xavier"))}  # fmt: skip
    assert verdict(deep["sigmoid"]).startswith("Vanishing: over 16 layers")
    assert verdict(deep["relu"]).startswith("Sound")
    assert verdict(deep["tanh"]).startswith("Sound")
    large = mlp(15)
    with torch.no_grad():
        for weight in large.parameters():
            weight.mul_(4)
    assert verdict(flows(large, Plain(), batch())).startswith("Exploding")


def test_looking_changes_nothing() -> None:
    model = mlp(3, normalization="batch", dropout=0.5).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert gradient_figures(model, Plain(), batch()) == gradient_figures(model, Plain(), batch())
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_every_initialisation_is_drawn_beside_the_trained_weights() -> None:
    forward, backward, table = gradient_figures(mlp(4), Plain(), batch())
    names = [series.name for series in forward.series]  # type: ignore[attr-defined]
    assert names == ["trained", *(f"fresh, init={name}" for name in ("he", "xavier", "lecun", "orthogonal", "normal"))]
    assert "Nothing at all with: fresh, init=zero." in forward.about
    assert len(table.rows) == 5  # type: ignore[attr-defined]
    for figure in (forward, backward, table):
        assert str(svg(figure)).startswith("<svg")
    assert schemes(nn.Linear(2, 2)) == {}
    assert gradient_figures(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(20)), Plain(), batch()) == []


@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn"])
def test_look_gradients_writes_three_figures(tmp_path: Path, name: str) -> None:
    run = sd.train(name, run=tmp_path / "run", train={"steps": 3, "threads": 1})
    assert [path.name for path in run.look("gradients")] == ["flow-outputs.svg", "flow-gradients.svg", "flow.svg"]


def test_an_agent_has_no_training_examples(tmp_path: Path) -> None:
    run = sd.train("cartpole-dqn", run=tmp_path / "run", train={"steps": 2, "threads": 1, "evaluate_every": 0},
                   data={"valid": 1, "test": 1})  # fmt: skip
    with pytest.raises(RunError, match="needs training examples"):
        run.look("gradients")

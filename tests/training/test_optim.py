"""Schedules have exact values, groups leave out what must not shrink, and what cannot go together is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.core.recipe import Choice, Train
from seodang.models.base import architectures
from seodang.training.groups import group_facts, parameter_groups, trained_weights
from seodang.training.muon import hidden_matrices
from seodang.training.optim import UpdateRule, optimizers
from seodang.training.optimizers import SGDConfig
from seodang.training.schedules import expected_steps, schedule
from seodang.training.update import KeptOptimizer
from tests.harness import assert_same_end, history, killed_after

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [12, 12], "normalization": "batch"},
    "data": {"name": "digits"},
    "task": "classification",
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"steps": 10, "batch_size": 32, "log_every": 1, "evaluate_every": 0, "threads": 1},
}


def rule(**settings: Any) -> UpdateRule:
    return optimizers.make(Choice.of(settings))


def architecture(name: str, **settings: Any) -> nn.Module:
    return architectures.make(Choice.of({"name": name, **architectures[name].maker.example, **settings}))


# ---------------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize(
    ("shape", "options", "wanted"),
    [
        ("constant", {}, [1, 1, 1, 1, 1]),
        ("linear", {}, [1, 0.75, 0.5, 0.25, 0]),
        ("linear", {"final": 0.2}, [1, 0.8, 0.6, 0.4, 0.2]),
        ("cosine", {}, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ("cosine", {"final": 0.1}, [1, 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2, 0.55,
                                    0.1 + 0.9 * (1 - math.sqrt(0.5)) / 2, 0.1]),
        ("exponential", {"final": 0.01}, [1, 10**-0.5, 0.1, 10**-1.5, 0.01]),
        ("step", {"drop_at": (0.5, 0.75), "drop": 0.1}, [1, 1, 0.1, 0.01, 0.01]),
        ("step", {"drop_at": (0.3,), "drop": 0.5}, [1, 1, 0.5, 0.5, 0.5]),
        ("one-cycle", {"warmup": 0.5}, [1 / 25, 0.52, 1, 0.5, 0]),
        ("linear", {"warmup": 0.5}, [1 / 51, (1 + 1 / 51) / 2, 1, 0.5, 0]),
        ("constant", {"warmup": 50.0}, [1 / 50, 26 / 50, 1, 1, 1]),
    ],
)  # fmt: skip
def test_schedules_have_exact_values(shape: str, options: dict[str, Any], wanted: list[float]) -> None:
    found = [schedule(shape, step, step / 100, 100, **options) for step in (0, 25, 50, 75, 100)]
    assert found == pytest.approx(wanted, abs=1e-12)


def test_one_cycle_rises_for_three_tenths() -> None:
    rates = [schedule("one-cycle", step, step / 1000, 1000) for step in range(1001)]
    assert rates.index(max(rates)) == 300
    assert (rates[0], rates[300], rates[1000]) == pytest.approx((0.04, 1.0, 0.0))


def test_a_run_by_the_clock_has_the_same_shapes() -> None:
    assert schedule("cosine", 9999, 0.5, None) == pytest.approx(0.5)
    assert schedule("linear", 3, 0.0, None, warmup=10.0) == pytest.approx(0.4)


def test_the_rate_is_the_largest_times_the_schedule() -> None:
    made = rule(name="adam", lr=0.02, schedule="step")
    assert [made.rate(step, step / 100, 100) for step in (0, 50, 75)] == pytest.approx([0.02, 0.002, 0.0002])


@pytest.mark.parametrize(
    ("train", "examples", "wanted"),
    [
        ({"steps": 70}, None, 70), ({}, 10, 1000), ({"minutes": 1.0}, 10, None), ({"epochs": 2.0}, None, None),
        ({"epochs": 2.0, "batch_size": 32}, 1437, 90), ({"epochs": 3.0, "batch_size": "all"}, 1437, 3),
        ({"epochs": 1.0, "batch_size": 64}, 129, 2), ({"epochs": 0.5, "batch_size": 10}, 100, 5),
    ],
)  # fmt: skip
def test_how_long_a_run_will_be_is_known_beforehand(train: dict[str, Any], examples: int, wanted: int | None) -> None:
    assert expected_steps(Train(**train), examples) == wanted


# ------------------------------------------------------------------------------------------------ groups


def test_biases_and_normalisation_do_not_decay() -> None:
    network = architecture("gpt")
    decaying, free = parameter_groups(network, SGDConfig(weight_decay=0.1))
    names = {id(weight): name for name, weight in network.named_parameters()}
    assert (decaying["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert all("norm" not in names[id(weight)] and "bias" not in names[id(weight)] for weight in decaying["params"])
    assert all("norm" in names[id(weight)] or "bias" in names[id(weight)] for weight in free["params"])
    assert len(decaying["params"]) + len(free["params"]) == len(list(network.parameters()))


def test_a_normalisation_of_two_dimensions_does_not_decay_either() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LayerNorm((2, 4, 4)), nn.PReLU(), nn.Flatten(), nn.Linear(32, 2))
    decaying, free = parameter_groups(network, SGDConfig(weight_decay=0.1))
    assert [weight.shape for weight in decaying["params"]] == [(2, 1, 3, 3), (2, 32)]
    assert len(free["params"]) == 5


def test_layers_get_less_of_the_rate_the_deeper_they_lie() -> None:
    network = architecture("cnn")
    layers = {item.path.rpartition(".")[0]: item.layer for item in trained_weights(network)}
    assert layers == {"features.0.0": 0, "features.0.1": 0, "features.1.0": 1, "features.1.2": 1, "features.2.0": 2,
                      "features.2.1": 2, "classifier.1": 3, "classifier.3": 4}  # fmt: skip
    optimizer = rule(name="sgd", lr=0.5, layer_decay=0.1).build(network)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    for _ in range(2):
        optimizer.step()
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    for item in trained_weights(network):
        moved = (before[item.path] - item.weight).mean().item()
        assert moved == pytest.approx(2 * 0.5 * 0.1 ** (4 - item.layer), rel=1e-2), item.path


def test_blocks_of_an_architecture_are_layers() -> None:
    layers = {item.path: item.layer for item in trained_weights(architecture("gpt"))}
    assert layers["embedding.weight"] == 0
    assert layers["position.weight"] == 1
    assert {layers[path] for path in layers if path.startswith("layers.0.")} == {2}
    assert {layers[path] for path in layers if path.startswith("layers.1.")} == {3}
    assert layers["norm.weight"] == 3


def test_groups_can_be_told() -> None:
    network = architecture("mlp")
    facts = group_facts({"model": rule(name="adamw", lr=0.1, layer_decay=0.5).build(network)})
    assert [(item.layer, item.parameters, item.weight_decay, item.lr) for item in facts] == [
        (0, 96, 0.01, 0.025), (1, 64, 0.01, 0.05), (2, 24, 0.01, 0.1), (0, 8, 0.0, 0.025), (1, 8, 0.0, 0.05),
        (2, 3, 0.0, 0.1)]  # fmt: skip
    assert sum(item.parameters for item in facts) == sum(weight.numel() for weight in network.parameters())


# -------------------------------------------------------------------------------------------------- muon


def test_muon_takes_hidden_matrices_only() -> None:
    def names(network: nn.Module) -> set[str]:
        chosen = hidden_matrices(network)
        return {name for name, weight in network.named_parameters() if weight in chosen}

    assert names(architecture("mlp")) == {"layers.3.weight"}
    assert names(architecture("cnn")) == {"features.1.0.weight", "features.2.0.weight", "classifier.1.weight"}
    blocks = {f"layers.{block}.{name}.weight" for block in (0, 1) for name in
              ("attention.qkv", "attention.output", "feedforward.expand", "feedforward.contract")}  # fmt: skip
    assert names(architecture("gpt")) == blocks
    assert names(architecture("gpt", tied=False)) == blocks


def test_muon_without_a_hidden_matrix_says_so() -> None:
    with pytest.raises(ConfigError, match=r"optimizer.name=muon: MLP has no hidden matrix"):
        rule(name="muon").build(architecture("mlp", hidden_sizes=(8,)))


def test_muon_sees_through_the_layout_of_memory() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 1))
    last = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 1))
    last.load_state_dict(plain.state_dict())
    last.to(memory_format=torch.channels_last)
    images = torch.randn(4, 1, 6, 6)
    for network in (plain, last):
        optimizer = rule(name="muon").build(network)
        for _ in range(3):
            optimizer.zero_grad()
            network(images).square().sum().backward()
            optimizer.step()
    assert last[1].weight.is_contiguous(memory_format=torch.channels_last)
    for one, two in zip(plain.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=3e-3)  # rounding to bfloat16 in another order


@pytest.mark.parametrize("name", ["muon", "adagrad", "adadelta"])
@pytest.mark.parametrize("model", [RECIPE["model"], {"name": "cnn", "stages": [[4], [6]], "hidden_sizes": [8]}])
def test_killing_and_going_on_changes_nothing(tmp_path: Path, name: str, model: dict[str, Any]) -> None:
    recipe = {**RECIPE, "model": model, "optimizer": {"name": name, "schedule": "cosine", "layer_decay": 0.8}}
    recipe["train"] = {**RECIPE["train"], "save_every": 4}
    whole = sd.train(recipe, run=tmp_path / "whole")
    with killed_after(6):
        sd.train(recipe, run=tmp_path / "cut")
    assert_same_end(sd.resume(tmp_path / "cut"), whole)
    losses = [event["losses"]["model"] for event in history(whole) if event["event"] == "stepped"]
    assert losses[-1] < losses[0]


# ----------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adagrad", "momentum": 0.9}, r"optimizer.momentum: is not a setting here"),
        ({"name": "adadelta", "betas": [0.9, 0.99]}, r"optimizer.betas: is not a setting here"),
        ({"name": "sgd", "nesterov": True}, r"nesterov=true looks ahead along the momentum, and momentum is 0"),
        ({"name": "sgd", "schedule": "step", "drop_at": [0.7, 0.5]}, r"drop_at=\[0.7, 0.5\]: shares of the run"),
        ({"name": "sgd", "schedule": "step", "drop_at": [30]}, r"drop_at"),
        ({"name": "sgd", "drop_at": [0.5]}, r"drop_at goes with schedule=step, not constant"),
        ({"name": "sgd", "schedule": "cosine", "drop": 0.5}, r"drop goes with schedule=step\|plateau, not cosine"),
        ({"name": "sgd", "schedule": "step", "wait": 3}, r"wait goes with schedule=plateau, not step"),
        ({"name": "sgd", "schedule": "exponential"}, r"final must be above 0"),
        ({"name": "sgd", "final": 0.1}, r"final=0.1 means nothing with schedule=constant"),
        ({"name": "adam", "betas": [0.9, 1.0]}, r"betas=\[0.9, 1.0\]: each must be 0 or more and below 1"),
        ({"name": "adam", "layer_decay": 0.0}, r"optimizer.layer_decay: should be greater than 0"),
    ],
)
def test_what_cannot_go_together_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rule(**settings)


def test_an_update_of_muon_can_be_undone() -> None:
    """Who undoes an update puts copies of the records back: both inner rules must go on from those."""
    torch.manual_seed(0)
    network = architecture("cnn")
    optimizer = rule(name="muon").build(network)
    gradients = [[torch.randn_like(weight) for weight in network.parameters()] for _ in range(3)]

    def step(number: int) -> None:
        for weight, gradient in zip(network.parameters(), gradients[number], strict=True):
            weight.grad = gradient.clone()
        optimizer.step()

    step(0)
    kept = KeptOptimizer(optimizer)
    step(1)
    wanted = [weight.detach().clone() for weight in network.parameters()]
    kept.put_back()
    step(2)
    KeptOptimizer(optimizer).put_back()
    kept.put_back()
    step(1)
    assert all(torch.equal(weight, value) for weight, value in zip(network.parameters(), wanted, strict=True))

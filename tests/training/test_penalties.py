"""L1 and L2 penalties, and noise on the weights: what reaches the update, and what a resume gives back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.core.recipe import Choice, Recipe
from seodang.training.assemble import assemble
from seodang.training.groups import group_facts, penalize
from seodang.training.optim import optimizers
from seodang.training.weight_noise import WeightNoise
from tests.harness import assert_same_end, killed_after

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [12]},
    "data": {"name": "digits"},
    "task": "classification",
    "optimizer": {"name": "momentum", "lr": 0.1},
    "train": {"steps": 10, "batch_size": 32, "log_every": 1, "evaluate_every": 0, "threads": 1},
}


def changed(**sections: dict[str, Any]) -> dict[str, Any]:
    return {**RECIPE, **{name: {**RECIPE[name], **values} for name, values in sections.items()}}


def weights(run: Any) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoints[-1] / "model.safetensors")


def built(network: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    return optimizers.make(Choice.of(settings)).build(network)


def test_the_gradient_of_the_penalties_is_added_to_that_of_the_loss() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    optimizer = built(network, name="sgd", l1=0.1, l2=0.3)
    network(torch.randn(5, 3)).square().sum().backward()
    before = {name: weight.grad.clone() for name, weight in network.named_parameters()}
    penalize(optimizer)
    for name, weight in network.named_parameters():
        wanted = 0.1 * weight.sign() + 0.3 * weight if weight.ndim == 2 else torch.zeros_like(weight)
        assert torch.allclose(weight.grad - before[name], wanted, atol=1e-6), name
    assert [(facts.l1, facts.l2) for facts in group_facts({"model": optimizer})] == [(0.1, 0.3), (0.0, 0.0)]


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "adagrad", "adadelta", "rmsprop"])
def test_an_l2_penalty_is_coupled_weight_decay(tmp_path: Path, name: str) -> None:
    ends = [
        weights(sd.train(changed(optimizer={"name": name, "lr": 0.05, setting: 0.02}), run=tmp_path / setting))
        for setting in ("l2", "weight_decay")
    ]
    plain = weights(sd.train(changed(optimizer={"name": name, "lr": 0.05}), run=tmp_path / "plain"))
    assert all(torch.allclose(ends[0][key], ends[1][key], atol=2e-6) for key in plain)
    assert any((ends[0][key] - plain[key]).abs().max() > 1e-4 for key in plain)


def test_decoupled_decay_is_something_else(tmp_path: Path) -> None:
    ends = [
        weights(
            sd.train(changed(optimizer={"name": "adamw", "lr": 0.05, "weight_decay": 0.0, **more}), run=tmp_path / key)
        )
        for key, more in {"penalty": {"l2": 0.02}, "decay": {"weight_decay": 0.02}}.items()
    ]
    assert max((ends[0][key] - ends[1][key]).abs().max().item() for key in ends[0]) > 1e-3


def test_penalties_come_before_clipping(tmp_path: Path) -> None:
    """With a huge penalty and a small clip, one step moves by the rate times the clip, not further."""
    recipe = changed(optimizer={"name": "sgd", "lr": 1.0, "l2": 1e4}, train={"steps": 1, "clip": 0.01})
    start = assemble(Recipe.of(recipe)).model.state_dict()
    end = weights(sd.train(recipe, run=tmp_path / "run"))
    moved = sum((end[key] - start[key]).square().sum().item() for key in start) ** 0.5
    assert moved == pytest.approx(0.01, rel=1e-3)
    pulled, matrix = end["layers.1.weight"] - start["layers.1.weight"], start["layers.1.weight"]
    assert torch.cosine_similarity(pulled.flatten(), -matrix.flatten(), 0) > 0.99, "and all of it towards zero"


def test_l1_makes_more_weights_small_than_l2(tmp_path: Path) -> None:
    shares = {}
    for name, value in (("l1", 3e-3), ("l2", 3e-2)):
        end = weights(sd.train(changed(optimizer={name: value}, train={"steps": 300}), run=tmp_path / name))
        matrix = end["layers.1.weight"]
        shares[name] = (matrix.abs() < 0.01 * matrix.abs().max()).float().mean().item()
    assert shares["l1"] > 2 * shares["l2"]


# ---------------------------------------------------------------------------------------------- weight noise


def test_noise_is_on_inside_and_off_to_the_bit_outside() -> None:
    torch.manual_seed(0)
    network = nn.Linear(300, 300)
    clean = network.weight.detach().clone()
    noise = WeightNoise(0.1, {"model": network})
    with noise.added():
        drawn = network.weight.detach() - clean
    assert abs(drawn.std().item() - 0.1) < 0.002 and abs(drawn.mean().item()) < 0.002
    assert torch.equal(network.weight, clean)
    with pytest.raises(RuntimeError), noise.added():
        raise RuntimeError
    assert torch.equal(network.weight, clean), "also after an error"


def test_it_goes_with_one_network() -> None:
    with pytest.raises(ConfigError, match=r"train.weight_noise=0.1.*generator, discriminator"):
        WeightNoise(0.1, {"generator": nn.Linear(2, 2), "discriminator": nn.Linear(2, 2)})
    WeightNoise(0.0, {"generator": nn.Linear(2, 2), "discriminator": nn.Linear(2, 2)})


def test_an_update_is_that_of_the_noisy_gradient_from_the_clean_weights(tmp_path: Path) -> None:
    recipe = changed(optimizer={"name": "sgd"}, train={"steps": 1, "weight_noise": 0.2})
    made = assemble(Recipe.of(recipe))
    run = sd.train(recipe, run=tmp_path / "run")
    plain = sd.train(changed(optimizer={"name": "sgd"}, train={"steps": 1}), run=tmp_path / "plain")
    start, noisy, clean = made.model.state_dict(), weights(run), weights(plain)
    moved = sum((noisy[key] - start[key]).square().sum().item() for key in start) ** 0.5
    usual = sum((clean[key] - start[key]).square().sum().item() for key in start) ** 0.5
    assert usual / 3 < moved < usual * 3, "the noise itself (0.2 on each of 902 weights, norm 6) does not stay"
    assert any(not torch.equal(noisy[key], clean[key]) for key in start), "the gradient is another"


def test_accumulating_sees_one_noise(tmp_path: Path) -> None:
    ends = [
        weights(sd.train(changed(train={"weight_noise": 0.1, "accumulate": parts}), run=tmp_path / str(parts)))
        for parts in (1, 4)
    ]
    assert all(torch.allclose(ends[0][key], ends[1][key], atol=1e-5) for key in ends[0])


def test_a_killed_run_with_weight_noise_ends_the_same(tmp_path: Path) -> None:
    recipe = changed(train={"weight_noise": 0.05, "save_every": 3}, optimizer={"l1": 1e-4})
    whole = sd.train(recipe, run=tmp_path / "whole")
    with killed_after(5):
        sd.train(recipe, run=tmp_path / "killed")
    assert_same_end(whole, sd.resume(tmp_path / "killed"))

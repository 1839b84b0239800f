"""Every registered architecture, at the tiny size its class declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seodang.core.inputs import Facts, VectorInputs
from seodang.core.recipe import Choice
from seodang.models.base import Architecture, architectures
from seodang.models.bundle import WEIGHTS, BundleRecord, bundle_files, load_weights, read_tensors, ties
from seodang.models.gan import DCGAN
from seodang.models.vae import VAE

OURS = {
    name: architectures[name]
    for name in architectures.names()
    if architectures[name].maker.__module__.startswith("seodang.")
}
TINY = list({entry.maker: name for name, entry in reversed(OURS.items())}.values())
"""One name of each class: the sizes are data."""


def tiny(name: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    maker = OURS[name].maker
    assert issubclass(maker, Architecture)
    assert maker.example, f"{name}: its class declares no example"
    return architectures.make(Choice.of({"name": name, **maker.example}))


def inputs_of(model: Architecture, batch: int, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    config = model.config.values()
    if isinstance(model, DCGAN):
        return torch.randn(batch, config["latent_dim"])
    if "vocab_size" in config:
        return torch.randint(config["vocab_size"], (batch, config["max_len"]))
    if "in_features" in config:
        return torch.randn(batch, config["in_features"])
    size = config["image_size"]
    return torch.randn(batch, config["in_channels"], *(size if isinstance(size, tuple) else (size, size)))


def outputs_of(model: nn.Module, inputs: Tensor, seed: int = 0) -> list[Tensor]:
    torch.manual_seed(seed)
    output = model(inputs)
    return [output] if isinstance(output, Tensor) else [part for part in output if isinstance(part, Tensor)]


@pytest.mark.parametrize("name", TINY)
def test_finite_and_batch_first(name: str) -> None:
    model = tiny(name).eval()
    for batch in (1, 3):
        for output in outputs_of(model, inputs_of(model, batch)):
            assert output.isfinite().all()
            assert len(output) == batch


@pytest.mark.parametrize("name", TINY)
def test_no_buffer_keeps_a_graph(name: str) -> None:
    model = tiny(name).train()
    for _ in range(3):
        sum(output.float().sum() for output in outputs_of(model, inputs_of(model, 4))).backward()  # type: ignore[union-attr]
    assert not [path for path, buffer in model.named_buffers() if buffer.requires_grad or buffer.grad_fn]


@pytest.mark.parametrize("name", TINY)
def test_rows_of_a_batch_do_not_see_each_other(name: str) -> None:
    model = tiny(name).eval()
    inputs = inputs_of(model, 4)
    other = inputs.clone()
    other[1:] = inputs[1:].flip(0)
    if isinstance(model, VAE):  # it draws latents: one row at a time then draws others
        pairs = zip(model.encode(inputs), model.encode(other), strict=True)
    else:
        pairs = zip(outputs_of(model, inputs), outputs_of(model, other), strict=True)
    for one, two in pairs:
        torch.testing.assert_close(one[0], two[0])


@pytest.mark.parametrize("name", TINY)
def test_evaluation_repeats(name: str) -> None:
    model = tiny(name).eval()
    inputs = inputs_of(model, 3)
    for one, two in zip(outputs_of(model, inputs), outputs_of(model, inputs), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", TINY)
def test_same_seed_same_weights(name: str) -> None:
    one, two, other = tiny(name), tiny(name), tiny(name, seed=1)
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())
    changed = [not torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items()]
    assert any(changed) or name == "perceptron", "the seed decides nothing"


@pytest.mark.parametrize("name", TINY)
def test_weights_go_through_a_file_bit_exact(name: str) -> None:
    model, again = tiny(name), tiny(name, seed=1)
    facts = Facts(inputs=VectorInputs(size=1), sizes={})
    record = BundleRecord(model=Choice(name=name), task=Choice(name="classification"), facts=facts)
    files = bundle_files(model.state_dict(), ties(model), record)
    load_weights(again, read_tensors(files[WEIGHTS], Path("x")), "x")
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


@pytest.mark.parametrize("name", TINY)
def test_every_boolean_setting_matters(name: str) -> None:
    """An argument that is accepted and ignored would leave the weights' names and the outputs as they are."""
    model = tiny(name).eval()
    config = model.config.values()
    for field, value in config.items():
        if not isinstance(value, bool):
            continue
        other = architectures.make(Choice.of({"name": name, **OURS[name].maker.example, field: not value})).eval()
        if set(other.state_dict()) != set(model.state_dict()):
            continue
        shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
        if shapes != {key: tensor.shape for key, tensor in other.state_dict().items()}:
            continue
        if ties(other) != ties(model):
            continue
        other.load_state_dict(model.state_dict())
        same = [
            torch.equal(a, b)
            for a, b in zip(outputs_of(model, inputs_of(model, 2)), outputs_of(other, inputs_of(model, 2)), strict=True)
        ]
        assert not all(same), f"{field} changes nothing"


def test_nothing_forgotten() -> None:
    assert len(TINY) >= 7
    for name, entry in OURS.items():
        assert entry.maker.takes, f"{name}: which kinds of inputs does it take?"
        assert "Shapes:" in (entry.maker.__doc__ or ""), f"{name}: no Shapes: in its docstring"
        assert "Differs:" in (entry.maker.__doc__ or ""), f"{name}: no Differs: in its docstring"

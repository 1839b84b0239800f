"""Every shipped recipe, shrunk: it runs, resumes to the byte, its losses are sums, and every weight is reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import seodang as sd
from seodang.core.errors import DataError
from seodang.core.shipped import RECIPES, recipe_names
from seodang.data.dataset import Batch, map_tensors
from seodang.training.assemble import Assembly, assemble
from seodang.training.resolve import read_recipe
from tests.harness import assert_same_end, killed_after

SHRINK: dict[str, dict[str, Any]] = {
    "mnist": {"data.limit": 200},
    "fashion-mnist": {"data.limit": 200},
    "cifar10": {"data.limit": 200},
    "tinyshakespeare": {"data.context": 16, "model.num_layers": 1, "model.embed_dim": 16, "model.num_heads": 2},
    "cartpole": {"task.start": 32, "task.worlds": 4, "task.memory": 500, "data.valid": 2, "data.test": 2},
}
"""Data set → settings that make any recipe on it small. The rest of each recipe stays as shipped."""


def shrunk(name: str, **more: Any) -> sd.Recipe:
    recipe, _ = read_recipe(name)
    train = {"train.steps": 8, "train.evaluate_every": 4, "train.threads": 1, "train.log_every": 2}
    size = recipe.train.batch_size
    batch = {"train.batch_size": min(size, 16)} if isinstance(size, int) else {}
    return read_recipe(name, None, (), {**SHRINK.get(recipe.data.name, {}), **train, **batch, **more})[0]


def parts_of(name: str, **more: Any) -> Assembly:
    try:
        return assemble(shrunk(name, **more))
    except DataError as error:
        pytest.skip(f"the data is not here: {str(error).splitlines()[0][:120]}")


def first_batch(parts: Assembly) -> Batch:
    from seodang.training.devices import Devices
    from seodang.training.plan import make_loader

    parts.task.prepare(parts.model, 0)
    loader = make_loader(parts.recipe, parts.data, Devices(parts.recipe.train))
    return next(iter(parts.task.batches(parts.data, parts.model, loader, parts.recipe.train.batch_size)))


@pytest.mark.parametrize("name", recipe_names())
def test_runs_resumes_and_answers(name: str, tmp_path: Path) -> None:
    parts_of(name)
    recipe = shrunk(name)
    whole = sd.train(recipe, run=tmp_path / "whole")
    assert whole.result is not None
    assert whole.result["scores"], "a run without scores"
    monitored = tmp_path / "killed"
    with killed_after(6):
        sd.train(recipe, run=monitored)
    assert_same_end(whole, sd.resume(monitored))
    trained = whole.model().state_dict()
    for key, value in sd.model(whole).state_dict().items():
        assert torch.equal(value, trained[key])
    json.dumps(whole.result)
    assert (whole.path / "report.html").stat().st_size > 1000


@pytest.mark.parametrize("name", recipe_names())
def test_losses_are_sums(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the batch is twice the loss and twice the size: a stray mean cannot get in."""
    parts = parts_of(name)
    batch = first_batch(parts)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr(torch, "randn", lambda *shape, **kind: torch.zeros(*shape, **kind))
    twice = map_tensors(batch, lambda field: torch.cat([field, field]))
    parts.model.eval()
    assert 2 * float(parts.task.size(batch)) == float(parts.task.size(twice))
    with torch.no_grad():
        once, double = list(parts.task.losses(parts.model, batch)), list(parts.task.losses(parts.model, twice))
    for (network, loss), (same, doubled) in zip(once, double, strict=True):
        assert network == same
        assert doubled.item() == pytest.approx(2 * loss.item(), rel=1e-4), network


@pytest.mark.parametrize("name", recipe_names())
def test_the_gradient_reaches_every_weight(name: str) -> None:
    parts = parts_of(name)
    batch = first_batch(parts)
    parts.model.train()
    networks = parts.task.networks(parts.model)
    reached: set[int] = set()
    for network, loss in parts.task.losses(parts.model, batch):
        parts.model.zero_grad()
        loss.backward()
        reached |= {id(weight) for weight in networks[network].parameters() if weight.grad is not None}
    lost = [path for network in networks.values() for path, weight in network.named_parameters()
            if weight.requires_grad and id(weight) not in reached]  # fmt: skip
    assert not lost, lost


@pytest.mark.parametrize("name", recipe_names())
def test_one_batch_can_be_learned_by_heart(name: str) -> None:
    parts = parts_of(name, **{"data.augment": ()} if "augment" in read_recipe(name)[0].data.settings else {})
    if len(parts.task.networks(parts.model)) > 1:
        pytest.skip("networks that play against each other have no common loss to bring down")
    if name == "perceptron-xor":
        pytest.skip("the point of this one is that it cannot")
    batch = first_batch(parts)
    optimizer = torch.optim.Adam(parts.model.parameters(), lr=0.01)
    parts.model.train()
    history: list[float] = []
    for _ in range(150):
        optimizer.zero_grad()
        (_, loss), *_ = parts.task.losses(parts.model, batch)
        loss = loss / float(parts.task.size(batch))
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    least = min(history[-20:])
    assert least < 0.75 * history[0] or least < 1e-3, (history[0], least)


@pytest.mark.parametrize("name", recipe_names())
def test_the_header_says_how_to_run_it_and_what_was_measured(name: str) -> None:
    text = (RECIPES / f"{name}.toml").read_text()
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert any(f"seodang train {name}" in line for line in header)
    assert any(line.startswith("# Measured: ") and "not yet" not in line for line in header), header
    assert read_recipe(name)[0].expected is not None, "seodang check NAME --measure --write"


def test_every_task_has_a_recipe() -> None:
    from seodang.task.base import tasks

    used = {tasks[read_recipe(name)[0].task.name].maker for name in recipe_names()}
    used.add(tasks["multilabel"].maker)  # of one's own pictures only: see tests/task/test_multilabel.py
    ours = {tasks[name].maker for name in tasks.names() if tasks[name].maker.__module__.startswith("seodang.")}
    assert used == ours


def test_an_empty_mask_is_safe() -> None:
    """A batch of language in which nothing counts gives zero, not NaN."""
    from seodang.task.losses import cross_entropy

    logits = torch.randn(2, 3, 5, requires_grad=True)
    loss = cross_entropy(logits, torch.full((2, 3), -1))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()

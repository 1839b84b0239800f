"""The range test: sweeps as it says, stops when the loss breaks out, proposes with a reason, and leaves no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import seodang as sd
from seodang.core.errors import ConfigError
from seodang.core.recipe import Recipe
from seodang.training.rate_finder import DIVERGED, Found, centred, find_rate, propose, smooth, taken

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": {"name": "mlp", "hidden_sizes": [32]},
    "data": {"name": "digits"},
    "task": "classification",
    "optimizer": {"name": "adamw", "lr": 0.003},
    "train": {"epochs": 2.0, "batch_size": 64, "threads": 1},
}


def recipe(**changes: Any) -> Recipe:
    return Recipe.of({**RECIPE, **changes})


def test_rates_rise_by_one_factor_and_the_test_ends_when_the_loss_breaks_out() -> None:
    found = find_rate(recipe(), low=1e-5, high=100.0, steps=71)
    factor = (100.0 / 1e-5) ** (1 / 70)
    assert found.rates == pytest.approx([1e-5 * factor**step for step in range(len(found.rates))])
    assert found.diverged
    assert 40 < len(found.rates) < 71
    running = smooth(found.losses)
    assert running[-1] > DIVERGED * min(running)
    assert all(value <= DIVERGED * min(running[: place + 1]) for place, value in enumerate(running[:-1]))


def test_the_losses_are_those_of_training_at_these_rates() -> None:
    found = find_rate(recipe(optimizer={"name": "sgd", "lr": 0.1}), low=1e-4, high=1e-2, steps=20)
    from seodang.training.assemble import assemble
    from seodang.training.plan import make_loader

    class Alone:
        rank, world = 0, 1

    made = assemble(recipe())
    loader = make_loader(recipe(), made.data, Alone())  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(made.model.parameters())
    for rate, loss in zip(found.rates, found.losses, strict=True):
        inputs, labels, *_ = next(loader)  # type: ignore[arg-type]
        wanted = torch.nn.functional.cross_entropy(made.model(inputs), labels)
        assert loss == pytest.approx(wanted.item(), rel=1e-5)
        optimizer.zero_grad()
        wanted.backward()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()


def test_a_run_at_the_proposed_rate_learns_and_far_from_it_does_not(tmp_path: Path) -> None:
    proposal = find_rate(recipe()).proposal
    assert proposal is not None
    at = {factor: sd.train(RECIPE, run=tmp_path / str(factor), optimizer={"lr": proposal * factor}).scores["accuracy"]
          for factor in (1e-3, 1, 1e2)}  # fmt: skip
    assert at[1] > 0.93
    assert max(at[1e-3], at[1e2]) < at[1] - 0.1


def test_nothing_is_left_behind_and_the_world_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = find_rate(recipe(), steps=30)
    assert list(tmp_path.iterdir()) == []
    torch.rand(5)
    assert find_rate(recipe(), steps=30) == first


def test_it_works_with_every_length_and_whatever_the_recipe_watches() -> None:
    for train in ({"steps": 5}, {"minutes": 0.01}, {"epochs": 1.0, "patience": 1, "average": 0.9, "save_every": 1}):
        settings = {**train, "batch_size": 64, "threads": 1}
        assert len(find_rate(recipe(train=settings), high=1e-2, steps=20).rates) == 20


RATES = [1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0]


@pytest.mark.parametrize(
    ("smoothed", "diverged", "bottom", "reason"),
    [
        ([2.0, 1.9, 0.6, 0.5, 0.64, 3.0], True, (0.01, 1.0), "breaks out before 10"),
        ([2.0, 1.9, 0.6, 0.5, 0.66, 0.7], False, (0.01, 0.1), "rises after it"),
        ([2.0, 0.6, 1.9, 0.5, 3.0], True, (0.1, 0.1), "breaks out before 1"),
        ([2.0, 1.5, 1.0, 0.9, 0.8, 0.5], False, None, "still falling at the largest rate"),
        ([2.0, 1.99, 2.5, 2.5, 2.5, 2.5], False, None, "never fell by more than 2%"),
        ([-2.0, -2.5, 3.0], True, (1e-3, 1e-3), "breaks out before"),
        ([], True, None, "no finite loss even at the smallest rate"),
    ],
)
def test_one_proposal_with_its_reason(
    smoothed: list[float], diverged: bool, bottom: tuple[float, float] | None, reason: str
) -> None:
    found, why = propose(RATES[: len(smoothed)], smoothed, diverged)
    assert found == bottom
    assert reason in why
    if bottom:
        assert f"the middle, {taken(bottom):.2g}," in why
        assert (
            f"the lower end, {bottom[0]:.2g}," in propose(RATES[: len(smoothed)], smoothed, diverged, constant=True)[1]
        )


def test_the_middle_is_that_of_the_logarithms() -> None:
    assert taken((0.01, 1.0)) == 0.1
    assert taken((0.02, 0.03)) == 0.024
    assert taken((0.02, 0.03), constant=True) == 0.02


def test_a_rate_that_comes_down_may_be_larger() -> None:
    cosine = find_rate(recipe(optimizer={"name": "adamw", "lr": 0.003, "schedule": "cosine"}))
    constant = find_rate(recipe())
    assert cosine.bottom == constant.bottom
    assert constant.proposal is not None and cosine.proposal is not None
    assert constant.proposal == pytest.approx(constant.bottom[0], rel=0.05)  # type: ignore[index]
    assert cosine.proposal > 1.5 * constant.proposal


def test_the_curve_does_not_lag_and_an_outbreak_does_not_leak() -> None:
    rates = [10 ** (step / 20 - 5) for step in range(121)]
    losses = [1 + abs(step - 60) / 60 for step in range(121)]  # a valley whose floor is at 0.01
    valley = centred(rates, losses)
    assert rates[min(range(121), key=valley.__getitem__)] == pytest.approx(0.01)
    burst = [*losses[:80], *[1e9] * 41]
    assert centred(rates, burst)[:62] == pytest.approx(valley[:62], abs=1e-3)


def test_the_proposal_hardly_depends_on_seed_and_length_of_the_test() -> None:
    found = [find_rate(recipe(seed=seed), steps=steps).proposal for seed, steps in ((0, 60), (0, 120), (1, 120))]
    assert all(proposal is not None for proposal in found)
    assert max(found) <= 2.5 * min(found)  # type: ignore[type-var, operator]


def test_from_python(tmp_path: Path) -> None:
    found = sd.find_lr(RECIPE, low=1e-4, steps=40, seed=1, optimizer={"name": "sgd"})
    assert isinstance(found, Found)
    assert found == find_rate(recipe(seed=1, optimizer={"name": "sgd", "lr": 0.003}), low=1e-4, steps=40)


def test_smoothing_starts_without_bias() -> None:
    assert smooth([3.0] * 5) == pytest.approx([3.0] * 5)
    assert smooth([1.0, 0.0], keep=0.5) == pytest.approx([1.0, 1 / 3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"optimizer": {"name": "sgd", "momentun": 0.9}}, "optimizer.momentun: is not a setting here"),
     ({"model": "dcgan", "task": "gan"}, "task.name=gan: a range test reads the rate from one loss"),
     ({"model": "qnet", "data": {"name": "cartpole"}, "task": "dqn"}, "task.name=dqn: a range test")],
)  # fmt: skip
def test_what_has_no_one_loss_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_rate(recipe(**changes))


def test_rates_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ConfigError, match="they do not"):
        find_rate(recipe(), low=0.1, high=0.01)

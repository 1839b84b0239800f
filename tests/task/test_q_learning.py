"""Deep Q-learning: targets by hand, exploration, the target network, what it learns, exact resume."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import seodang as sd
from seodang.api import open_bundle
from seodang.core.errors import ConfigError, DataError
from seodang.core.inputs import Facts, WorldInputs
from seodang.data.replay import TransitionBatch
from seodang.models.qnet import QNet, QNetConfig
from seodang.task.episode import film_episode
from seodang.task.q_learning import Acting, QLearning, QLearningConfig
from tests.harness import assert_resume_is_exact
from tests.worlds import register

register()
INPUTS = WorldInputs(environment="CartPole-v1", size=2, num_actions=2)
FACTS = Facts(inputs=INPUTS, sizes={"valid": 2})
RECIPE: dict[str, Any] = {
    "name": "small-dqn",
    "model": {"name": "qnet", "hidden_sizes": [16]},
    "data": {"name": "cartpole", "valid": 3, "test": 4},
    "task": {"name": "double-dqn", "worlds": 3, "start": 30, "play_steps": 12, "updates": 4, "explore_steps": 90,
             "target_every": 7, "memory": 50},
    "optimizer": {"name": "adam", "lr": 0.001, "schedule": "linear"},
    "train": {"steps": 45, "batch_size": 16, "log_every": 4, "evaluate_every": 9, "threads": 1},
}  # fmt: skip


class Table(nn.Module):
    """Values that are the observation itself, times a number."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, observations: Tensor) -> Tensor:
        return observations * self.scale


def agent(online: nn.Module, target: nn.Module | None = None, **settings: Any) -> QLearning:
    task = QLearning(QLearningConfig.of(settings), FACTS)
    task.prepare(online, 0)
    if target is not None:
        task.target = target
    return task


BATCH = TransitionBatch(
    observations=torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    actions=torch.tensor([0, 1, 0]),
    rewards=torch.tensor([1.0, 1.0, 1.0]),
    next_observations=torch.tensor([[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]]),
    ended=torch.tensor([0.0, 1.0, 0.0]),
)


def test_targets_by_hand() -> None:
    """r + γ max Q̂(s', ·), and r alone after the end; the target network has half the values."""
    wanted = agent(Table(1.0), Table(0.5), gamma=0.9).wanted(Table(1.0), BATCH)
    torch.testing.assert_close(wanted, torch.tensor([1 + 0.9 * 10, 1.0, 1 + 0.9 * 30]))


def test_double_chooses_by_the_network_and_values_by_the_target() -> None:
    """A negative network likes the smaller number best; the target network values that one."""
    online, target = Table(-1.0), Table(0.5)
    torch.testing.assert_close(
        agent(online, target, gamma=0.9, double=True).wanted(online, BATCH),
        torch.tensor([1 + 0.9 * 5, 1.0, 1 + 0.9 * 25]),
    )


def test_rewards_are_scaled_for_learning_only() -> None:
    wanted = agent(Table(1.0), Table(0.5), gamma=0.9, reward_scale=0.01).wanted(Table(1.0), BATCH)
    torch.testing.assert_close(wanted, torch.tensor([0.01 + 9, 0.01, 0.01 + 27]))


@pytest.mark.parametrize("kind", ["huber", "squared"])
def test_losses_by_hand(kind: str) -> None:
    online = Table(1.0)
    [(name, loss)] = agent(online, Table(0.5), gamma=0.9, loss=kind).losses(online, BATCH)
    errors = torch.tensor([1.0 - 10.0, 4.0 - 1.0, 5.0 - 28.0])
    each = errors.square() if kind == "squared" else errors.abs() - 0.5
    assert name == "model"
    torch.testing.assert_close(loss, each.sum())
    (gradient,) = torch.autograd.grad(loss, online.scale)
    slope = 2 * errors if kind == "squared" else errors.sign()
    torch.testing.assert_close(gradient, (slope * torch.tensor([1.0, 4.0, 5.0])).sum())


def test_no_gradient_flows_through_the_target() -> None:
    """Not even where the target is the network itself."""
    online = Table(1.0)
    [(_, loss)] = agent(online, online, gamma=0.9, loss="squared").losses(online, BATCH)
    (gradient,) = torch.autograd.grad(loss, online.scale)
    errors = torch.tensor([1.0 - 19.0, 4.0 - 1.0, 5.0 - 55.0])
    torch.testing.assert_close(gradient, (2 * errors * torch.tensor([1.0, 4.0, 5.0])).sum())


def test_losses_are_sums() -> None:
    online = Table(1.0)
    task = agent(online, Table(0.5), double=True)
    twice = TransitionBatch(*(torch.cat([field, field]) for field in BATCH))
    [(_, once)], [(_, doubled)] = task.losses(online, BATCH), task.losses(online, twice)
    torch.testing.assert_close(doubled, 2 * once)


def test_the_target_network_is_copied_at_its_time() -> None:
    online = Table(1.0)
    task = agent(online, target_every=3)
    online.scale.data.fill_(2.0)
    for step, scale in ((1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)):
        task.after_step(online, step)
        assert task.target.scale.item() == scale
    assert not task.target.scale.requires_grad


def test_the_target_network_can_follow_slowly() -> None:
    online = Table(1.0)
    task = agent(online, target_every=1, target_share=0.1)
    online.scale.data.fill_(2.0)
    task.after_step(online, 1)
    task.after_step(online, 2)
    assert task.target.scale.item() == pytest.approx(1.19)


# ---------------------------------------------------------------------------------------------- acting


def acting(**settings: Any) -> Acting:
    facts = {"environment": "CartPole-v1", "size": 4, "num_actions": 2}
    return Acting(QNet(QNetConfig()), QLearningConfig.of(settings), WorldInputs.of(facts), 8, 0)


def test_exploration_is_a_function_of_the_environment_steps() -> None:
    stream = acting(explore_from=1.0, explore_to=0.1, explore_steps=100, worlds=4)
    chances = []
    for stream.steps in (0, 50, 100, 1000):
        chances.append(stream.epsilon())
    assert chances == pytest.approx([1.0, 0.55, 0.1, 0.1])


@pytest.mark.parametrize(("epsilon", "share"), [(1.0, 0.5), (0.0, 1.0), (0.5, 0.75)])
def test_actions_are_greedy_but_for_chance(epsilon: float, share: float) -> None:
    stream = acting(explore_from=epsilon, explore_to=epsilon, worlds=4)
    stream.choose = lambda observations: torch.ones(len(observations), dtype=torch.int64)
    stream.act(800)
    taken = stream.replay.fields.actions[: len(stream.replay)]
    assert len(taken) == 800
    assert taken.float().mean().item() == pytest.approx(share, abs=0.06)


def test_steps_and_updates_take_turns() -> None:
    """`start` steps first, then `play_steps` more after every `updates` batches; worlds step together."""
    stream = acting(worlds=3, start=31, play_steps=5, updates=2)
    counted = [(next(stream), stream.steps)[1] for _ in range(6)]
    assert counted == [33, 33, 39, 39, 45, 45]


def test_what_cannot_be_done(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.batch_size=all: give the transitions of an update as a number"):
        sd.train(RECIPE, run=tmp_path / "all", train={"batch_size": "all"})
    with pytest.raises(ConfigError, match=r"task\.memory=10 is less than task\.start=30 or task\.worlds=3"):
        sd.train(RECIPE, run=tmp_path / "little", task={"memory": 10})


# ------------------------------------------------------------------------------------------------- run


@pytest.mark.parametrize("task", ["dqn", "double-dqn"])
def test_the_corridor_is_solved_with_the_right_values(tmp_path: Path, task: str) -> None:
    """The best value k steps from the end is γ^(k-1); the way there, from any place, is to the right."""
    recipe = {
        **RECIPE,
        "model": {"name": "qnet", "hidden_sizes": [32]},
        "data": {"name": "gymnasium", "environment": "Corridor-v0", "valid": 5, "test": 5},
        "task": {"name": task, "gamma": 0.8, "worlds": 4, "start": 200, "explore_to": 0.5, "explore_steps": 200,
                 "target_every": 20, "play_steps": 4, "updates": 2},
        "optimizer": {"name": "adam", "lr": 0.005},
        "train": {"steps": 500, "batch_size": 32, "evaluate_every": 0, "threads": 1},
    }  # fmt: skip
    run = sd.train(recipe, run=tmp_path / "run")
    assert run.scores["return"] == 1.0
    assert run.scores["length"] <= 4
    with torch.no_grad():
        values = run.model()(torch.eye(5)[:4])
    torch.testing.assert_close(values[:, 1], 0.8 ** torch.tensor([3.0, 2.0, 1.0, 0.0]), atol=0.06, rtol=0)
    torch.testing.assert_close(values[1:, 0], 0.8 ** torch.tensor([4.0, 3.0, 2.0]), atol=0.06, rtol=0)


def test_a_run(tmp_path: Path) -> None:
    run = sd.train(RECIPE, run=tmp_path / "run")
    assert run.scores["environment_steps"] == 30 + 11 * 12
    assert run.scores["return"] == run.scores["length"] > 0
    [answer] = sd.predict(run, "7")
    assert answer.text == f"Return {answer.values['return']:g} in {answer.values['length']} steps (episode seed 7)."
    assert sd.predict(run)[0].values["seed"] == 2_000_000
    with pytest.raises(DataError, match="'seven': give the seed of the episode to play"):
        sd.predict(run, "seven")
    scores = sd.evaluate(run)
    assert scores["return"] == run.scores["return"]
    bundle, task = open_bundle(run)
    [film] = task.pictures(bundle.model, None)
    assert film.kind == "film"
    assert film.title == "An episode of CartPole-v1"
    assert film.images.shape[1:] == (3, 200, 360)
    assert f"Return {sd.predict(run)[0].values['return']:g} in " in film.about


def test_a_dense_network_can_be_the_agent(tmp_path: Path) -> None:
    run = sd.train(RECIPE, run=tmp_path / "run", train={"steps": 5}, **{"model.name": "mlp"})
    assert run.model()(torch.zeros(1, 4)).shape == (1, 2)


def test_resume_is_exact(tmp_path: Path) -> None:
    """Killed between two turns of acting, with the ring overwritten and the target between two copies."""
    assert_resume_is_exact(RECIPE, tmp_path, 23)


@pytest.mark.parametrize("part", ["worlds", "replay", "steps"])
def test_a_stream_that_is_not_restored_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    restore = Acting.restore

    def forgetful(self: Acting, state: dict[str, Any]) -> None:
        restore(self, {**state, part: copy.deepcopy(self.state()[part])})

    monkeypatch.setattr(Acting, "restore", forgetful)
    with pytest.raises((AssertionError, RuntimeError)):
        assert_resume_is_exact(RECIPE, tmp_path, 23)


# ------------------------------------------------------------------------------------------------ film


def values_of(*numbers: float) -> Any:
    return lambda observations: torch.tensor([numbers]).expand(len(observations), -1)


def test_a_film_ends_with_the_last_state_and_shows_the_choice() -> None:
    film = film_episode("CartPole-v1", values_of(0.0, 1.0), seed=3, every=4)
    steps = int(film.about.split(" in ")[1].split()[0])
    assert len(film.images) == -(-steps // 4) + 1
    frame = film.images[0].permute(1, 2, 0)
    green, grey = torch.tensor([47, 140, 93]), torch.tensor([216, 216, 216])
    bars = frame[:, 248:352]
    assert (bars == green).all(-1).any(0).nonzero().min() > (bars == grey).all(-1).any(0).nonzero().max()
    assert not torch.equal(film.images[0], film.images[-1])


def test_a_world_that_can_draw_itself_does() -> None:
    film = film_episode("Drawn-v0", values_of(0.0, 1.0), seed=0)
    assert (film.images[0] == 200).all(0).sum() >= 240 * 55
    assert "numbers the agent sees" not in film.about


def test_a_world_that_cannot_is_shown_as_numbers_and_says_why() -> None:
    film = film_episode("Corridor-v0", values_of(0.0, 1.0), seed=0)
    assert "The world cannot draw itself here (" in film.about
    Image.fromarray(film.images[0].permute(1, 2, 0).numpy())

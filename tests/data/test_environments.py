"""Worlds: seeds that never meet, exact return to a state, the end of time, what cannot be played; the replay ring."""

from __future__ import annotations

import json
import sys

import gymnasium
import numpy as np
import pytest
import torch

from seodang.core.errors import DataError, MissingExtra, RunError, UnknownName
from seodang.core.inputs import WorldInputs
from seodang.core.recipe import Choice
from seodang.data.dataset import datasets, in_order
from seodang.data.environments import (
    LAST_SEED,
    TEST_SEEDS,
    TRAIN_SEEDS,
    VALID_SEEDS,
    SideBySide,
    make_world,
    play,
)
from seodang.data.replay import Replay, TransitionBatch
from tests.worlds import register

register()


def test_facts_and_splits() -> None:
    data = datasets.make(Choice(name="cartpole"), None, 0)
    data.prepare()
    assert data.facts.inputs == WorldInputs(environment="CartPole-v1", size=4, num_actions=2)
    assert data.facts.known()["num_actions"] == data.facts.known()["out_features"] == 2
    assert data.facts.sizes == {"valid": 20, "test": 100}
    seeds = {name: torch.cat([part[0] for part in in_order(data.split(name), 7)]).tolist() for name in data.facts.sizes}
    assert seeds["valid"] == list(range(VALID_SEEDS, VALID_SEEDS + 20))
    assert seeds["test"] == list(range(TEST_SEEDS, TEST_SEEDS + 100))


def test_training_seeds_are_of_no_other_split() -> None:
    assert VALID_SEEDS + 1_000_000 <= TEST_SEEDS
    assert TEST_SEEDS + 1_000_000 <= TRAIN_SEEDS
    worlds, seen = SideBySide("CartPole-v1", 3, seed=1), set()
    for _ in range(100):
        seen |= set(worlds.seeds)
        worlds.step([0, 0, 0])  # falls within a dozen steps, so that many episodes begin
    assert len(seen) > 20
    assert all(TRAIN_SEEDS <= seed < LAST_SEED for seed in seen)
    assert SideBySide("CartPole-v1", 3, seed=2).seeds != SideBySide("CartPole-v1", 3, seed=1).seeds


def test_side_by_side_is_what_gymnasium_does() -> None:
    worlds = SideBySide("CartPole-v1", 2, seed=0)
    world = gymnasium.make("CartPole-v1")
    observation, _ = world.reset(seed=worlds.seeds[1])
    for step in range(8):
        action = step % 2
        batch = worlds.step([0, action])
        np.testing.assert_array_equal(batch.observations[1], observation)
        observation, reward, *_ = world.step(action)
        np.testing.assert_array_equal(batch.next_observations[1], observation)
        assert (batch.actions.tolist(), batch.rewards[1].item()) == ([0, action], reward)


def test_a_fall_has_no_future_and_running_out_of_time_has() -> None:
    worlds = SideBySide("CartPole-v1", 1, seed=0)
    seed = worlds.seeds[0]
    batches = []
    while worlds.seeds[0] == seed:
        batches.append(worlds.step([0]))
    assert [batch.ended.item() for batch in batches] == [0.0] * (len(batches) - 1) + [1.0]
    assert abs(batches[-1].next_observations[0, 2]) > 0.2, "the state after the fall, not the first of the next episode"
    assert not torch.equal(batches[-1].next_observations, worlds.observations)

    worlds = SideBySide("Corridor-v0", 1, seed=0)
    seed = worlds.seeds[0]
    batches = []
    while worlds.seeds[0] == seed:
        batches.append(worlds.step([0]))  # for ever at the left end, until the 20 steps are over
    assert len(batches) == 20
    assert not any(batch.ended.item() for batch in batches)


def test_worlds_return_to_their_state() -> None:
    torch.manual_seed(0)
    actions = torch.randint(2, (60, 3)).tolist()
    first = SideBySide("CartPole-v1", 3, seed=4)
    for each in actions[:30]:
        first.step(each)
    state = first.state()
    second = SideBySide("CartPole-v1", 3, seed=4)
    second.restore(state)
    assert (second.begun, second.seeds, second.actions) == (first.begun, first.seeds, first.actions)
    for each in actions[30:]:
        for one, two in zip(first.step(each), second.step(each), strict=True):
            assert torch.equal(one, two)


def test_a_world_that_is_not_repeatable_is_refused() -> None:
    state = SideBySide("Restless-v0", 1, seed=0).state()
    with pytest.raises(RunError, match="Restless-v0: the same seed and actions do not lead to the same state"):
        SideBySide("Restless-v0", 1, seed=0).restore(state)


def test_episodes_played_together_are_those_played_alone() -> None:
    def choose(observations: torch.Tensor) -> torch.Tensor:
        return (observations[:, 2] + observations[:, 3] > 0).long()

    together, lengths = play("CartPole-v1", range(5), choose)
    alone = [play("CartPole-v1", [seed], choose)[0].item() for seed in range(5)]
    assert together.tolist() == alone == lengths.tolist()
    assert len(set(alone)) > 1


def test_discrete_observations_become_vectors() -> None:
    assert make_world("Corridor-v0").observation_space.shape == (5,)
    observations = SideBySide("Corridor-v0", 2, seed=0).observations
    assert observations.dtype == torch.float32
    assert observations.sum(1).tolist() == [1.0, 1.0]


def test_what_cannot_be_played(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UnknownName, match=r"no Gymnasium environment called 'CartPole-v9'\. Did you mean 'CartPole-v1'"
    ):
        make_world("CartPole-v9")
    with pytest.raises(DataError, match=r"Pendulum-v1: its actions are Box\(-2.0, 2.0, \(1,\), float32\); an agent"):
        make_world("Pendulum-v1")
    with pytest.raises(DataError, match="a module before ':' is not imported"):
        make_world("antigravity:CartPole-v1")
    assert "antigravity" not in sys.modules
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingExtra, match=r"needs the package 'gymnasium'.*pip install 'seodang\[rl\]'"):
        make_world("CartPole-v1")


# ---------------------------------------------------------------------------------------------- replay


def transitions(*numbers: int) -> TransitionBatch:
    values = torch.tensor(numbers)
    return TransitionBatch(values[:, None].float(), values, values.float(), values[:, None] + 0.5, (values % 2).float())


def test_the_ring_keeps_the_newest() -> None:
    replay = Replay(5, 1)
    replay.add(transitions(0, 1, 2))
    assert len(replay) == 3
    assert set(replay.sample(200).actions.tolist()) == {0, 1, 2}
    replay.add(transitions(3, 4, 5, 6))
    assert len(replay) == 5
    drawn = replay.sample(500)
    assert set(drawn.actions.tolist()) == {2, 3, 4, 5, 6}
    torch.testing.assert_close(drawn.next_observations[:, 0], drawn.actions + 0.5)
    assert torch.equal(drawn.ended, (drawn.actions % 2).float())


def test_the_ring_survives_a_save() -> None:
    first, second = Replay(5, 1), Replay(5, 1)
    first.add(transitions(0, 1, 2, 3))
    state = first.state()
    assert json.dumps({key: state[key] for key in ("position", "filled")})
    assert all(len(field) == 4 for field in state["fields"]), "only what is filled is stored"
    second.restore(state)
    for replay in (first, second):
        replay.add(transitions(7, 8))
    for one, two in zip(first.fields, second.fields, strict=True):
        assert torch.equal(one, two)

"""Gymnasium worlds: a dataset whose examples are episodes, and worlds played side by side that resume exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from seodang.core.config import Config
from seodang.core.errors import DataError, MissingExtra, RunError, UnknownName, nearest
from seodang.core.inputs import Facts, WorldInputs
from seodang.core.language import say
from seodang.data.dataset import Dataset, Examples, MemoryExamples, datasets, generator
from seodang.data.replay import TransitionBatch

VALID_SEEDS, TEST_SEEDS, TRAIN_SEEDS, LAST_SEED = 1_000_000, 2_000_000, 10_000_000, 2**31 - 1
"""Where the episode seeds of each split begin: no episode of training is one of evaluation."""


class EpisodeBatch(NamedTuple):
    """`seeds` (B,) of episodes to play."""

    seeds: Tensor


class GymnasiumConfig(Config):
    """Which world, and how many episodes measure an agent."""

    environment: str = "CartPole-v1"
    """Name of a registered Gymnasium environment with a few discrete actions."""
    valid: int = Field(20, gt=0, le=1_000_000)
    """Episodes that choose the best checkpoint."""
    test: int = Field(100, gt=0, le=1_000_000)
    """Episodes of the final score."""


@datasets.register({"gymnasium": GymnasiumConfig(), "cartpole": GymnasiumConfig()})
class GymnasiumWorld(Dataset):
    """Episodes of a Gymnasium world; CartPole-v1 unless another is named.

    Valid and test are fixed lists of episode seeds; training episodes are played on the way, from other seeds.

    Source: Towers et al. 2024, "Gymnasium: a standard interface for reinforcement learning environments",
    arXiv:2407.17032; CartPole: Barto, Sutton & Anderson 1983, IEEE Transactions SMC-13(5).
    Units: a return is the undiscounted sum of an episode's rewards.
    """

    kinds: ClassVar[tuple[str, ...]] = ("dqn", "double-dqn")
    settings: GymnasiumConfig

    def prepare(self) -> None:
        name = self.settings.environment
        world = make_world(name)
        import gymnasium  # lazy: 0.1 s

        size, actions = world.observation_space.shape[0], int(world.action_space.n)
        world.close()
        self.facts = Facts(
            inputs=WorldInputs(environment=name, size=size, num_actions=actions),
            sizes={"valid": self.settings.valid, "test": self.settings.test},
            licence="MIT",
            source=f"Gymnasium {gymnasium.__version__}, {name}",
            notes=(say("Episode seeds: valid from {valid}, test from {test}, training from {train} on.",
                       valid=VALID_SEEDS, test=TEST_SEEDS, train=TRAIN_SEEDS),),
            digest=f"{name}, gymnasium {gymnasium.__version__}, numpy {np.__version__}",
        )  # fmt: skip

    def split(self, name: str) -> Examples:
        first, count = {"valid": (VALID_SEEDS, self.settings.valid), "test": (TEST_SEEDS, self.settings.test)}[name]
        return MemoryExamples(EpisodeBatch, torch.arange(first, first + count))


def make_world(environment: str, render: bool = False) -> Any:
    """Return a Gymnasium environment that gives a vector of numbers and takes a whole number.

    With `render`, one that draws itself as pixels, where it can.

    Raises: MissingExtra, UnknownName, DataError if it has other actions or lacks something it needs.
    """
    try:
        import gymnasium  # lazy: 0.1 s
    except ImportError:
        raise MissingExtra("gymnasium", "rl") from None
    if ":" in environment:  # Gymnasium would import the module before the colon: nothing in a recipe or bundle may
        raise DataError("data.environment={name}: write the name only; a module before ':' is not imported. Register "
                        "your own environment in a plug-in (--plugin).", name=environment)  # fmt: skip
    try:
        world = _made(gymnasium, environment, render)
    except gymnasium.error.DependencyNotInstalled as error:
        raise DataError("{name}: cannot be played here: {reason}", name=environment, reason=error) from None
    except gymnasium.error.Error:
        raise UnknownName("There is no Gymnasium environment called '{name}'.{suggestion}",
                          name=environment, suggestion=nearest(environment, gymnasium.registry)) from None  # fmt: skip
    if not isinstance(world.action_space, gymnasium.spaces.Discrete) or world.action_space.start != 0:
        raise DataError("{name}: its actions are {space}; an agent of this kind chooses among a few numbered from 0.",
                        name=environment, space=world.action_space)  # fmt: skip
    if not isinstance(world.observation_space, gymnasium.spaces.Box) or len(world.observation_space.shape) != 1:
        world = gymnasium.wrappers.FlattenObservation(world)
    return world


def _made(gymnasium: Any, environment: str, render: bool) -> Any:
    world = gymnasium.make(environment, disable_env_checker=True)
    if render and "rgb_array" in world.metadata.get("render_modes", ()):
        world.close()
        return gymnasium.make(environment, render_mode="rgb_array", disable_env_checker=True)
    return world


Choose = Callable[[Tensor], Tensor]
"""From observations (B, D) to actions (B,)."""


def play(environment: str, seeds: Sequence[int], choose: Choose) -> tuple[Tensor, Tensor]:
    """Play one episode for each seed, all side by side, one call of `choose` a step; return their returns and lengths."""
    worlds = [make_world(environment) for _ in seeds]
    observations = np.stack([world.reset(seed=seed)[0] for world, seed in zip(worlds, seeds, strict=True)])
    returns, lengths = torch.zeros(len(worlds), dtype=torch.float64), torch.zeros(len(worlds), dtype=torch.int64)
    playing = list(range(len(worlds)))
    while playing:
        actions = choose(torch.from_numpy(observations[playing]).float()).tolist()
        still = []
        for index, action in zip(playing, actions, strict=True):
            observations[index], reward, terminated, truncated, _ = worlds[index].step(action)
            returns[index] += float(reward)
            lengths[index] += 1
            if not (terminated or truncated):
                still.append(index)
        playing = still
    for world in worlds:
        world.close()
    return returns, lengths


class SideBySide:
    """Worlds played in step for training; where an episode ends, the next begins.

    The seeds of episodes follow from (seed, how many were begun). A state is those seeds and the actions taken
    since: `restore` plays them again, and refuses a world that does not come out at the same observation.
    """

    def __init__(self, environment: str, count: int, seed: int) -> None:
        self.environment, self.seed = environment, seed
        self.worlds = [make_world(environment) for _ in range(count)]
        self.begun = 0
        self.seeds = [0] * count
        self.actions: list[list[int]] = [[] for _ in range(count)]
        self.observations = torch.stack([self._begin(index) for index in range(count)])

    def __len__(self) -> int:
        return len(self.worlds)

    def _begin(self, index: int) -> Tensor:
        chance = generator(self.seed, "episode", self.begun)
        self.begun += 1
        self.seeds[index] = int(torch.randint(TRAIN_SEEDS, LAST_SEED, (), generator=chance))
        self.actions[index] = []
        return as_tensor(self.worlds[index].reset(seed=self.seeds[index])[0])

    def step(self, actions: Sequence[int]) -> TransitionBatch:
        """Take one action in each world; return what happened.

        `ended` is 1 only where the episode came to an end of its own: where it ran out of time, the state after it
        still has a future, and its value counts (Pardo et al. 2018, arXiv:1712.00378).
        """
        before = self.observations
        after, now, rewards, ended = [], [], [], []
        for index, action in enumerate(actions):
            observation, reward, terminated, truncated, _ = self.worlds[index].step(action)
            self.actions[index].append(action)
            after.append(as_tensor(observation))
            rewards.append(float(reward))
            ended.append(float(terminated))
            now.append(self._begin(index) if terminated or truncated else after[-1])
        self.observations = torch.stack(now)
        return TransitionBatch(before, torch.tensor(actions), torch.tensor(rewards), torch.stack(after),
                               torch.tensor(ended))  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {
            "begun": self.begun,
            "seeds": list(self.seeds),
            "actions": [torch.tensor(taken, dtype=torch.int64) for taken in self.actions],
            "observations": self.observations,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`.

        Raises: RunError if the world is not the same for the same seed and actions.
        """
        self.begun, self.seeds = state["begun"], list(state["seeds"])
        self.actions = [taken.tolist() for taken in state["actions"]]
        found = []
        for world, seed, actions in zip(self.worlds, self.seeds, self.actions, strict=True):
            observation, _ = world.reset(seed=seed)
            for action in actions:
                observation = world.step(action)[0]
            found.append(as_tensor(observation))
        self.observations = torch.stack(found)
        if not torch.equal(self.observations, state["observations"]):
            raise RunError("{name}: the same seed and actions do not lead to the same state, so this run cannot go on as "
                           "if it had never stopped.", name=self.environment)  # fmt: skip


def as_tensor(observation: Any) -> Tensor:
    return torch.tensor(np.asarray(observation), dtype=torch.float32)

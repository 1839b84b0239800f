"""Deep Q-learning: an agent that acts in a world, remembers, and learns the value of each action."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from seodang.core.config import Config
from seodang.core.errors import ConfigError, DataError
from seodang.core.inputs import Facts, WorldInputs
from seodang.core.language import say
from seodang.data.dataset import Batch, Dataset, Given, Loader
from seodang.data.environments import LAST_SEED, TEST_SEEDS, SideBySide, play
from seodang.data.replay import Replay, TransitionBatch
from seodang.task.base import Prediction, Tally, Task, tasks
from seodang.task.episode import film_episode
from seodang.task.pictures import Picture


class QLearningConfig(Config):
    """How the agent explores, remembers and learns."""

    gamma: float = Field(0.99, ge=0, le=1)
    """Worth of a reward one step later."""
    double: bool = False
    """Choose the next action by the network and value it by the target network, not both by the latter."""
    loss: Literal["huber", "squared"] = "huber"
    """Error of a value: squared, or squared up to 1 and linear beyond."""
    reward_scale: float = Field(1.0, gt=0)
    """Rewards are multiplied by this before learning; scores are of the true rewards."""
    worlds: int = Field(1, gt=0, le=1024)
    """Worlds the agent acts in side by side."""
    memory: int = Field(100_000, gt=0)
    """Newest transitions kept to learn from."""
    start: int = Field(1_000, gt=0)
    """Environment steps, over all worlds, before the first update."""
    play_steps: int = Field(4, gt=0)
    """Environment steps, over all worlds, each time the agent acts."""
    updates: int = Field(1, gt=0)
    """Updates each time the agent has acted."""
    explore_from: float = Field(1.0, ge=0, le=1)
    """Chance of a random action at the first environment step."""
    explore_to: float = Field(0.05, ge=0, le=1)
    """Chance of a random action from `explore_steps` on."""
    explore_steps: int = Field(10_000, ge=0)
    """Environment steps over which that chance falls, on a straight line."""
    target_every: int = Field(500, gt=0)
    """Updates between two renewals of the target network."""
    target_share: float = Field(1.0, gt=0, le=1)
    """How far the target network then moves to the network: 1 copies it."""


@tasks.register({"dqn": QLearningConfig(), "double-dqn": QLearningConfig(double=True)})
class QLearning(Task):
    r"""Learn to act: the value of each action by temporal differences from replayed experience.

    For a transition $(s, a, r, s')$ the network's $Q(s, a)$ moves to $r + γ \max_{a'} \hat Q(s', a')$ of the target
    network, or with `double` to $r + γ \hat Q(s', \arg\max_{a'} Q(s', a'))$; to $r$ alone where the episode ended of
    its own. The agent acts ε-greedily.

    Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning", Nature 518, algorithm 1;
    double: van Hasselt, Guez & Silver 2016, arXiv:1509.06461, eq. 4; moving target: Lillicrap et al. 2016,
    arXiv:1509.02971, algorithm 1.
    Units: `return` is the mean undiscounted reward of an episode, played greedily; `environment_steps` counts every
    step the agent has acted and learned from in this run.
    Differs: several worlds may be played side by side; no frame stacking, no clipping of rewards; the paper's clipped
    error is the Huber loss; scores are of greedy play, where the paper keeps ε = 0.05.
    """

    takes: ClassVar[tuple[str, ...]] = ("world",)
    monitor: ClassVar[tuple[str, str]] = ("return", "max")
    counts: ClassVar[str] = "transitions"
    settings: QLearningConfig

    def __init__(self, settings: QLearningConfig, facts: Facts) -> None:
        super().__init__(settings, facts)
        assert isinstance(facts.inputs, WorldInputs)
        self.inputs = facts.inputs
        self.acting: Acting | None = None
        if settings.memory < max(settings.start, settings.worlds):
            raise ConfigError("task.memory={memory} is less than task.start={start} or task.worlds={worlds}.",
                              memory=settings.memory, start=settings.start, worlds=settings.worlds)  # fmt: skip

    def prepare(self, model: nn.Module, seed: int) -> None:
        self.seed = seed
        self.target = copy.deepcopy(model).requires_grad_(False).eval()

    def batches(self, data: Dataset, model: nn.Module, loader: Loader | None, batch_size: int | str) -> Iterable[Batch]:
        if not isinstance(batch_size, int):
            raise ConfigError(
                "train.batch_size={size}: give the transitions of an update as a number.", size=batch_size
            )
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            raise ConfigError("train.devices: an agent has one stream of experience; it trains on one device.")
        self.acting = Acting(model, self.settings, self.inputs, batch_size, self.seed)
        return self.acting

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        assert isinstance(batch, TransitionBatch)
        values = model(batch.observations).float().gather(1, batch.actions[:, None])[:, 0]
        error = F.smooth_l1_loss if self.settings.loss == "huber" else F.mse_loss
        yield "model", error(values, self.wanted(model, batch), reduction="sum")

    @torch.no_grad()
    def wanted(self, model: nn.Module, batch: TransitionBatch) -> Tensor:
        """Return what the value of each transition's action should be (B,)."""
        future = self.target(batch.next_observations).float()
        chooser = model(batch.next_observations) if self.settings.double else future
        best = future.gather(1, chooser.argmax(1, keepdim=True))[:, 0]
        return batch.rewards * self.settings.reward_scale + self.settings.gamma * (1 - batch.ended) * best

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        if step % self.settings.target_every:
            return
        live = model.state_dict()
        for name, value in self.target.state_dict().items():
            if value.is_floating_point():
                value.lerp_(live[name], self.settings.target_share)
            else:
                value.copy_(live[name])

    def score(self, model: nn.Module, batch: Batch) -> dict[str, Tally]:
        returns, lengths = play(self.inputs.environment, batch[0].tolist(), greedy(model))
        return {"return": Tally(returns.sum(), len(returns)), "length": Tally(lengths.sum(), len(lengths))}

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Tally]:
        scores = super().evaluate(model, batches)
        if self.acting is not None:
            scores["environment_steps"] = Tally(self.acting.steps, 1)
        return scores

    def predict(self, model: nn.Module, inputs: str, **options: Any) -> Prediction:
        """Play one episode greedily; the input is its seed, or nothing.

        Raises: DataError
        """
        seed = episode_seed(inputs)
        returns, lengths = play(self.inputs.environment, [seed], greedy(model))
        text = say("Return {total:g} in {length} steps (episode seed {seed}).", total=returns[0].item(),
                   length=lengths[0].item(), seed=seed)  # fmt: skip
        return Prediction(text, {"return": returns[0].item(), "length": lengths[0].item(), "seed": seed})

    def pictures(self, model: nn.Module, data: Dataset | None) -> list[Picture]:
        return [film_episode(self.inputs.environment, values(model), TEST_SEEDS)]

    def pictures_of(self, model: nn.Module, inputs: str) -> list[Picture]:
        return [film_episode(self.inputs.environment, values(model), episode_seed(inputs))]

    def state(self) -> dict[str, Any]:
        return {"target": self.target.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.target.load_state_dict(state["target"])


class Acting:
    """An endless stream of batches from replay: every `updates` of them the agent acts `play_steps` steps more.

    Its position is the memory, the worlds and how many steps were taken; what is random comes from torch's global
    generator, which checkpoints keep.
    """

    def __init__(
        self, model: nn.Module, settings: QLearningConfig, inputs: WorldInputs, batch_size: int, seed: int
    ) -> None:
        self.settings, self.batch_size, self.num_actions = settings, batch_size, inputs.num_actions
        self.choose = greedy(model)
        self.worlds = SideBySide(inputs.environment, settings.worlds, seed)
        self.replay = Replay(settings.memory, inputs.size)
        self.steps = self.due = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TransitionBatch:
        if self.due == 0:
            self.act(max(self.settings.play_steps, self.settings.start - self.steps))
            self.due = self.settings.updates
        self.due -= 1
        return self.replay.sample(self.batch_size)

    def epsilon(self) -> float:
        """Return the chance of a random action now."""
        settings = self.settings
        share = min(1.0, self.steps / settings.explore_steps) if settings.explore_steps else 1.0
        return settings.explore_from + share * (settings.explore_to - settings.explore_from)

    def act(self, steps: int) -> None:
        """Take at least `steps` environment steps, the same number in each world."""
        for _ in range(math.ceil(steps / len(self.worlds))):
            explore = torch.rand(len(self.worlds)) < self.epsilon()
            random = torch.randint(self.num_actions, (len(self.worlds),))
            actions = torch.where(explore, random, self.choose(self.worlds.observations))
            self.replay.add(self.worlds.step(actions.tolist()))
            self.steps += len(self.worlds)

    def given(self) -> Given:
        """Say which transitions the last batch holds."""
        place = say("after {steps:,} environment steps", steps=self.steps)
        return Given(say("place in the replay memory"), self.replay.drawn, place)

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "due": self.due, "worlds": self.worlds.state(), "replay": self.replay.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.steps, self.due = state["steps"], state["due"]
        self.worlds.restore(state["worlds"])
        self.replay.restore(state["replay"])


def values(model: nn.Module) -> Any:
    """Return a function from observations (B, D) to the values of actions (B, A), on the CPU."""
    device = next(model.parameters()).device

    @torch.no_grad()
    def look(observations: Tensor) -> Tensor:
        return model(observations.to(device)).float().cpu()

    return look


def greedy(model: nn.Module) -> Any:
    """Return a function from observations (B, D) to the actions of highest value (B,)."""
    look = values(model)
    return lambda observations: look(observations).argmax(1)


def episode_seed(text: str) -> int:
    """Return the seed a person wrote, or that of the first test episode.

    Raises: DataError
    """
    if not text.strip():
        return TEST_SEEDS
    if text.strip().isdigit() and int(text) <= LAST_SEED:
        return int(text)
    raise DataError("'{text}': give the seed of the episode to play, a whole number up to {largest}.",
                    text=text, largest=LAST_SEED)  # fmt: skip

"""Small Gymnasium worlds for tests, whose best play is known."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class Corridor(gymnasium.Env):
    """Five places in a row; action 1 goes right, 0 left; the right end pays 1 and ends the episode."""

    observation_space = gymnasium.spaces.Discrete(5)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(0, 4))
        return self.place, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.place = min(max(self.place + (1 if action else -1), 0), 4)
        return self.place, float(self.place == 4), self.place == 4, False, {}


class Restless(Corridor):
    """A corridor that is not the same for the same seed."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    count = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        Restless.count += 1
        return np.full(2, Restless.count / 1e6, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(2, np.float32), 0.0, False, False, {}


class Drawn(Corridor):
    """A corridor with a picture of itself."""

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.full((100, 400, 3), 200, np.uint8)


def register() -> None:
    """Make the worlds known to Gymnasium, once."""
    for name, world, limit in (("Corridor-v0", Corridor, 20), ("Restless-v0", Restless, 20), ("Drawn-v0", Drawn, 20)):
        if name not in gymnasium.registry:
            gymnasium.register(name, world, max_episode_steps=limit)

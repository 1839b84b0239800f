"""What happens in a run, as frozen records. Listeners receive them; `events.jsonl` is all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Event:
    """Something that happened at optimizer update `step`."""

    step: int

    def record(self) -> dict[str, Any]:
        return {"event": type(self).__name__.lower(), **asdict(self)}


@dataclass(frozen=True)
class Started(Event):
    """A run begins, or (step > 0) resumes from a checkpoint: later events of that step on are void."""

    total_steps: int | None
    choices: Mapping[str, Any]
    """Device, precision, threads, parameters…: what was decided, in words."""


@dataclass(frozen=True)
class Stepped(Event):
    """Averages since the last such event."""

    losses: Mapping[str, float]
    lr: float
    grad_norm: float
    examples_per_second: float
    epoch: float
    progress: float
    seconds: float
    """Training time so far; evaluation and saving are not counted."""
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Of each dense layer and convolution at this update: see `seodang.training.signals`."""


@dataclass(frozen=True)
class Evaluated(Event):
    """Scores on a split. `best` says whether this is the best so far."""

    split: str
    scores: Mapping[str, float]
    best: bool = False
    epoch: float = 0.0


@dataclass(frozen=True)
class Pictured(Event):
    """A picture was written to `path`, relative to the run."""

    path: str
    title: str


@dataclass(frozen=True)
class Saved(Event):
    """A checkpoint is durable on disk."""

    checkpoint: str


@dataclass(frozen=True)
class Noticed(Event):
    """Something a person should know, and the run goes on: little room on the disk, a checkpoint not written."""

    text: str


@dataclass(frozen=True)
class Found(Event):
    """The doctor found something while the run went on (`seodang.diagnosis`); the texts are in the run's language."""

    illness: str
    evidence: str
    meaning: str
    command: str
    """One thing to try."""
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Rewound(Event):
    """Training went back to the checkpoint of `step`: later events are void, the updates `left_out` are not made."""

    left_out: Sequence[int]
    """Numbers of the updates whose batches gave numbers that are not finite; on disk before training goes on."""
    text: str


@dataclass(frozen=True)
class Stopped(Event):
    """The run ended or was stopped; `reason` in words a person understands."""

    reason: str
    finished: bool
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed(Event):
    """The run could not go on."""

    reason: str


Listener: TypeAlias = Callable[[Event], object]
"""What watches a run. If it answers an event with a `Found`, that is recorded and told to all of them."""

"""Parts of crash-safety to break on purpose: the torture must notice each of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NamedTuple

from seodang import api
from seodang.core.run import RunFolder
from seodang.data import dataset
from seodang.data.dataset import Loader
from seodang.training import trainer as trainer_module
from seodang.training.saving import Saver
from seodang.training.trainer import Trainer


def _loader() -> None:
    """Begin at the first batch again."""
    Loader.restore = lambda self, state: None  # type: ignore[method-assign]


def _generators() -> None:
    """Draw the random numbers of the start again."""
    trainer_module.restore_random = lambda states, device: None


def _optimizer() -> None:
    """Forget the moments."""
    trainer_module.restore_optimizer = lambda networks, optimizers, tensors: None


def _mark() -> None:
    """Do not mark the best checkpoint that a crash left unmarked."""
    complete, mark = Saver.complete, Saver._mark

    def without_mark(self: Saver, *arguments: Any) -> None:
        Saver._mark = lambda self, *best: None  # type: ignore[method-assign]
        complete(self, *arguments)
        Saver._mark = mark  # type: ignore[method-assign]

    Saver.complete = without_mark  # type: ignore[method-assign]


def _saves() -> None:
    """Leave out every other save."""
    due = Saver.due
    Saver.due = lambda self, step: due(self, step) and step % 8 == 0  # type: ignore[method-assign]


def _leftovers() -> None:
    """Leave the temporaries of the dead."""
    RunFolder._tidy = lambda self: None  # type: ignore[method-assign]


def _workers() -> None:
    """Let loader workers look after themselves."""
    dataset.come_up = lambda parent, worker: None


def _signals() -> None:
    """Let SIGTERM and Ctrl-C do what they do to any program."""

    @contextmanager
    def nothing(trainer: Trainer) -> Any:
        yield

    api.signals = nothing


class Breakage(NamedTuple):
    """How a part is broken, which family shows it, what share of the deaths are signals, and where it is best seen."""

    breaking: Callable[[], None]
    family: str = "supervised"
    signals: float = 0.0
    phase: str = ""


PARTS = {
    "loader": Breakage(_loader),
    "generators": Breakage(_generators),
    "optimizer": Breakage(_optimizer),
    "mark": Breakage(_mark, phase="rename"),
    "saves": Breakage(_saves),
    "leftovers": Breakage(_leftovers),
    "workers": Breakage(_workers, "workers"),
    "signals": Breakage(_signals, signals=1.0),
}

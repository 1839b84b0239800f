"""Those who watch a run. A listener is any callable that takes an event; nothing it does can change the run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from seodang.core.events import Event, Found, Listener, Noticed
from seodang.core.language import say
from seodang.data.before_training import look_over, remarks
from seodang.data.dataset import Dataset
from seodang.training.randomness import kept_randomness


class Audience:
    """The listeners of a run. One that raises is reported once and dropped; training goes on."""

    def __init__(self, listeners: Sequence[Listener], device: torch.device) -> None:
        self._listeners, self._device = list(listeners), device

    def tell(self, event: Event) -> list[Found]:
        """Tell all of them; return what they found in it."""
        found: list[Found] = []
        for listener in list(self._listeners):
            try:
                with kept_randomness(self._device):
                    answer = listener(event)
                if isinstance(answer, Found) and not isinstance(event, Found):
                    found.append(answer)
            except Exception as error:
                self._listeners.remove(listener)
                name = getattr(listener, "__qualname__", type(listener).__qualname__)
                text = say("The listener {name} raised {kind}: {message}. It is dropped; training goes on.",
                           name=name, kind=type(error).__name__, message=error)  # fmt: skip
                print(text, file=sys.stderr)
        return found


def look_over_data(data: Dataset, listeners: Sequence[Listener]) -> list[str]:
    """Return what to say about the user's own data before the first step.

    Raises: DataError for faults that would make training learn something wrong.
    """
    audience = Audience(listeners, torch.device("cpu"))
    return remarks(data, look_over(data, lambda text: audience.tell(Noticed(0, text))))

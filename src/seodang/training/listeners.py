"""Those who watch a run. A listener is any callable that takes an event; nothing it does can change the run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from seodang.core.events import Event, Listener
from seodang.core.language import say
from seodang.training.randomness import kept_randomness


class Audience:
    """The listeners of a run. One that raises is reported once and dropped; training goes on."""

    def __init__(self, listeners: Sequence[Listener], device: torch.device) -> None:
        self._listeners, self._device = list(listeners), device

    def tell(self, event: Event) -> None:
        for listener in list(self._listeners):
            try:
                with kept_randomness(self._device):
                    listener(event)
            except Exception as error:
                self._listeners.remove(listener)
                name = getattr(listener, "__qualname__", type(listener).__qualname__)
                text = say("The listener {name} raised {kind}: {message}. It is dropped; training goes on.",
                           name=name, kind=type(error).__name__, message=error)  # fmt: skip
                print(text, file=sys.stderr)

"""record() and note(): the one switch for looking inside.

While `record(model)` is active, the output of every sub-module is kept under its path, and layers may `note`
what they compute on the way. Outside it nothing is hooked; a `note` costs one context-variable look-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Recording: TypeAlias = dict[str, Tensor]

_active: ContextVar[tuple[Recording, list[str]] | None] = ContextVar("recording", default=None)


@contextmanager
def record(model: nn.Module, detach: bool = True) -> Iterator[Recording]:
    """Keep what every sub-module of `model` returns, under its path ("" is the model), in the order they last ended.

    Without `detach` the tensors themselves are kept, so that gradients can be taken with respect to them.
    A module called more than once keeps its last output. Works on the uncompiled module.
    """
    kept: Recording = {}
    stack: list[str] = []

    def enter(path: str) -> Any:
        return lambda module, inputs: stack.append(path)

    def leave(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            stack.pop()
            if isinstance(output, Tensor):
                kept.pop(path, None)
                kept[path] = output.detach() if detach else output

        return hook

    handles = []
    for path, module in model.named_modules():
        handles += [module.register_forward_pre_hook(enter(path)), module.register_forward_hook(leave(path))]
    token = _active.set((kept, stack))
    try:
        yield kept
    finally:
        _active.reset(token)
        for handle in handles:
            handle.remove()


def recording() -> bool:
    """Return whether somebody looks: then layers take the explicit path and `note` what it shows.

    Compiled code is never recorded; asking there would cut it in two at every layer that asks.
    """
    return not torch.compiler.is_compiling() and _active.get() is not None


def note(name: str, value: Tensor) -> None:
    """Keep `value` under the path of the module that is running, as ``path.name``."""
    if recording() and (active := _active.get()) is not None:
        kept, stack = active
        kept[f"{stack[-1]}.{name}" if stack and stack[-1] else name] = value.detach()

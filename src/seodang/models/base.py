"""The registry of architectures, and what every architecture promises.

An architecture is an `nn.Module` made with one config. `forward` maps tensors to tensors: no loss, no
tokenizer, no device, no printing. Its class may say:

    takes    kinds of inputs it accepts: image, table, vector, tokens, world
    blocks   classes that are the units for sharding and activation checkpointing
    tied     pairs (kept, dropped) of state-dict names that share one tensor
    example  settings and facts of a tiny instance, for the contract tests
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from seodang.core.registry import Registry


class Architecture(nn.Module):
    """Base of the shipped architectures; a user's own module need not inherit from it."""

    takes: ClassVar[tuple[str, ...]] = ()
    blocks: ClassVar[tuple[type[nn.Module], ...]] = ()
    tied: ClassVar[tuple[tuple[str, str], ...]] = ()
    example: ClassVar[dict[str, Any]] = {}

    config: Any
    """The record it was made with."""


architectures: Registry[nn.Module] = Registry("model", "seodang.models")

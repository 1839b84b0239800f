"""Only kernels that give the same bytes each time; an operation that has none is refused by name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from seodang.core.errors import ConfigError

REFUSAL = re.compile(r"(\S+) does not have a deterministic implementation")


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Let torch choose deterministic kernels inside, as ``train.deterministic`` says; afterwards as it was.

    On a CPU they are the kernels it takes anyway. On a GPU some operations get slower, and a few have none.

    Raises: ConfigError naming the operation, before the update it is part of is applied
    """
    memory: Any = torch.utils.deterministic  # a module with a property, which mypy does not see
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for to repeat itself
    torch.use_deterministic_algorithms(wanted)
    memory.fill_uninitialized_memory = False  # it would find reads of empty memory, at a price
    try:
        yield
    except RuntimeError as error:
        found = REFUSAL.search(str(error))
        if found is None:
            raise
        raise ConfigError("{operation}: has no kernel that gives the same bytes each time on this device. Choose a setting that "
                          "does without it, or give up repeatable results: train.deterministic=false",
                          operation=found.group(1)) from error  # fmt: skip
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]

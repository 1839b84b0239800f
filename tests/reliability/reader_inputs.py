"""How inputs for a reader are made: put into a file, a text changed, a tree changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.reliability.mutation import (
    TEXT_TOKENS,
    mutate,
    mutate_tree,
)

Make = Callable[[random.Random], bytes]


def put(path: Path) -> Callable[[bytes], None]:
    """Return a function that puts bytes into a file."""

    def place(data: bytes) -> None:
        path.write_bytes(data)

    return place


def texts(seeds: Sequence[bytes], tokens: Sequence[bytes] = (), longest: int = 20_000) -> Make:
    words = (*TEXT_TOKENS, *tokens)
    return lambda draw: mutate(draw, seeds, words, longest)


def trees_and_texts(trees: Sequence[Any], write: Callable[[Any], bytes], tokens: Sequence[bytes] = ()) -> Make:
    """Make half of the inputs by changing a tree and writing it, half by changing what was written."""
    seeds = [write(tree) for tree in trees]
    words = (*TEXT_TOKENS, *tokens)

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.5:
            try:
                return write(mutate_tree(draw, trees))
            except (TypeError, ValueError, AttributeError, UnicodeError):
                pass  # a tree that has no text in this format
        return mutate(draw, seeds, words)

    return make

"""What a file holds, as one piece of bytes or in parts, and the digests of its blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

BLOCK = 1 << 20
"""Bytes under one digest: what a message about damage can point at."""

Parts: TypeAlias = Sequence[bytes | memoryview]
Content: TypeAlias = bytes | Parts


def size_of(parts: Parts) -> int:
    return sum(map(len, parts))


def blocks(parts: Parts) -> Iterator[bytes | memoryview]:
    """Yield a file block by block: without a copy, except where a block lies in several parts."""
    waiting: list[memoryview] = []
    room = BLOCK
    for part in parts:
        view = memoryview(part)
        while view:
            waiting.append(view[:room])
            view, room = view[room:], room - len(waiting[-1])
            if not room:
                yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
                waiting, room = [], BLOCK
    if waiting or not size_of(parts):
        yield b"".join(waiting)


def entry(parts: Parts) -> dict[str, Any]:
    """Return what a manifest says of a file: its size and the SHA-256 of every block."""
    return {"bytes": size_of(parts), "sha256": [hashlib.sha256(block).hexdigest() for block in blocks(parts)]}

"""Pictures that look nearly the same: saved anew, made smaller, a little brighter, the next one of a series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

SIDE = 16
"""Side of the small grey pictures that are compared."""
BITS = 6
"""Bits of 64 in which the hashes of near copies may differ."""
LEVELS = 8.0
"""Grey levels in which the small pictures may differ, in the mean, after their brightness is taken away."""
SPOT = 60.0
"""Grey levels in which they may differ at one place: another small thing on the same ground is another picture."""
LEAST = 12.0
"""Standard deviation of the small picture's grey levels below which there is too little to compare."""
BLOCK = 1024
"""Pictures that are compared with all others at once."""


class Print(NamedTuple):
    """What is kept of a picture to compare it by."""

    hash: int
    small: UInt8[np.ndarray, "16 16"]


def print_of(pixels: UInt8[np.ndarray, "H W C"]) -> Print | None:
    """Return what a picture is compared by; None where it shows too little.

    Source: the gradient hash (each of 8 × 8 places brighter than its right neighbour?), Krawetz 2013, "Kind of like that".
    Differs: its matches are confirmed on small pictures of 16 × 16, as hashes of plain ones collide.
    """
    grey = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("L")
    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))
    if small.std() < LEAST:
        return None
    tiny = np.asarray(grey.resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    bits = np.packbits(tiny[:, 1:] > tiny[:, :-1])
    return Print(int.from_bytes(bits.tobytes(), "big"), small)


def near_pairs(prints: Sequence[Print | None], sides: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the numbers of each two pictures that look nearly the same, the lower first.

    `sides` says which split each is in; where there is more than one, only pairs from different ones are yielded.
    """
    places = np.array([place for place, item in enumerate(prints) if item is not None], dtype=np.int64)
    if len(places) < 2:
        return
    known = [item for item in prints if item is not None]
    hashes = np.array([item.hash for item in known], dtype=np.uint64)
    small = np.stack([item.small for item in known]).astype(np.float32).reshape(len(known), -1)
    small -= small.mean(1, keepdims=True)
    side = np.array(sides)[places]
    across = len(set(side.tolist())) > 1
    for start in range(0, len(known), BLOCK):
        differ = np.bitwise_count(hashes[start : start + BLOCK, None] ^ hashes[None, :])
        first, second = np.nonzero(differ <= BITS)
        first = first + start
        wanted = (first < second) & ((side[first] != side[second]) | (not across))
        first, second = first[wanted], second[wanted]
        for one, two in zip(first.tolist(), second.tolist(), strict=True):
            differences = np.abs(small[one] - small[two])
            if differences.mean() <= LEVELS and differences.max() <= SPOT:
                yield int(places[one]), int(places[two])

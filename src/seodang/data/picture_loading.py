"""Many pictures: measured, decoded once by several threads, kept as bytes in memory or read again for each batch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from seodang.core.errors import DataError
from seodang.core.inputs import ImageInputs
from seodang.core.recipe import Choice
from seodang.data.dataset import Draws, Examples, ImageBatch
from seodang.data.decoding import Header, Unreadable, decode, header, read_picture, strict_pillow
from seodang.data.delivery import reading
from seodang.data.finding import shown
from seodang.data.images import MemoryImages
from seodang.data.memory import free_memory

LARGEST_GUESS, LARGEST_KEPT = 224, 256
"""Sides of pictures: the largest we scale to without being asked, and the largest we leave as it is."""

T = TypeVar("T")


class Decoded(NamedTuple):
    """What decoding every picture once gave; `images` is None where they do not fit into memory."""

    images: UInt8[Tensor, "N C H W"] | None
    digests: list[str]
    sums: Int64[Tensor, "N C"]
    squares: Int64[Tensor, "N C"]


def headers(paths: Sequence[Path]) -> list[Header | Unreadable]:
    """Return what each picture says of itself, or why it cannot be used."""
    return in_threads(lambda path: _or_reason(header, path), paths)


def decode_all(
    paths: Sequence[Path], channels: int, size: tuple[int, int], in_memory: bool
) -> tuple[Decoded, dict[int, Unreadable]]:
    """Decode every picture once; those that cannot be are named by number, their places hold zeros."""
    shape = (len(paths), channels, *size)
    images = torch.zeros(shape, dtype=torch.uint8) if in_memory else None
    sums, squares = (torch.zeros(shape[:2], dtype=torch.int64) for _ in range(2))

    def one(index: int) -> str | Unreadable:
        try:
            data = read_picture(paths[index])
            pixels = decode(data, channels, size)
        except Unreadable as error:
            return error
        flat = pixels.reshape(-1, channels).astype(np.int64)
        sums[index], squares[index] = torch.from_numpy(flat.sum(0)), torch.from_numpy((flat**2).sum(0))
        if images is not None:
            images[index] = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        return hashlib.sha256(data).hexdigest()

    found = in_threads(one, range(len(paths)))
    bad = {index: item for index, item in enumerate(found) if isinstance(item, Unreadable)}
    return Decoded(images, [item if isinstance(item, str) else "" for item in found], sums, squares), bad


def fits_in_memory(count: int, channels: int, size: tuple[int, int]) -> bool:
    """Return whether the pictures take no more than half of the memory that is free."""
    return count * channels * size[0] * size[1] <= free_memory() // 2


def guess_size(found: Sequence[Header]) -> tuple[int, int]:
    """Return the size (height, width) pictures are brought to when nobody says: their own if they all have one.

    Otherwise a square of the median shorter side, in steps of 16, from 16 to 224.
    """
    sizes = {(item.height, item.width) for item in found}
    if len(sizes) == 1 and max(next(iter(sizes))) <= LARGEST_KEPT:
        return next(iter(sizes))
    middle = sorted(min(item.height, item.width) for item in found)[len(found) // 2]
    side = min(max(middle // 16 * 16, 16), LARGEST_GUESS)
    return side, side


def statistics_of(decoded: Decoded, rows: Tensor, pixels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel over pictures `rows` of `pixels` pixels each, in 0…1, four digits."""
    count = len(rows) * pixels
    mean = decoded.sums[rows].sum(0).double() / count
    std = (decoded.squares[rows].sum(0).double() / count - mean.square()).clamp(min=0).sqrt()
    return (tuple(round(value / 255, 4) for value in mean.tolist()),
            tuple(round(value / 255, 4) or 1.0 for value in std.tolist()))  # fmt: skip


class DiskImages:
    """Pictures read from their files for each batch, in as many processes as ``train.workers`` says."""

    def __init__(
        self, paths: Sequence[Path], labels: Tensor | None, inputs: ImageInputs, augment: Sequence[str | Choice] = ()
    ) -> None:
        self.paths, self.labels, self.inputs, self.augment = paths, labels, inputs, augment

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, rows: Tensor, draws: Draws | None) -> ImageBatch:
        inputs = self.inputs
        images = torch.empty(len(rows), *inputs.shape, dtype=torch.uint8)
        with strict_pillow():
            for place, row in enumerate(rows.tolist()):
                reading(self.paths[row])
                images[place] = torch.from_numpy(load_one(self.paths[row], inputs).transpose(2, 0, 1).copy())
        labels = None if self.labels is None else self.labels[rows]
        return MemoryImages(images, labels, inputs, self.augment).batch(torch.arange(len(rows)), draws)


class Subset:
    """Some rows of examples, without a copy of them."""

    def __init__(self, examples: Examples, rows: Tensor) -> None:
        self.examples, self.rows = examples, rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> Tensor | None:
        """What is known of each example without reading it."""
        known = getattr(self.examples, "labels", None)
        return None if known is None else known[self.rows]

    def batch(self, rows: Tensor, draws: Draws | None) -> Any:
        return self.examples.batch(self.rows[rows], draws)


def load_one(path: Path, inputs: ImageInputs) -> np.ndarray:
    """Return the pixels of one picture as a model takes them, uint8 (H, W, C), before normalisation.

    Raises: DataError naming the file. Call it inside `strict_pillow`.
    """
    try:
        return decode(read_picture(path), inputs.channels, (inputs.height, inputs.width), inputs.resize)
    except Unreadable as reason:
        raise DataError("{path}: {reason}.", path=shown(path), reason=reason) from None


def in_threads(work: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """Return ``work(item)`` for each item, in order, by as many threads as there are cores; decoders let go of the lock."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with strict_pillow(), ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, items))


def _or_reason(work: Callable[[Path], T], path: Path) -> T | Unreadable:
    try:
        return work(path)
    except Unreadable as error:
        return error

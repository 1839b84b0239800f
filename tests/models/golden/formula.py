"""Weights and pictures by formula, the same on every machine, so that no weights need to be stored."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import torch

NUMBERS = 2_097_143
"""A prime, so that no layer repeats itself."""


def stream() -> torch.Tensor:
    """Return uniform numbers in [0, 1) from the raw bits of PCG64, which NumPy promises never to change."""
    raw = np.random.PCG64(5).random_raw(NUMBERS)
    return torch.from_numpy((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53)


STREAM = stream()


def numbers(name: str, shape: torch.Size) -> torch.Tensor:
    """Return uniform numbers in [0, 1), a cut of the stream that begins where `name` says."""
    count, start = shape.numel(), crc32(name.encode()) % NUMBERS
    if start + count <= NUMBERS:
        return STREAM[start : start + count].reshape(shape)
    return STREAM.repeat(2 + count // NUMBERS)[start : start + count].reshape(shape)


def weight(name: str, shape: torch.Size) -> torch.Tensor:
    """Return the weights the source library calls `name`."""
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    drawn = numbers(name, shape)
    if kind == "running_var":
        return 0.5 + drawn
    if kind in ("running_mean", "bias"):
        return 0.2 * drawn - 0.1
    if len(shape) == 1:  # a normalisation's scale
        return 0.6 + 0.8 * drawn
    return (2 * drawn - 1) * (6 / shape[1:].numel()) ** 0.5


def pictures(size: int) -> torch.Tensor:
    return 4 * numbers(f"pictures {size}", torch.Size((2, 3, size, size))) - 2

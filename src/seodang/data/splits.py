"""Splits: seeded, stratified, disjoint; and the fingerprint that says which examples a run was made with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from seodang.data.dataset import generator


def stratified_split(labels: Tensor, shares: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """Return row numbers of "train" and of each named share, every class in proportion, in ascending order.

    Of each class the rows are shuffled with (seed, class); each share takes round(share × rows) of them, at
    least one where the class has three or more. What is left is training data.
    """
    parts: dict[str, list[Tensor]] = {"train": [], **{name: [] for name, share in shares.items() if share > 0}}
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator(seed, "split", label))]
        start = 0
        for name, share in shares.items():
            if share > 0:
                count = max(round(share * len(rows)), int(len(rows) >= 3))
                parts[name].append(rows[start : start + count])
                start += count
        parts["train"].append(rows[start:])
    return {name: torch.cat(rows).sort().values for name, rows in parts.items()}


def stratified_sample(labels: Tensor, count: int, seed: int, key: str) -> tuple[Tensor, Tensor]:
    """Return `count` row numbers drawn with every class in proportion, and the others, both in ascending order.

    Each class gives the whole part of its share; what is missing comes from the classes with the largest
    remainders. Of each class the rows are shuffled with (seed, key, class).
    """
    classes, sizes = labels.unique(return_counts=True)
    shares = sizes.double() * count / len(labels)
    wanted = shares.floor().long()
    most = (shares - wanted).argsort(descending=True, stable=True)[: count - int(wanted.sum())]
    wanted[most] += 1
    taken, left = [], []
    for label, number in zip(classes.tolist(), wanted.tolist(), strict=True):
        rows = (labels == label).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator(seed, key, label))]
        taken.append(rows[:number])
        left.append(rows[number:])
    return torch.cat(taken).sort().values, torch.cat(left).sort().values


def fingerprint(tensors: Iterable[Tensor], splits: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the examples' bytes, types and shapes, and of the row numbers of each split."""
    seen = hashlib.sha256()
    named = [("", tensor) for tensor in tensors] + sorted(splits.items())
    for name, tensor in named:
        seen.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        seen.update(memoryview(tensor.contiguous().numpy()).cast("B") if tensor.numel() else b"")
    return seen.hexdigest()

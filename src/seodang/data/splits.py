"""Splits: seeded, stratified, disjoint."""

from __future__ import annotations

from collections.abc import Mapping

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

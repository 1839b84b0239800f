"""What is held out of a user's own data: shares, the rule in words, and rows that must stay together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from seodang.core.config import Config
from seodang.core.language import say
from seodang.data.splits import stratified_split

BINS = 10
"""Equal parts a quantity is cut into, so that each split has small and large ones."""


class HeldOut(Config):
    """Shares of the examples that are not trained on."""

    valid: float = Field(0.1, ge=0, lt=1)
    """Share held out to choose the best checkpoint."""
    test: float = Field(0.2, ge=0, lt=1)
    """Share held out for the final score."""

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(
                say("valid={valid} and test={test} leave nothing to train on", valid=self.valid, test=self.test)
            )
        return self


def grouped_split(
    labels: Tensor, groups: Sequence[object] | None, shares: Mapping[str, float], seed: int
) -> dict[str, Tensor]:
    """Return row numbers per split as `stratified_split` does; rows of one group are always on the same side.

    A group counts once, with the label of its first row. Splits that would be empty are left out.
    """
    if groups is None:
        parts = stratified_split(labels, shares, seed)
    else:
        first: dict[object, int] = {}
        number = torch.tensor([first.setdefault(group, len(first)) for group in groups], dtype=torch.long)
        heads = torch.full((len(first),), len(groups), dtype=torch.long)
        heads = heads.scatter_reduce(0, number, torch.arange(len(groups)), "amin")
        found = stratified_split(labels[heads], shares, seed)
        parts = {name: torch.isin(number, rows).nonzero().flatten() for name, rows in found.items()}
    return {name: rows for name, rows in parts.items() if len(rows)}


def bins(values: Tensor) -> Tensor:
    """Return for each value which tenth of the sorted values it is in: classes to stratify a quantity by."""
    count = max(1, min(BINS, len(values) // BINS))
    ranks = values.argsort(stable=True).argsort()
    return ranks * count // max(len(values), 1)


def split_note(sizes: Mapping[str, int], seed: int, by: str) -> str:
    """Return the sentence that says how the examples were divided; `by` is "class", "quantity" or nothing."""
    counts = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    match by:
        case "class":
            return say(
                "Split at random with seed {seed}, every class in proportion: {counts}.", seed=seed, counts=counts
            )
        case "quantity":
            return say("Split at random with seed {seed}, every tenth of the target's range in proportion: {counts}.",
                       seed=seed, counts=counts)  # fmt: skip
    return say("Split at random with seed {seed}: {counts}.", seed=seed, counts=counts)

"""Noise on the numbers of training rows; pictures have it among their augmentations."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from seodang.core.config import Config
from seodang.core.inputs import TableInputs, VectorInputs
from seodang.data.dataset import Batch, Draws, MemoryExamples, TableBatch


class InputNoise(Config):
    """The setting of data that is rows of numbers."""

    noise: float = Field(0.0, ge=0)
    """Standard deviation of Gaussian noise on the numbers of training rows, in standard deviations of each column."""


class NoisyRows(MemoryExamples):
    """Rows of numbers with Gaussian noise of `spread` standard deviations, drawn anew each time a row comes up.

    What stands for a category or for a missing value is left as it is.

    Source: Sietsma & Dow 1991, "Creating artificial neural networks that generalize", Neural Networks 4(1); Bishop 1995,
    "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7(1).
    """

    def __init__(self, features: Tensor, targets: Tensor, inputs: TableInputs | VectorInputs, spread: float) -> None:
        super().__init__(TableBatch, features, targets)
        self.spread = spread * numbers(inputs)

    def batch(self, rows: Tensor, draws: Draws | None) -> Batch:
        features, targets = super().batch(rows, draws)
        return TableBatch(
            features if draws is None else features + draws.normal(len(self.spread)) * self.spread, targets
        )


def numbers(inputs: TableInputs | VectorInputs) -> Tensor:
    """Return 1 for each input that is a standardised number, 0 for one that stands for a category or a missing value."""
    if isinstance(inputs, VectorInputs):
        return torch.ones(inputs.size)
    marks = [
        [1.0, 0.0][: column.width] if column.kind == "number" else [0.0] * column.width for column in inputs.columns
    ]
    return torch.tensor([mark for column in marks for mark in column])

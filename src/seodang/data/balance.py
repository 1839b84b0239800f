"""Uneven classes: how often each example is drawn so that rare classes are seen more often."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from seodang.core.errors import ConfigError
from seodang.data.dataset import Examples, MemoryExamples


def labels_of(examples: Examples) -> Tensor:
    """Return the class number of each example, known without reading the examples.

    Raises: ConfigError if they have no classes, or several each.
    """
    known = examples.fields[-1] if isinstance(examples, MemoryExamples) else getattr(examples, "labels", None)
    if not isinstance(known, Tensor) or known.ndim != 1 or known.is_floating_point():
        raise ConfigError("train.balance: draws classes equally often, but here an example has no class of its own (a quantity, "
                          "tokens, or several labels). Remove the setting.")  # fmt: skip
    return known


def class_weights(labels: Tensor, balance: float) -> Float64[Tensor, " N"]:
    r"""Return the weight each example is drawn with: $n_c^{-b}$, n the examples of its class and b the `balance`.

    With b = 1 all classes come equally often, with 0.5 in proportion to the square root of their sizes.

    Source: Mahajan et al. 2018, "Exploring the limits of weakly supervised pretraining", arXiv:1805.00932, sec. 2.2 (b = 0.5);
    Kang et al. 2020, "Decoupling representation and classifier", arXiv:1910.09217, sec. 3.1 (q = 1 - b).
    """
    counts = torch.bincount(labels).double()
    return counts[labels] ** -balance

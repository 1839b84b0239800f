"""Normalisation by hand, forward and backward, for one example: by kept statistics, and by the example's own."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]


def by_channel(values: Numbers, like: Numbers) -> Numbers:
    """Return one number for each channel (or each element of a vector), so shaped that it meets every place of it."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def batch_norm(x: Numbers, mean: Numbers, var: Numbers, gamma: Numbers, beta: Numbers, eps: float) -> Numbers:
    r"""Return $y = γ \hat x + β$, $\hat x = (x - μ) / \sqrt{σ^2 + ε}$, with the μ and σ² kept from training.

    Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 2, line 11.
    """
    x_hat = (x - by_channel(mean, x)) / np.sqrt(by_channel(var, x) + eps)
    return by_channel(gamma, x) * x_hat + by_channel(beta, x)


def batch_norm_backward(
    x: Numbers, mean: Numbers, var: Numbers, gamma: Numbers, eps: float, dy: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    r"""Return δx, δγ and δβ: with kept statistics it is a straight line, $δx = γ δy / \sqrt{σ^2 + ε}$."""
    spread = np.sqrt(by_channel(var, x) + eps)
    x_hat = (x - by_channel(mean, x)) / spread
    places = tuple(range(1, x.ndim))
    return by_channel(gamma, x) / spread * dy, np.sum(dy * x_hat, axis=places), np.sum(dy, axis=places)


def group_norm(x: Numbers, groups: int, gamma: Numbers, beta: Numbers, eps: float) -> Numbers:
    r"""Return $y = γ \hat x + β$, $\hat x = (x - μ) / \sqrt{σ^2 + ε}$, with μ and σ² over each group of channels.

    One group is layer normalisation, a group for each channel instance normalisation.

    Source: Wu & He 2018, "Group normalization", arXiv:1803.08494, eq. 1 to 6.
    """
    x_hat, _ = standardised(x, groups, eps)
    return by_channel(gamma, x) * x_hat + by_channel(beta, x)


def group_norm_backward(
    x: Numbers, groups: int, gamma: Numbers, eps: float, dy: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    r"""Return δx, δγ and δβ.

    μ and σ depend on x too, so $δx = \frac1σ (δ\hat x - \overline{δ\hat x} - \hat x \, \overline{δ\hat x \, \hat x})$ with
    $δ\hat x = γ δy$ and means over the group: what would shift or stretch the whole group is taken out.
    """
    x_hat, spread = standardised(x, groups, eps)
    d_hat = (by_channel(gamma, x) * dy).reshape(groups, -1)
    hat = x_hat.reshape(groups, -1)
    means = d_hat.mean(axis=1, keepdims=True), (d_hat * hat).mean(axis=1, keepdims=True)
    dx = ((d_hat - means[0] - hat * means[1]) / spread).reshape(x.shape)
    places = tuple(range(1, x.ndim))
    return dx, np.sum(dy * x_hat, axis=places), np.sum(dy, axis=places)


def standardised(x: Numbers, groups: int, eps: float) -> tuple[Numbers, Numbers]:
    """Return x less the mean of its group, over the spread; and the spread of each group."""
    parts = x.reshape(groups, -1)
    mean = parts.mean(axis=1, keepdims=True)
    spread = np.sqrt(((parts - mean) ** 2).mean(axis=1, keepdims=True) + eps)
    return ((parts - mean) / spread).reshape(x.shape), spread

"""A multilayer perceptron by hand: dense layers, softmax and losses, forward and backward, for one example.

Everything is NumPy in double precision. δy stands for ∂L/∂y: how the loss L answers to a small change of y.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]


def dense(x: Numbers, w: Numbers, b: Numbers | None) -> Numbers:
    r"""Return $y_j = \sum_i w_{ji} x_i + b_j$.

    Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors", eq. 1.
    """
    y = np.zeros(len(w))
    for j in range(len(w)):
        y[j] = np.sum(w[j] * x) + (0.0 if b is None else b[j])
    return y


def dense_backward(x: Numbers, w: Numbers, dy: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    r"""Return δx, δw and δb: $δx_i = \sum_j w_{ji} δy_j$, $δw_{ji} = δy_j x_i$, $δb_j = δy_j$.

    Source: Rumelhart, Hinton & Williams 1986, eq. 4 to 7.
    """
    dx = np.zeros(len(x))
    dw = np.zeros_like(w)
    for j in range(len(w)):
        dx += w[j] * dy[j]
        dw[j] = dy[j] * x
    return dx, dw, dy.copy()


def softmax(z: Numbers) -> Numbers:
    r"""Return $p_k = e^{z_k} / \sum_l e^{z_l}$; the largest z is taken off first, which changes nothing but overflow."""
    e = np.exp(z - z.max())
    return e / e.sum()


def cross_entropy(z: Numbers, label: int, smoothing: float = 0.0) -> tuple[float, Numbers]:
    r"""Return $L = -\sum_k q_k \ln p_k$ and $δz_k = p_k - q_k$, with q the right class, evened out by `smoothing`.

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs"; smoothing
    Szegedy et al. 2016, arXiv:1512.00567, sec. 7.
    """
    q = np.full(len(z), smoothing / len(z))
    q[label] += 1 - smoothing
    log_p = z - z.max() - np.log(np.sum(np.exp(z - z.max())))
    return float(-np.sum(q * log_p)), softmax(z) - q


def perceptron_criterion(z: Numbers, label: int) -> tuple[float, Numbers]:
    r"""Return $L = z_{\hat y} - z_y$, ŷ the largest, and δz: +1 for ŷ and -1 for y, so nothing where they are the same.

    Source: Rosenblatt 1962, "Principles of neurodynamics", ch. 5.
    """
    answer = int(np.argmax(z))
    dz = np.zeros(len(z))
    dz[answer] += 1
    dz[label] -= 1
    return float(z[answer] - z[label]), dz


def squared_error(z: Numbers, target: Numbers) -> tuple[float, Numbers]:
    r"""Return $L = \frac1K \sum_k (z_k - t_k)^2$ and $δz_k = \frac2K (z_k - t_k)$."""
    return float(np.mean((z - target) ** 2)), 2 * (z - target) / len(z)

"""The update rules by hand, as their papers write them: what the fast versions are checked against.

Each rule is given the weights to start from and a function that returns the gradient at some weights, and yields the
weights after each step, in double precision, for ever. The letters are those of `training.optimizers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Weights: TypeAlias = NDArray[np.float64]
Gradient: TypeAlias = Callable[[Weights], Weights]


def sgd(w: Weights, gradient: Gradient, lr: float, weight_decay: float = 0.0) -> Iterator[Weights]:
    r"""$w_{t+1} = w_t - η g_t$.

    Source: Robbins & Monro 1951, "A stochastic approximation method".
    """
    while True:
        g = gradient(w) + weight_decay * w
        w = w - lr * g
        yield w


def momentum(
    w: Weights, gradient: Gradient, lr: float, mu: float = 0.9, weight_decay: float = 0.0
) -> Iterator[Weights]:
    r"""$v_{t+1} = μ v_t + g_t$, $w_{t+1} = w_t - η v_{t+1}$.

    Source: Polyak 1964, "Some methods of speeding up the convergence of iteration methods", eq. 9.
    """
    v = np.zeros_like(w)
    while True:
        g = gradient(w) + weight_decay * w
        v = mu * v + g
        w = w - lr * v
        yield w


def nesterov(
    w: Weights, gradient: Gradient, lr: float, mu: float = 0.9, weight_decay: float = 0.0
) -> Iterator[Weights]:
    r"""$v_{t+1} = μ v_t - η ∇f(θ_t + μ v_t)$, $θ_{t+1} = θ_t + v_{t+1}$, seen from the place looked ahead to.

    What is yielded, and what `gradient` is asked about, is $w_t = θ_t + μ v_t$, as in every framework.

    Source: Nesterov 1983; Sutskever et al. 2013, "On the importance of initialization and momentum in deep
    learning", eq. 3 and 4.
    """
    theta, v = w, np.zeros_like(w)
    while True:
        ahead = theta + mu * v
        g = gradient(ahead) + weight_decay * ahead
        v = mu * v - lr * g
        theta = theta + v
        yield theta + mu * v


def adagrad(
    w: Weights, gradient: Gradient, lr: float, eps: float = 1e-10, weight_decay: float = 0.0
) -> Iterator[Weights]:
    r"""$s_t = \sum_{τ \le t} g_τ^2$, $w_{t+1} = w_t - η g_t / (\sqrt{s_t} + ε)$.

    Source: Duchi, Hazan & Singer 2011, "Adaptive subgradient methods", JMLR 12, fig. 1.
    """
    s = np.zeros_like(w)
    while True:
        g = gradient(w) + weight_decay * w
        s = s + g**2
        w = w - lr * g / (np.sqrt(s) + eps)
        yield w


def adadelta(
    w: Weights, gradient: Gradient, lr: float = 1.0, rho: float = 0.95, eps: float = 1e-6, weight_decay: float = 0.0
) -> Iterator[Weights]:
    r"""$Δ_t = -\frac{\mathrm{RMS}[Δ]_{t-1}}{\mathrm{RMS}[g]_t} g_t$ with $\mathrm{RMS}[x]_t = \sqrt{E[x^2]_t + ε}$.

    Source: Zeiler 2012, arXiv:1212.5701, algorithm 1.
    """
    mean_of_gradients = np.zeros_like(w)
    mean_of_steps = np.zeros_like(w)
    while True:
        g = gradient(w) + weight_decay * w
        mean_of_gradients = rho * mean_of_gradients + (1 - rho) * g**2
        step = -np.sqrt(mean_of_steps + eps) / np.sqrt(mean_of_gradients + eps) * g
        mean_of_steps = rho * mean_of_steps + (1 - rho) * step**2
        w = w + lr * step
        yield w


def rmsprop(
    w: Weights, gradient: Gradient, lr: float, alpha: float = 0.99, eps: float = 1e-8, mu: float = 0.0,
    weight_decay: float = 0.0,
) -> Iterator[Weights]:  # fmt: skip
    r"""$s_t = α s_{t-1} + (1 - α) g_t^2$, $w_{t+1} = w_t - η g_t / (\sqrt{s_t} + ε)$.

    Source: Tieleman & Hinton 2012, "Lecture 6.5: rmsprop", Coursera; momentum on the scaled gradient, slide 30.
    """
    s, v = np.zeros_like(w), np.zeros_like(w)
    while True:
        g = gradient(w) + weight_decay * w
        s = alpha * s + (1 - alpha) * g**2
        v = mu * v + g / (np.sqrt(s) + eps)
        w = w - lr * v
        yield w


def adam(
    w: Weights, gradient: Gradient, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0.0, decoupled: bool = False,
) -> Iterator[Weights]:  # fmt: skip
    r"""$w_t = w_{t-1} - η \hat m_t / (\sqrt{\hat v_t} + ε)$, the means freed of their start at zero.

    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
    """
    beta1, beta2 = betas
    m, v = np.zeros_like(w), np.zeros_like(w)
    t = 0
    while True:
        t += 1
        g = gradient(w)
        if decoupled:
            w = w - lr * weight_decay * w
        else:
            g = g + weight_decay * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        w = w - lr * m_hat / (np.sqrt(v_hat) + eps)
        yield w


def adamw(
    w: Weights, gradient: Gradient, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> Iterator[Weights]:  # fmt: skip
    """Adam, with the decay beside the gradient and not in it.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
    """
    return adam(w, gradient, lr, betas, eps, weight_decay, decoupled=True)


def muon(
    w: Weights, gradient: Gradient, lr: float, mu: float = 0.95, look_ahead: bool = True, steps: int = 5,
    weight_decay: float = 0.0, rounded: bool = True,
) -> Iterator[Weights]:  # fmt: skip
    r"""$w_{t+1} = w_t - η \sqrt{\max(1, m/n)}\, \mathrm{NS}(μ B_t + (1 - μ) g_t)$, $B_t = μ B_{t-1} + (1 - μ) g_t$.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
    """
    rows, columns = w.shape
    mean = np.zeros_like(w)
    while True:
        g = gradient(w)
        mean = mu * mean + (1 - mu) * g
        update = orthogonalized(mu * mean + (1 - mu) * g if look_ahead else mean, steps, rounded)
        w = w - lr * weight_decay * w
        w = w - lr * math.sqrt(max(1.0, rows / columns)) * update
        yield w


def orthogonalized(matrix: Weights, steps: int = 5, rounded: bool = True) -> Weights:
    r"""Return about $UV^⊤$ of $USV^⊤$: each step puts every singular value through $ax + bx^3 + cx^5$.

    The authors compute in bfloat16 (`rounded`), and that rounding is part of what is compared; without it the same in
    double precision.

    Source: Jordan et al. 2024, section "Newton-Schulz iteration"; a, b, c from there.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = torch.from_numpy(matrix).to(torch.bfloat16 if rounded else torch.float64)
    if upright := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if upright else x).double().numpy()

"""Convolution and pooling by hand, forward and backward, for one picture x (C, H, W)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]
Pair: TypeAlias = tuple[int, int]
Margins: TypeAlias = tuple[int, int, int, int]
"""Zeros above, below, left and right of a picture."""


def padded(x: Numbers, margins: Margins) -> Numbers:
    top, bottom, left, right = margins
    return np.pad(x, ((0, 0), (top, bottom), (left, right)))


def convolution(
    x: Numbers, w: Numbers, b: Numbers | None, stride: Pair = (1, 1), margins: Margins = (0, 0, 0, 0)
) -> Numbers:
    r"""Return $y_{k,r,s} = b_k + \sum_{c,u,v} w_{k,c,u,v} \, x_{c,\, r·S+u,\, s·S+v}$.

    The kernel is laid on every patch of the picture; products are summed over channels, rows and columns.

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", sec. II.A.
    """
    x = padded(x, margins)
    kernels, _, height, width = w.shape
    rows, columns = (x.shape[1] - height) // stride[0] + 1, (x.shape[2] - width) // stride[1] + 1
    y = np.zeros((kernels, rows, columns))
    for r in range(rows):
        for s in range(columns):
            top, left = r * stride[0], s * stride[1]
            patch = x[:, top : top + height, left : left + width]
            y[:, r, s] = np.sum(w * patch, axis=(1, 2, 3))
    return y if b is None else y + b[:, None, None]


def convolution_backward(
    x: Numbers, w: Numbers, dy: Numbers, stride: Pair = (1, 1), margins: Margins = (0, 0, 0, 0)
) -> tuple[Numbers, Numbers, Numbers]:
    r"""Return δx, δw and δb.

    Each place of the output gives its δy to the patch it saw, weighted by the kernel, and to the kernel, weighted
    by the patch: $δx_{patch} \mathrel{+}= w_k δy_{k,r,s}$, $δw_k \mathrel{+}= δy_{k,r,s} x_{patch}$,
    $δb_k = \sum_{r,s} δy_{k,r,s}$.
    """
    top_margin, _, left_margin, _ = margins
    shape = x.shape
    x = padded(x, margins)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    _, _, height, width = w.shape
    for r in range(dy.shape[1]):
        for s in range(dy.shape[2]):
            rows = slice(r * stride[0], r * stride[0] + height)
            columns = slice(s * stride[1], s * stride[1] + width)
            dx[:, rows, columns] += np.tensordot(dy[:, r, s], w, axes=1)
            dw += dy[:, r, s][:, None, None, None] * x[None, :, rows, columns]
    inside = dx[:, top_margin : top_margin + shape[1], left_margin : left_margin + shape[2]]
    return inside, dw, dy.sum(axis=(1, 2))


def max_pool(x: Numbers, kernel: Pair, stride: Pair) -> Numbers:
    """Return the largest number of each window."""
    rows, columns = (x.shape[1] - kernel[0]) // stride[0] + 1, (x.shape[2] - kernel[1]) // stride[1] + 1
    y = np.zeros((len(x), rows, columns))
    for r in range(rows):
        for s in range(columns):
            top, left = r * stride[0], s * stride[1]
            y[:, r, s] = x[:, top : top + kernel[0], left : left + kernel[1]].max(axis=(1, 2))
    return y


def max_pool_backward(x: Numbers, dy: Numbers, kernel: Pair, stride: Pair) -> Numbers:
    """Return δx: each window hands its δy to its largest number, the first where several are; the others get nothing."""
    dx = np.zeros_like(x)
    for c in range(len(x)):
        for r in range(dy.shape[1]):
            for s in range(dy.shape[2]):
                top, left = r * stride[0], s * stride[1]
                window = x[c, top : top + kernel[0], left : left + kernel[1]]
                u, v = np.unravel_index(np.argmax(window), window.shape)
                dx[c, top + u, left + v] += dy[c, r, s]
    return dx


def mean_pool(x: Numbers) -> Numbers:
    """Return the mean of each channel, (C, 1, 1).

    Source: Lin, Chen & Yan 2014, "Network in network", arXiv:1312.4400, sec. 3.2.
    """
    return x.mean(axis=(1, 2), keepdims=True)


def mean_pool_backward(x: Numbers, dy: Numbers) -> Numbers:
    """Return δx: every place has the same share in the mean, and gets the same share of δy."""
    return np.broadcast_to(dy / (x.shape[1] * x.shape[2]), x.shape).copy()

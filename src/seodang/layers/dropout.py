"""Dropout, with masks drawn four to a random number where that is faster; and drop path, which drops branches whole."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

STEPS = 1 << 16


def dropout(x: Float[Tensor, "*shape"], share: float, training: bool = True) -> Float[Tensor, "*shape"]:
    """Set each element to zero with probability `share` and scale the others up, so that the mean stays.

    On a CPU a mask takes 16 bits of each 64-bit random number: a fifth of the time of PyTorch's own, which draws
    one number per element (and which compiled code uses). The numbers come from torch's global generator.

    Source: Srivastava et al. 2014, "Dropout", JMLR 15; scaled while training, as everywhere since.
    Differs: on a CPU `share` is rounded to a multiple of 2⁻¹⁶, and the scale with it.
    """
    if not training or share == 0:
        return x
    dropped = round(share * STEPS)
    if x.device.type != "cpu" or dropped == STEPS or torch.compiler.is_compiling():
        return F.dropout(x, share)
    count = x.numel()
    numbers = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    mask = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(numbers.view(torch.int16)[:count].view(x.shape), dropped - STEPS // 2, out=mask)
    return x * mask.mul_(STEPS / (STEPS - dropped))


class Dropout(nn.Module):
    """Apply `dropout` while training."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return dropout(x, self.share, self.training)

    def extra_repr(self) -> str:
        return f"{self.share}"


def drop_path(x: Float[Tensor, "B ..."], share: float, training: bool = True) -> Float[Tensor, "B ..."]:
    r"""Set what a residual branch adds to zero, for each example with probability `share`, and scale the others up.

    $y = x + \frac{b}{1 - p}\,f(x)$ with $b$ drawn once per example, 1 with probability $1 - p$; $y = x + f(x)$ afterwards.

    Source: Huang et al. 2016, "Deep networks with stochastic depth", arXiv:1603.09382, sec. 3, eq. 2; per example as in
    Larsson, Maire & Shakhnarovich 2017, "FractalNet", arXiv:1605.07648, and timm.
    Differs: the paper drops a branch for the whole batch, and multiplies by $1 - p$ when testing instead of dividing by
    it while training; the expectation is the same.
    """
    if not training or share == 0:
        return x
    kept = torch.empty((len(x), *[1] * (x.ndim - 1)), dtype=x.dtype, device=x.device).bernoulli_(1 - share)
    return x * kept.div_(1 - share)


class DropPath(nn.Module):
    """Apply `drop_path` to what a residual branch adds, while training."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        return drop_path(x, self.share, self.training)

    def extra_repr(self) -> str:
        return f"{self.share:.4g}"


def drop_path_shares(largest: float, depth: int) -> Iterator[float]:
    """Yield the share of each of `depth` branches, rising linearly from `largest` / `depth` to `largest`.

    Source: Huang et al. 2016, arXiv:1603.09382, eq. 4: the input survives always, the last branch least.
    """
    yield from (largest * (index + 1) / depth for index in range(depth))  # no list: a foreign record may say 10**9

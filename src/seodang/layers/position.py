"""Where a token stands: learned and sinusoidal positions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoidal(length: int, embed_dim: int) -> Float[Tensor, "T D"]:
    r"""Return $PE_{t,2i} = \sin(t / 10000^{2i/D})$ and $PE_{t,2i+1} = \cos(t / 10000^{2i/D})$.

    Source: Vaswani et al. 2017, "Attention is all you need", arXiv:1706.03762, sec. 3.5.
    """
    places = torch.arange(length, dtype=torch.float64)[:, None]
    rates = 10000.0 ** (-torch.arange(0, embed_dim, 2, dtype=torch.float64) / embed_dim)
    angles = places * rates
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return waves[:, :embed_dim].float()


class SinusoidalPosition(nn.Module):
    """Waves of geometrically growing length, fixed.

    Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.5.
    """

    def __init__(self, max_len: int, embed_dim: int) -> None:
        super().__init__()
        self.max_len = max_len
        self.register_buffer("weight", sinusoidal(max_len, embed_dim), persistent=False)

    def forward(self, length: int, start: int = 0) -> Float[Tensor, "T D"]:
        """Return the vectors of `length` positions from `start` on."""
        _check_room(start + length, self.max_len)
        return self.weight[start : start + length]


class LearnedPosition(nn.Module):
    """One trained vector for each position.

    Source: Gehring et al. 2017, "Convolutional sequence to sequence learning", arXiv:1705.03122, sec. 3.1.
    """

    def __init__(self, max_len: int, embed_dim: int) -> None:
        super().__init__()
        self.max_len = max_len
        self.weight = nn.Parameter(torch.empty(max_len, embed_dim))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, length: int, start: int = 0) -> Float[Tensor, "T D"]:
        """Return the vectors of `length` positions from `start` on."""
        _check_room(start + length, self.max_len)
        return self.weight[start : start + length]


def _check_room(end: int, max_len: int) -> None:
    if end > max_len:
        raise ValueError(f"{end} tokens, but the model has positions for {max_len}")

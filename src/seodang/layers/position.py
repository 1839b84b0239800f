"""Where a token stands: learned and sinusoidal positions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoidal(length: int, embed_dim: int) -> Float[Tensor, "T D"]:
    r"""Return $PE_{t,2i} = \sin(t / 10000^{2i/D})$ and $PE_{t,2i+1} = \cos(t / 10000^{2i/D})$.

    Source: Vaswani et al. 2017, "Attention is all you need", arXiv:1706.03762, sec. 3.5.
    """
    rates = 10000.0 ** (-torch.arange(0, embed_dim, 2, dtype=torch.float64) / embed_dim)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return waves[:, :embed_dim].float()


class SinusoidalPosition(nn.Module):
    """Waves of geometrically growing length, fixed.

    Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.5.
    """

    weight: Tensor

    def __init__(self, max_len: int, embed_dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", sinusoidal(max_len, embed_dim), persistent=False)

    def forward(self, x: Float[Tensor, "B T D"], start: int = 0) -> Float[Tensor, "B T D"]:
        """Add to each row its position; the first stands at `start`."""
        return x + places(self.weight, start, x.shape[1])


class LearnedPosition(nn.Module):
    """One trained vector for each position.

    Source: Gehring et al. 2017, "Convolutional sequence to sequence learning", arXiv:1705.03122, sec. 3.1.
    """

    def __init__(self, max_len: int, embed_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_len, embed_dim))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Float[Tensor, "B T D"], start: int = 0) -> Float[Tensor, "B T D"]:
        """Add to each row its position; the first stands at `start`."""
        return x + places(self.weight, start, x.shape[1])


def places(table: Float[Tensor, "P D"], start: int, length: int) -> Float[Tensor, "T D"]:
    """Return the vectors of `length` positions from `start` on.

    Raises: ValueError if there are fewer.
    """
    if start + length > len(table):
        raise ValueError(f"{start + length} tokens, but the model has positions for {len(table)}")
    return table[start : start + length]

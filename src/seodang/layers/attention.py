"""Scaled dot-product attention: fused when nobody looks, step by step and noted while recording.

Letters: N heads, K the width of one head, S source positions (keys and values).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seodang.core.errors import ConfigError
from seodang.layers.dropout import dropout as drop
from seodang.layers.record import note, recording

FEW_SCORES = 512 * 512
"""Scores per head up to which separate products beat PyTorch's fused kernel on a CPU in bfloat16.

Measured on one core, forward and backward: 22 ms against 70 at 128 positions (32 × 3 heads of 64), 30 against 84
at 256, 181 against 240 at 512, 350 against 305 at 1,024. In float32 the fused kernel is the faster one.
"""


def attend(
    query: Float[Tensor, "B N T K"],
    key: Float[Tensor, "B N S K"],
    value: Float[Tensor, "B N S K"],
    mask: Bool[Tensor, "#B #N #T S"] | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Float[Tensor, "B N T K"]:
    r"""Return $\mathrm{softmax}(QK^\top / \sqrt{K})\,V$ for every head.

    `mask` is True where a position may be attended to. `causal`: the queries are the last T of the S positions,
    and none sees a later one. A query that may see nothing gets zeros.

    While recording, or where it is faster, the product is taken step by step, and the weights are noted as
    ``weights`` (B, N, T, S); otherwise PyTorch's fused kernel runs. Equal within 1e-6 in float32.

    Source: Vaswani et al. 2017, "Attention is all you need", arXiv:1706.03762, sec. 3.2.1.
    Differs: dropout on the weights as in the authors' code; the paper does not mention it.
    """
    if recording() or _products_are_faster(query, key, dropout):
        return _attend_by_products(query, key, value, mask, causal, dropout)
    length, size = query.shape[-2], key.shape[-2]
    if causal and (mask is not None or length != size):
        mask, causal = _allowed(query, size, mask, causal), False
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=causal)


def causal_mask(length: int, size: int, device: torch.device | None = None) -> Bool[Tensor, "T S"]:
    """Return which of `size` positions each of the last `length` may see: itself and what came before."""
    return torch.ones(length, size, dtype=torch.bool, device=device).tril(size - length)


def _products_are_faster(query: Tensor, key: Tensor, dropout: float) -> bool:
    if query.device.type != "cpu":
        return False
    few = query.shape[-2] * key.shape[-2] <= FEW_SCORES
    return dropout > 0 or (few and query.dtype == torch.bfloat16)


def _attend_by_products(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    batch, heads, length, width = query.shape
    size = key.shape[-2]
    query, key, value = (x.reshape(batch * heads, -1, width) for x in (query, key, value))
    allowed = _allowed(query, size, mask, causal)
    bias = torch.zeros((), dtype=query.dtype, device=query.device)
    if allowed is not None:
        bias = bias.masked_fill(~allowed, torch.finfo(query.dtype).min / 2)
    if mask is not None:
        bias = bias.expand(batch, heads, length, size).flatten(0, 1)
    scores = torch.baddbmm(bias.expand(batch * heads, length, size), query, key.mT, alpha=width**-0.5)
    weights = scores.softmax(-1)
    if mask is not None and allowed is not None:  # a row without anything to see
        weights = weights * allowed.any(-1, keepdim=True).expand(batch, heads, length, 1).flatten(0, 1)
    note("weights", weights.unflatten(0, (batch, heads)))
    return torch.bmm(drop(weights, dropout), value).unflatten(0, (batch, heads))


def _allowed(query: Tensor, size: int, mask: Tensor | None, causal: bool) -> Tensor | None:
    length = query.shape[-2]
    if not causal or length == 1:
        return mask
    earlier = causal_mask(length, size, query.device)
    return earlier if mask is None else mask & earlier


class KeyValueCache:
    """The keys and values one attention layer has seen, so that a new token costs one row, not all of them."""

    def __init__(self, max_len: int) -> None:
        self.max_len, self.length = max_len, 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def extend(
        self, key: Float[Tensor, "B N T K"], value: Float[Tensor, "B N T K"]
    ) -> tuple[Float[Tensor, "B N S K"], Float[Tensor, "B N S K"]]:
        """Add T positions and return all there are.

        Raises: ValueError if they do not fit.
        """
        start, end = self.length, self.length + key.shape[-2]
        if end > self.max_len:
            raise ValueError(f"a cache of {self.max_len} positions cannot take position {end}")
        if self._keys is None or self._values is None:
            batch, heads, _, width = key.shape
            self._keys = key.new_empty(batch, heads, self.max_len, width)
            self._values = torch.empty_like(self._keys)
        self._keys[:, :, start:end], self._values[:, :, start:end] = key, value
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]


class MultiHeadAttention(nn.Module):
    r"""Attend with several heads to the input itself: $\mathrm{Concat}(head_1 \ldots head_N)\,W^O$.

    Queries, keys and values are one matrix product.

    Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.2.2.
    Shapes: x (B, T, D) → (B, T, D).
    Differs: the four projections may have biases, as in GPT and BERT; the paper's have none.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, bias: bool = True, dropout: float = 0.0, causal: bool = False
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ConfigError(
                "model.num_heads={heads}: embed_dim={width} cannot be divided into that many equal heads.",
                heads=num_heads, width=embed_dim)  # fmt: skip
        self.num_heads, self.dropout, self.causal = num_heads, dropout, causal
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=bias)
        self.output = nn.Linear(embed_dim, embed_dim, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "#B #N #T S"] | None = None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "B T D"]:
        query, key, value = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if cache is not None:
            key, value = cache.extend(key, value)
        attended = attend(query, key, value, mask, self.causal, self.dropout if self.training else 0.0)
        return self.output(attended.transpose(1, 2).flatten(2))

"""The blocks transformers are stacked from."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn

from seodang.layers.activation import ACTIVATIONS, ActivationName
from seodang.layers.attention import KeyValueCache, MultiHeadAttention
from seodang.layers.dropout import Dropout, DropPath

GELUName = Literal["exact", "tanh"]


class FeedForward(nn.Module):
    r"""The same two dense layers at every position: $W_2\,g(W_1 x)$.

    Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.3; GELU Hendrycks & Gimpel 2016, arXiv:1606.08415.
    Differs: GELU where Vaswani et al. have ReLU, unless another non-linearity is named; ``"gelu-tanh"`` is the
    approximation GPT was published with.
    """

    def __init__(
        self, embed_dim: int, feedforward_dim: int, bias: bool = True, activation: ActivationName = "gelu"
    ) -> None:
        super().__init__()
        self.expand = nn.Linear(embed_dim, feedforward_dim, bias=bias)
        self.activation = ACTIVATIONS[activation]()
        self.contract = nn.Linear(feedforward_dim, embed_dim, bias=bias)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.contract(self.activation(self.expand(x)))


class TransformerBlock(nn.Module):
    r"""Self-attention, then a feed-forward layer, each added to its input: $x + f(\mathrm{norm}(x))$.

    Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.1; normalised before instead of after, as in
    Radford et al. 2019, "Language models are unsupervised multitask learners", sec. 2.3; either branch may be dropped
    whole for an example, Huang et al. 2016, arXiv:1603.09382, eq. 2.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, feedforward_dim: int, bias: bool = True, dropout: float = 0.0,
        attention_dropout: float = 0.0, causal: bool = False, activation: ActivationName = "gelu",
        drop_path: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.attention_norm = nn.LayerNorm(embed_dim, bias=bias)
        self.attention = MultiHeadAttention(embed_dim, num_heads, bias, attention_dropout, causal)
        self.feedforward_norm = nn.LayerNorm(embed_dim, bias=bias)
        self.feedforward = FeedForward(embed_dim, feedforward_dim, bias, activation)
        self.dropout = Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "#B #N #T S"] | None = None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "B T D"]:
        x = x + self.drop_path(self.dropout(self.attention(self.attention_norm(x), mask, cache)))
        return x + self.drop_path(self.dropout(self.feedforward(self.feedforward_norm(x))))

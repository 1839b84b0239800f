"""GPT: a stack of masked self-attention that tells the next token."""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.layers.activation import ActivationName
from seodang.layers.attention import KeyValueCache
from seodang.layers.dropout import Dropout, drop_path_shares
from seodang.layers.position import LearnedPosition
from seodang.layers.transformer import GELUName, TransformerBlock
from seodang.models.base import Architecture, architectures


class GPTConfig(Config):
    """Sizes of the network."""

    vocab_size: int = Field(50257, gt=0)
    """Tokens it knows."""
    num_layers: int = Field(12, gt=0)
    """Transformer blocks."""
    num_heads: int = Field(12, gt=0)
    """Attention heads per block; they share `embed_dim` equally."""
    embed_dim: int = Field(768, gt=0)
    """Width of a token's vector."""
    max_len: int = Field(1024, gt=0)
    """Tokens it can see at once."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of embeddings and of what each layer adds, silenced while training."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of attention weights silenced while training."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Share of examples the last block leaves as they are while training, fewer in proportion for those before it."""
    bias: bool = True
    """Whether dense layers and normalisations have biases."""
    tied: bool = True
    """Whether the vectors that read tokens are also those that tell them."""
    gelu: GELUName = "tanh"
    """The non-linearity, or the approximation GPT-2 was published with (on a CPU in bfloat16 four times slower)."""
    activation: ActivationName | None = None
    """Non-linearity of the feed-forward layers, in place of GELU."""
    init_std: float = Field(0.02, gt=0)
    """Spread of the initial weights; narrow networks start better with more."""


SIZES = {
    "gpt": GPTConfig(
        vocab_size=256, num_layers=4, num_heads=4, embed_dim=128, max_len=256, gelu="exact", init_std=0.05
    ),
    "gpt2": GPTConfig(dropout=0.1, attention_dropout=0.1),
    "gpt2-medium": GPTConfig(num_layers=24, num_heads=16, embed_dim=1024, dropout=0.1, attention_dropout=0.1),
    "gpt2-large": GPTConfig(num_layers=36, num_heads=20, embed_dim=1280, dropout=0.1, attention_dropout=0.1),
    "gpt2-xl": GPTConfig(num_layers=48, num_heads=25, embed_dim=1600, dropout=0.1, attention_dropout=0.1),
}


@architectures.register(SIZES)
class GPT(Architecture):
    r"""Predict the next token from those before it, by masked self-attention (GPT-2).

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", sec. 2.3 and table 2;
    GELU, learned positions and dropout from Radford et al. 2018, "Improving language understanding by generative
    pre-training", sec. 4.1; `drop_path` Huang et al. 2016, arXiv:1603.09382, eq. 2 and 4.
    Shapes: tokens (B, T) → logits (B, T, V); T is at most max_len.
    Differs: positions start as spread as all weights (OpenAI's code: half). The paper's table 2 gives 117M, 345M
    and 762M parameters; the released models, and these, have 124M, 355M and 774M.
    """

    takes: ClassVar[tuple[str, ...]] = ("tokens",)
    blocks: ClassVar[tuple[type[nn.Module], ...]] = (TransformerBlock,)
    tied: ClassVar[tuple[tuple[str, str], ...]] = (("embedding.weight", "head.weight"),)
    example: ClassVar[dict[str, Any]] = {
        "vocab_size": 11, "num_layers": 2, "num_heads": 2, "embed_dim": 8, "max_len": 6,
    }  # fmt: skip

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.embed_dim
        self.embedding = nn.Embedding(config.vocab_size, width)
        self.position = LearnedPosition(config.max_len, width)
        self.dropout = Dropout(config.dropout)
        activation: ActivationName = config.activation or ("gelu-tanh" if config.gelu == "tanh" else "gelu")
        self.layers = nn.ModuleList(
            TransformerBlock(width, config.num_heads, 4 * width, config.bias, config.dropout,
                             config.attention_dropout, causal=True, activation=activation, drop_path=share)
            for share in drop_path_shares(config.drop_path, config.num_layers)
        )  # fmt: skip
        self.norm = nn.LayerNorm(width, bias=config.bias)
        self.head = nn.Linear(width, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.embedding.weight
        self.initialize()

    def initialize(self) -> None:
        r"""Draw weights N(0, init_std²), the last of each residual branch $1/\sqrt{2L}$ as spread; biases are zero."""
        std = self.config.init_std
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif name.endswith(("attention.output.weight", "feedforward.contract.weight")):
                nn.init.normal_(weight, std=std / (2 * self.config.num_layers) ** 0.5)
            elif "norm" not in name:
                nn.init.normal_(weight, std=std)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        return self.head(self._hidden(tokens, [None] * len(self.layers)))

    def caches(self) -> list[KeyValueCache]:
        """Return empty caches for `decode`, one per block."""
        return [KeyValueCache(self.config.max_len) for _ in self.layers]

    def decode(self, tokens: Int[Tensor, "B T"], caches: list[KeyValueCache]) -> Float[Tensor, "B V"]:
        """Read `tokens` after those the caches hold, and return the logits of the one that follows."""
        return self.head(self._hidden(tokens, caches)[:, -1])

    def _hidden(self, tokens: Tensor, caches: list[KeyValueCache] | list[None]) -> Float[Tensor, "B T D"]:
        start = caches[0].length if caches[0] is not None else 0
        x = self.dropout(self.position(self.embedding(tokens), start))
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, cache=cache)
        return self.norm(x)

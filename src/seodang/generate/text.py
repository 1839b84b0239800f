"""Continue a text: one token after another, drawn from what the model expects next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from pydantic import Field
from tokenizers import Tokenizer
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.layers.attention import KeyValueCache

KEPT = 0.75
"""Share of the context that is read again when it is full."""
INCOMPLETE = "\ufffd"
"""What the decoder writes for bytes that are no character, or not one yet."""


class Sampling(Config):
    """How the next token is chosen, and when to stop."""

    max_tokens: int = Field(300, gt=0)
    """Tokens to add at most."""
    temperature: float = Field(0.8, ge=0)
    """Below 1 keeps to what is likely, above 1 dares more; 0 always takes the likeliest token."""
    top_k: int | None = Field(None, gt=0)
    """Choose among this many of the likeliest tokens."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Choose among the fewest tokens that together have this probability."""
    repetition_penalty: float = Field(1.0, ge=1)
    """How much less likely tokens become that are already there; 1 leaves them alone."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end the continuation; they are not part of it."""
    seed: int = Field(0, ge=0)
    """Equal seeds give equal texts."""


@runtime_checkable
class Decoder(Protocol):
    """A model that remembers what it has read."""

    def caches(self) -> list[KeyValueCache]: ...

    def decode(self, tokens: Tensor, caches: list[KeyValueCache]) -> Tensor: ...


def generate(
    model: nn.Module, tokens: Int[Tensor, "B T"], sampling: Sampling, max_len: int, cached: bool = True
) -> Iterator[Int[Tensor, " B"]]:
    """Yield the next token of each row, `sampling.max_tokens` times. The model is in evaluation mode.

    With a key-value cache a token costs one position, not all of them. When the model's `max_len` positions are
    full, the newest three quarters are read again from position 0, and it goes on from there. A model that has no
    `decode`, or `cached=False`, reads everything in each step; the tokens are the same.

    Differs: other programs drop the oldest token alone, which with learned positions costs a whole reading each time.
    """
    decoder: Decoder | None = model if cached and isinstance(model, Decoder) else None
    generator = torch.Generator().manual_seed(sampling.seed)
    past = tokens
    window = past[:, -max_len:]
    fresh, caches = window, decoder.caches() if decoder else []
    for count in range(sampling.max_tokens):
        with torch.inference_mode():
            logits = decoder.decode(fresh, caches) if decoder else model(window)[:, -1]
            chosen = next_token(logits.float().cpu(), past.cpu(), sampling, generator)
        chosen = chosen.to(tokens.device)
        yield chosen
        if count + 1 == sampling.max_tokens:
            return
        past = torch.cat([past, chosen[:, None]], dim=1)
        if window.shape[1] < max_len:
            window, fresh = torch.cat([window, chosen[:, None]], dim=1), chosen[:, None]
        else:
            window = fresh = past[:, -max(1, int(max_len * KEPT)) :]
            caches = decoder.caches() if decoder else []


def next_token(
    logits: Float[Tensor, "B V"], past: Int[Tensor, "B T"], sampling: Sampling, generator: torch.Generator
) -> Int[Tensor, " B"]:
    """Draw the next token of each row from its logits.

    Source: top-k Fan et al. 2018, "Hierarchical neural story generation", arXiv:1805.04833, sec. 5.1; top-p (nucleus)
    Holtzman et al. 2020, "The curious case of neural text degeneration", arXiv:1904.09751, sec. 3.1; repetition
    penalty Keskar et al. 2019, "CTRL", arXiv:1909.05858, sec. 4.1.
    Differs: the penalty multiplies negative logits instead of dividing them, as everywhere since.
    """
    if sampling.repetition_penalty > 1:
        seen = logits.gather(1, past)
        factor = sampling.repetition_penalty
        logits = logits.scatter(1, past, torch.where(seen > 0, seen / factor, seen * factor))
    if sampling.temperature == 0:
        return logits.argmax(-1)
    logits = logits / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    probabilities = logits.softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        ranked, order = probabilities.sort(stable=True, dim=-1, descending=True)
        before = ranked.cumsum(-1) - ranked
        probabilities = torch.zeros_like(probabilities).scatter(1, order, ranked.where(before < sampling.top_p, 0))
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


def continue_text(
    model: nn.Module, tokenizer: Tokenizer, prompt: Sequence[int], sampling: Sampling, max_len: int
) -> Iterator[str]:
    """Yield the continuation of `prompt` in pieces, as they come; joined, they are the whole of it."""
    device = next(model.parameters()).device
    tokens = torch.tensor([list(prompt)], device=device)
    chosen = (int(token) for (token,) in generate(model, tokens, sampling, max_len))
    return until(text_of(tokenizer, chosen), sampling.stop)


def text_of(tokenizer: Tokenizer, tokens: Iterable[int]) -> Iterator[str]:
    """Yield the text of tokens as they come, whole characters only: one may take several tokens."""
    shown: list[int] = []
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        text = _added(tokenizer, shown, waiting)
        if text and not text.endswith(INCOMPLETE):
            yield text
            shown, waiting = waiting, []
    if waiting and (text := _added(tokenizer, shown, waiting)):
        yield text


def _added(tokenizer: Tokenizer, shown: list[int], waiting: list[int]) -> str:
    """Return what `waiting` adds to the text of the tokens before it, on which spacing may depend."""
    before = tokenizer.decode(shown, skip_special_tokens=False)
    return tokenizer.decode(shown + waiting, skip_special_tokens=False)[len(before) :]


def until(pieces: Iterable[str], stop: Sequence[str]) -> Iterator[str]:
    """Yield the text up to the first of `stop`, holding back what may be the beginning of one."""
    held = ""
    for piece in pieces:
        held += piece
        ends = [place for text in stop if (place := held.find(text)) >= 0]
        if ends:
            if min(ends):
                yield held[: min(ends)]
            return
        kept = max((size for text in stop for size in range(1, len(text)) if held.endswith(text[:size])), default=0)
        if shown := held[: len(held) - kept]:
            yield shown
        held = held[len(held) - kept :]
    if held:
        yield held

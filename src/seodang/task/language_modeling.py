"""Language modelling: which token comes next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seodang.core.errors import DataError
from seodang.core.inputs import TokenInputs
from seodang.data.dataset import Batch, Dataset, in_order, map_tensors
from seodang.data.tokenizers import encode, read_tokenizer
from seodang.generate.text import Sampling, continue_text
from seodang.task.base import Prediction, Tally, Task, tasks
from seodang.task.losses import cross_entropy
from seodang.task.mixing import Unmixable

SCORED_LOGITS = 1 << 24
"""Logits computed at once when nothing is trained: 64 MB in float32."""
SCORED_TOKENS = 1 << 13
"""Tokens scored at once; more fit a processor's caches less well."""
COUNTED_PAIRS = 1 << 24
"""Pairs of tokens the baseline keeps counts of, at most."""


class LanguageModelingConfig(Unmixable):
    """Nothing to set: the next token's likelihood is all there is."""


@tasks.register({"language-modeling": LanguageModelingConfig()})
class LanguageModeling(Task):
    """Tell the next token at every place of a text, by cross-entropy; continue a text.

    Source: Shannon 1951, "Prediction and entropy of printed English"; Bengio et al. 2003, "A neural probabilistic
    language model", JMLR 3, sec. 2.
    Units: loss in nats per token (with a character tokenizer, per character); bits are loss / ln 2.
    """

    takes: ClassVar[tuple[str, ...]] = ("tokens",)
    options: ClassVar[tuple[str, ...]] = tuple(Sampling.fields())
    monitor: ClassVar[tuple[str, str]] = ("loss", "min")
    counts: ClassVar[str] = "tokens"
    answers: ClassVar[str] = "tokens"

    def size(self, batch: Batch) -> Tensor | int:
        return (batch[1] >= 0).sum()

    def losses(self, model: nn.Module, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        tokens, targets = batch
        yield "model", cross_entropy(model(tokens), targets)

    def score(self, model: nn.Module, batch: Batch) -> dict[str, Tally]:
        """Return the loss, computed a few rows at a time: logits of a large vocabulary take much room."""
        length = max(1, batch[0].shape[1])
        rows = max(1, min(SCORED_LOGITS // (length * self._inputs.vocab_size), SCORED_TOKENS // length))
        total = torch.zeros((), dtype=torch.float32, device=batch[0].device)
        for first in range(0, len(batch[0]), rows):
            part = map_tensors(batch, lambda field, first=first: field[first : first + rows])
            total += next(self.losses(model, part))[1]
        return {"loss": Tally(total, self.size(batch))}

    def finish(self, scores: dict[str, float]) -> dict[str, float]:
        """Add perplexity and bits per token."""
        loss = scores["loss"]
        return {**scores, "perplexity": math.exp(min(loss, 700.0)), "bits": loss / math.log(2)}

    def baseline(self, data: Dataset, split: str) -> dict[str, float] | None:
        """Return what counting pairs of tokens in the training part scores: add-one smoothed bigrams."""
        kinds = self._inputs.vocab_size
        if kinds**2 > COUNTED_PAIRS or "train" not in data.facts.sizes:
            return None
        counts = torch.ones(kinds, kinds, dtype=torch.float64)
        for tokens, targets in in_order(data.split("train"), 256):
            counts += _pairs(tokens, targets, kinds)
        logs = (counts / counts.sum(-1, keepdim=True)).log()
        seen = torch.zeros_like(counts)
        for tokens, targets in in_order(data.split(split), 256):
            seen += _pairs(tokens, targets, kinds)
        return {"loss (bigrams)": -(seen * logs).sum().item() / seen.sum().item()}

    def predict(
        self, model: nn.Module, inputs: str, stream: Callable[[str], object] | None = None, **options: Any
    ) -> Prediction:
        """Return the prompt `inputs` and its continuation; equal options give equal texts.

        `options` are those of `Sampling`: max_tokens, temperature, top_k, top_p, repetition_penalty, stop, seed.
        `stream` is called with each piece of the continuation as soon as it is there.

        Raises: ConfigError on an unknown option; DataError on a prompt that is empty, longer than the context, or
        has a character the model does not know.
        """
        stop = options.get("stop")
        sampling = Sampling.of(options | ({"stop": (stop,)} if isinstance(stop, str) else {}), where="predict")
        tokenizer = read_tokenizer(self._inputs.tokenizer)
        prompt = encode(tokenizer, inputs, where="the prompt").tolist()
        if not prompt:
            raise DataError("The prompt is empty. Give the beginning of a text to continue.")
        if len(prompt) > self._inputs.length:
            raise DataError("The prompt has {found} tokens, but the model sees {limit} at once. Shorten it.",
                            found=len(prompt), limit=self._inputs.length)  # fmt: skip
        written: list[str] = []
        for piece in continue_text(model.eval(), tokenizer, prompt, sampling, self._inputs.length):
            written.append(piece)
            if stream is not None:
                stream(piece)
        continuation = "".join(written)
        values = {"prompt": inputs, "continuation": continuation, **sampling.values(), "stop": list(sampling.stop)}
        return Prediction(inputs + continuation, values)

    @property
    def _inputs(self) -> TokenInputs:
        assert isinstance(self.facts.inputs, TokenInputs)
        return self.facts.inputs


def _pairs(tokens: Tensor, targets: Tensor, kinds: int) -> Tensor:
    """Return how often each token follows each, (V, V)."""
    counted = targets >= 0
    pairs = tokens[counted] * kinds + targets[counted]
    return torch.bincount(pairs, minlength=kinds * kinds).view(kinds, kinds).double()

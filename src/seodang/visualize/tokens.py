"""What a language model expects: a passage shaded by its chances, loss along the context, attention, its alphabet."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from seodang.core.errors import DataError
from seodang.core.inputs import TokenInputs
from seodang.core.language import say
from seodang.data.dataset import Dataset
from seodang.data.tokenizers import encode, read_tokenizer
from seodang.task.base import Task
from seodang.visualize.answers import MOST, held_out_split
from seodang.visualize.figure import Axis, Bars, Figure, Lines, Passage, Scatter, Series
from seodang.visualize.history import split_name
from seodang.visualize.inside import attention_figures, recorded
from seodang.visualize.scale import percent

WINDOWS, FEWER = 32, 16
"""Windows of text that are read: at most so many, and a sixteenth of the examples that may be examined."""
SHOWN_TOKENS = 320
ATTENDED = 18
CANDIDATES = 5
PROMPT_TOKENS, WRITTEN_TOKENS = 16, 400
INCOMPLETE, BYTES_OF_A_LETTER = "\ufffd", 4
MOST_VOCABULARY = 128
"""Larger vocabularies are not drawn as a plane: nobody could read it."""


class Reader(NamedTuple):
    """Turns token numbers to text and back, with the tokenizer that travels with the weights."""

    inputs: TokenInputs
    tokenizer: Tokenizer | None

    @classmethod
    def of(cls, inputs: TokenInputs) -> Reader:
        return cls(inputs, Tokenizer.from_str(inputs.tokenizer) if inputs.tokenizer else None)

    def text(self, token: int) -> str:
        if self.tokenizer is None:
            return f"{token} "
        return self.tokenizer.decode([token], skip_special_tokens=False)

    def whole(self, tokens: list[int]) -> str:
        """Return the text of many tokens: what a tokenizer joins is joined."""
        if self.tokenizer is None:
            return "".join(self.text(token) for token in tokens)
        return self.tokenizer.decode(tokens, skip_special_tokens=False)

    def name(self, token: int) -> str:
        """Return the token so that it can be seen: spaces and line ends as signs."""
        return self.text(token).replace("\n", "↵").replace(" ", "␣").replace("\t", "⇥") or f"#{token}"

    def tokens(self, text: str) -> Tensor:
        """Return the numbers of a text's tokens.

        Raises: DataError if there are none, or it has letters the model does not know.
        """
        found = torch.from_numpy(
            encode(read_tokenizer(self.inputs.tokenizer), text, where=say("the text")).astype(np.int64)
        )
        if not len(found):
            raise DataError("The text is empty. Give a few words to look at.")
        return found


def token_figures(model: nn.Module, task: Task, data: Dataset, most: int = MOST) -> list[Figure]:
    """Return what there is to see of a model that tells the next token, where `most` examples may be examined."""
    inputs, split = task.facts.inputs, held_out_split(data)
    if not isinstance(inputs, TokenInputs) or split is None:
        return []
    reader = Reader.of(inputs)
    examples = data.split(split)
    rows = torch.linspace(0, len(examples) - 1, min(WINDOWS, max(most // FEWER, 1), len(examples))).round().long()
    tokens, targets = examples.batch(rows, None)[:2]
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    with torch.no_grad():
        logits = torch.cat([model(part.to(device)).float().cpu() for part in tokens.split(8)])
    chances = logits[0].softmax(-1)
    figures: list[Figure] = [
        *continuation(model, task, reader, tokens[0]),
        surprise(reader, tokens[0], targets[0], chances),
        next_tokens(reader, tokens[0], chances),
        loss_along_context(logits, targets, split),
        *attention_of(model, reader, tokens[0, :ATTENDED]),
    ]
    return [*figures, *alphabet(model, reader)]


def text_figures(model: nn.Module, inputs: TokenInputs, text: str) -> list[Figure]:
    """Return what a model that tells the next token makes of a text a person wrote.

    Raises: DataError for an empty text, or one with letters the model does not know.
    """
    reader = Reader.of(inputs)
    tokens = reader.tokens(text)[-inputs.length :]
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    with torch.no_grad():
        chances = model(tokens[None].to(device))[0].float().softmax(-1).cpu()
    passage = [surprise(reader, tokens[:-1], tokens[1:], chances[:-1])] if len(tokens) > 1 else []
    return [*passage, next_tokens(reader, tokens, chances), *attention_of(model, reader, tokens[:ATTENDED])]


def continuation(model: nn.Module, task: Task, reader: Reader, tokens: Tensor) -> list[Figure]:
    """Return how the model goes on after the first tokens of a held-out passage."""
    prompt = reader.whole(tokens[:PROMPT_TOKENS].tolist()).strip(INCOMPLETE)
    if not prompt or reader.tokenizer is None:
        return []
    wanted = {"max_tokens": WRITTEN_TOKENS, "temperature": 0.8, "seed": 0}
    options = {name: value for name, value in wanted.items() if name in task.options}
    text = task.predict(model, prompt, **options).text
    chosen = ", ".join(f"{name} {value}" for name, value in options.items())
    return [
        Passage(say("What it writes"), say("A text of {count} letters.", count=len(text)),
                ((prompt, 0.25, say("given")), (text.removeprefix(prompt), None, "")),
                about=say("It was given the shaded words and wrote the rest ({options}).", options=chosen),
                name="text")
    ]  # fmt: skip


def surprise(reader: Reader, tokens: Tensor, targets: Tensor, chances: Tensor) -> Passage:
    """Return a passage, each token but the first shaded by the probability the model gave it."""
    pieces: list[tuple[str, float | None, str]] = [(reader.text(int(tokens[0])), None, "")]
    begun: list[int] = []
    chance = 1.0
    for place in range(min(SHOWN_TOKENS, len(targets))):
        target = int(targets[place])
        if target < 0:
            continue
        begun.append(target)
        chance *= float(chances[place, target])
        text = reader.whole(begun)
        if INCOMPLETE in text and len(begun) < BYTES_OF_A_LETTER:
            continue  # a letter of several bytes is shown when its last is there
        best = chances[place].topk(min(CANDIDATES, chances.shape[-1]))
        note = "  ".join(f"{reader.name(int(token))} {percent(float(value))}"
                         for value, token in zip(best.values, best.indices, strict=True))  # fmt: skip
        pieces.append((text, chance, note))
        begun, chance = [], 1.0
    return Passage(
        say("What it expects"), say("A passage of {count} tokens.", count=len(pieces)),
        tuple(pieces),
        about=say("The darker a token, the higher the probability the model gave it from what stands before; "
                  "the mouse shows what it expected there."), name="expected")  # fmt: skip


def next_tokens(reader: Reader, tokens: Tensor, chances: Tensor) -> Bars:
    """Return the most probable tokens after the whole passage."""
    best = chances[-1].topk(min(10, chances.shape[-1]))
    before = "".join(reader.text(int(token)) for token in tokens[-40:]).replace("\n", "↵")
    return Bars(
        say("The next token"), say("Most probable: {token}.", token=reader.name(int(best.indices[0]))),
        tuple(reader.name(int(token)) for token in best.indices), tuple(best.values.tolist()),
        Axis(say("probability"), percent=True), about=say("After “…{text}”", text=before),
        name="next-token")  # fmt: skip


def loss_along_context(logits: Tensor, targets: Tensor, split: str) -> Lines:
    """Return the mean loss at each place of the context: it falls where more context helps."""
    losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-1, reduction="none")
    counts = (targets >= 0).sum(0).clamp(min=1)
    means = (losses.sum(0) / counts).tolist()
    places = [0, *(2**power for power in range(20) if 2**power < len(means)), len(means)]
    x, y = [], []
    for first, last in pairwise(places):
        x.append(float(last))
        y.append(sum(means[first:last]) / (last - first))
    return Lines(
        say("Does context help?"), say("Mean loss from the first token to the last: {first:.2f} to {last:.2f} nats.",
                                       first=y[0], last=y[-1]),
        (Series(split_name(split), x, y, 1),), Axis(say("tokens seen so far"), log=True), Axis(say("loss"), say("nats")),
        about=say("Mean loss of {count} windows by how many tokens came before: if it falls, the model uses them.",
                  count=len(logits)), name="context")  # fmt: skip


def attention_of(model: nn.Module, reader: Reader, tokens: Tensor) -> list[Figure]:
    """Return what each token of a short text looks at."""
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    kept = recorded(model, tokens[None].to(device))
    return attention_figures(kept, tuple(reader.name(int(token)) for token in tokens))


def alphabet(model: nn.Module, reader: Reader) -> list[Figure]:
    """Return the token embeddings of a small vocabulary in the plane of their two main directions."""
    size = reader.inputs.vocab_size
    tables = [
        module for module in model.modules() if isinstance(module, nn.Embedding) and module.num_embeddings == size
    ]
    if not tables or not 3 <= size <= MOST_VOCABULARY:
        return []
    weights = tables[0].weight.detach().double().cpu().numpy()
    centred = weights - weights.mean(0)
    left, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    points = left[:, :2] * strengths[:2]
    share = float((strengths[:2] ** 2).sum() / (strengths**2).sum())
    return [
        Scatter(
            say("Its alphabet"), say("{count} tokens by their embeddings.", count=size),
            (Series("", tuple(points[:, 0]), tuple(points[:, 1])),), names=tuple(reader.name(token) for token in range(size)),
            about=say("Tokens the model treats alike lie close together. Their embeddings in the plane of the two main "
                      "directions, which hold {share} of the variance.", share=percent(share)),
                      name="alphabet")
    ]  # fmt: skip

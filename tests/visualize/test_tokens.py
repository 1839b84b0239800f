"""What a language model expects, against its own logits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from torch import nn

from seodang.core.errors import DataError
from seodang.core.inputs import Facts, TokenInputs
from seodang.core.recipe import Choice
from seodang.data.dataset import Dataset, MemoryExamples, TokenBatch
from seodang.data.tokenizers import byte_tokenizer, character_tokenizer, decode
from seodang.models.base import architectures
from seodang.task.base import tasks
from seodang.visualize.figure import Bars, Lines, Panels, Passage, Scatter
from seodang.visualize.tokens import Reader, surprise, text_figures, token_figures

LETTERS = "abcdefgh \n"


TOKENIZER = character_tokenizer(LETTERS)
INPUTS = TokenInputs(vocab_size=len(LETTERS), length=8, tokenizer=TOKENIZER.to_str())
FACTS = Facts(inputs=INPUTS, sizes={"valid": 5})


class Text(Dataset):
    def __init__(self) -> None:
        self.facts = FACTS
        tokens = torch.randint(0, len(LETTERS), (5, 9), generator=torch.Generator().manual_seed(1))
        self.tokens, self.targets = tokens[:, :-1], tokens[:, 1:]

    def split(self, name: str) -> MemoryExamples:
        return MemoryExamples(TokenBatch, self.tokens, self.targets)


def gpt() -> nn.Module:
    torch.manual_seed(0)
    return architectures.make(Choice.of({"name": "gpt", "vocab_size": len(LETTERS), "num_layers": 2, "num_heads": 2,
                                         "embed_dim": 8, "max_len": 8})).eval()  # fmt: skip


def shown(model: nn.Module) -> dict[str, object]:
    task = tasks.make(Choice(name="language-modeling"), {}, FACTS)
    return {figure.name: figure for figure in token_figures(model, task, Text())}


def test_what_is_shown_of_a_language_model() -> None:
    model, data = gpt(), Text()
    found = shown(model)
    assert list(found) == ["text", "expected", "next-token", "context", "attention-layers.0.attention",
                           "attention-layers.1.attention", "alphabet"]  # fmt: skip
    with torch.no_grad():
        logits = model(data.tokens)
    chances = logits[0].softmax(-1)

    passage = found["expected"]
    assert isinstance(passage, Passage)
    assert "".join(text for text, _, _ in passage.pieces) == decode(
        TOKENIZER, [*data.tokens[0].tolist(), int(data.targets[0, -1])]
    )
    weights = [weight for _, weight, _ in passage.pieces[1:]]
    assert weights == pytest.approx(
        [float(chances[place, target]) for place, target in enumerate(data.targets[0])], abs=1e-6
    )

    bars = found["next-token"]
    assert isinstance(bars, Bars)
    assert list(bars.values) == sorted(chances[-1].tolist(), reverse=True)[:10]

    context = found["context"]
    assert isinstance(context, Lines)
    losses = F.cross_entropy(logits.transpose(1, 2), data.targets, reduction="none").mean(0)
    assert list(context.series[0].x) == [1, 2, 4, 8]
    assert list(context.series[0].y) == pytest.approx(
        [float(losses[a:b].mean()) for a, b in ((0, 1), (1, 2), (2, 4), (4, 8))]
    )

    attention = found["attention-layers.0.attention"]
    assert isinstance(attention, Panels)
    for panel in attention.panels:
        assert panel.values.sum(1) == pytest.approx([1.0] * 8)
        assert panel.values[0, 1:].max() == 0.0, "nothing is seen before it is written"


def test_the_alphabet_keeps_distances_as_well_as_a_plane_can() -> None:
    model = gpt()
    with torch.no_grad():
        model.embedding.weight.zero_()
        model.embedding.weight[:5, 0] = 3.0
        model.embedding.weight[3:8, 1] = 1.0
    found = shown(model)["alphabet"]
    assert isinstance(found, Scatter)
    points = torch.tensor([found.series[0].x, found.series[0].y]).T
    wanted = torch.cdist(model.embedding.weight.double(), model.embedding.weight.double())
    assert torch.allclose(torch.cdist(points, points), wanted.to(points.dtype), atol=1e-4), (
        "all variance lies in two directions"
    )
    assert "100 %" in found.about


def test_a_text_of_ones_own() -> None:
    model = gpt()
    found = text_figures(model, INPUTS, "abc abc abc")
    assert [figure.name for figure in found[:2]] == ["expected", "next-token"]
    assert isinstance(found[0], Passage)
    assert "".join(text for text, _, _ in found[0].pieces) == " abc abc"[-8:], "what the model can see of it"
    with pytest.raises(DataError, match="Ω"):
        text_figures(model, INPUTS, "Ω")
    with pytest.raises(DataError, match="empty"):
        text_figures(model, INPUTS, "")


def test_signs_for_what_cannot_be_seen() -> None:
    reader = Reader.of(INPUTS)
    assert [reader.name(TOKENIZER.token_to_id(letter)) for letter in "a \n"] == ["a", "␣", "↵"]
    assert Reader.of(TokenInputs(vocab_size=3, length=2)).name(2) == "2␣"


def test_words_are_read_by_their_tokenizer() -> None:
    tokenizer = Tokenizer(WordLevel({"the": 0, "cat": 1}, unk_token="the"))
    tokenizer.pre_tokenizer = Split(" ", "removed")
    reader = Reader.of(TokenInputs(vocab_size=2, length=4, tokenizer=tokenizer.to_str()))
    assert reader.whole([0, 1]) == "the cat"


def test_a_letter_of_several_bytes_is_shown_whole_with_the_product_of_its_chances() -> None:
    tokenizer = byte_tokenizer()
    reader = Reader.of(TokenInputs(vocab_size=256, length=9, tokenizer=tokenizer.to_str()))
    tokens = reader.tokens("a서당")
    chances = torch.full((6, 256), 0.5 / 255)
    for place, target in enumerate(tokens[1:]):
        chances[place, target] = 0.5
    found = surprise(reader, tokens[:-1], tokens[1:], chances)
    assert [(text, weight) for text, weight, _ in found.pieces] == [("a", None), ("서", 0.125), ("당", 0.125)]

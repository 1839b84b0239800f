"""Generation: cached equals uncached, sampling by its definitions, whole characters, stop texts."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from seodang.core.errors import ConfigError
from seodang.data.tokenizers import byte_tokenizer, character_tokenizer, encode
from seodang.generate.text import KEPT, Decoder, Sampling, continue_text, generate, next_token, text_of, until
from seodang.models.gpt import GPT, GPTConfig

VOCABULARY = 11


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(5)
    config = GPTConfig(vocab_size=VOCABULARY, num_layers=2, num_heads=2, embed_dim=16, max_len=8, init_std=0.5)
    return GPT(config).eval()


def tokens_of(model: nn.Module, prompt: torch.Tensor, cached: bool = True, max_len: int = 8, **options) -> torch.Tensor:
    return torch.stack(list(generate(model, prompt, Sampling(**options), max_len, cached)), dim=1)


class Fixed(nn.Module):
    """Gives the same logits everywhere, and remembers how much it was given to read."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.read = nn.Parameter(logits), []

    def forward(self, tokens):
        self.read.append(tokens.shape[1])
        return self.logits.expand(*tokens.shape, -1)


# ------------------------------------------------------------------------------------------- generate


@pytest.mark.parametrize("prompt_length", [1, 5, 8])
@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 1.3, "seed": 4},
                                     {"top_k": 3, "top_p": 0.9, "repetition_penalty": 1.5}])  # fmt: skip
def test_cached_equals_uncached_also_when_the_context_is_full(model, prompt_length, options):
    prompt = torch.randint(VOCABULARY, (3, prompt_length))
    cached = tokens_of(model, prompt, cached=True, max_tokens=30, **options)
    assert cached.shape == (3, 30)
    assert torch.equal(cached, tokens_of(model, prompt, cached=False, max_tokens=30, **options))


def test_with_a_cache_each_token_is_read_alone_until_the_context_is_full(model, monkeypatch):
    read, decode = [], GPT.decode
    monkeypatch.setattr(GPT, "decode", lambda self, tokens, caches: read.append(tokens.shape[1]) or decode(
        self, tokens, caches))  # fmt: skip
    tokens_of(model, torch.zeros(1, 3, dtype=torch.long), max_tokens=13)
    assert isinstance(model, Decoder)
    again = int(8 * KEPT)
    assert read == [3, 1, 1, 1, 1, 1, again, 1, 1, again, 1, 1, again]


def test_a_model_without_a_cache_generates_too():
    fixed = Fixed(torch.eye(4)[2])
    assert tokens_of(fixed, torch.tensor([[0]]), max_len=4, max_tokens=6, temperature=0).tolist() == [[2] * 6]
    assert fixed.read == [1, 2, 3, 4, 3, 4]


def test_a_context_of_one_token_slides(model):
    short = GPT(model.config.replace(max_len=1)).eval()
    prompt = torch.tensor([[3]])
    assert torch.equal(tokens_of(short, prompt, max_len=1, max_tokens=5),
                       tokens_of(short, prompt, cached=False, max_len=1, max_tokens=5))  # fmt: skip


def test_equal_seeds_give_equal_tokens_and_touch_no_other_randomness(model):
    prompt = torch.zeros(1, 2, dtype=torch.long)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = tokens_of(model, prompt, seed=7, max_tokens=20)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, tokens_of(model, prompt, seed=7, max_tokens=20))
    assert not torch.equal(first, tokens_of(model, prompt, seed=8, max_tokens=20))


def test_gradients_are_on_for_whoever_listens(model):
    for _ in generate(model, torch.zeros(1, 1, dtype=torch.long), Sampling(max_tokens=3), 8):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


# ---------------------------------------------------------------------------------------------- sampling


def shares(logits: torch.Tensor, past: list[int] | None = None, **options) -> torch.Tensor:
    """How often each token is drawn of 20,000."""
    rows = logits.expand(20_000, -1)
    seen = torch.tensor([past or [0]]).expand(20_000, -1)
    drawn = next_token(rows, seen, Sampling(**options), torch.Generator().manual_seed(0))
    return drawn.bincount(minlength=len(logits)).double() / 20_000


LOGITS = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]).log()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": 1.0}, [0.5, 0.2, 0.15, 0.1, 0.05]),
        ({"temperature": 0.0}, [1, 0, 0, 0, 0]),
        ({"temperature": 0.5}, [0.7692, 0.1231, 0.0692, 0.0308, 0.0077]),
        ({"temperature": 1.0, "top_k": 2}, [5 / 7, 2 / 7, 0, 0, 0]),
        ({"temperature": 1.0, "top_k": 9}, [0.5, 0.2, 0.15, 0.1, 0.05]),
        ({"temperature": 1.0, "top_p": 0.71}, [0.5 / 0.85, 0.2 / 0.85, 0.15 / 0.85, 0, 0]),
        ({"temperature": 1.0, "top_p": 0.4}, [1, 0, 0, 0, 0]),
        ({"temperature": 1.0, "top_k": 3, "top_p": 0.55}, [1, 0, 0, 0, 0]),
    ],
)
def test_what_is_drawn_follows_its_definition(options, expected):
    assert (shares(LOGITS, **options) - torch.tensor(expected)).abs().max() < 0.012


def test_the_penalty_makes_what_is_there_less_likely():
    logits = torch.tensor([2.0, 1.5, -1.0, -1.2])
    assert shares(logits, [0, 0, 2], temperature=0, repetition_penalty=2.0)[1] == 1
    assert shares(logits, [0], temperature=0, repetition_penalty=1.0)[0] == 1
    drawn = shares(logits, [0, 2, 0], temperature=1.0, repetition_penalty=2.0)
    expected = torch.tensor([1.0, 1.5, -2.0, -1.2]).softmax(-1)
    assert (drawn - expected).abs().max() < 0.012


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temprature": 1.0}, r"predict\.temprature: is not a setting here\. Did you mean 'temperature'\?"),
        ({"temperature": -0.1}, r"predict\.temperature: should be 0\.0 or more \(got -0\.1\)"),
        ({"top_p": 1.5}, r"predict\.top_p: should be 1\.0 or less"),
        ({"top_k": 0}, r"predict\.top_k: should be greater than 0"),
        ({"stop": [""]}, r"predict\.stop\.0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        Sampling.of(options, where="predict")


# -------------------------------------------------------------------------------------------------- text


def test_a_character_comes_whole_however_many_tokens_it_takes():
    text = "aé빛👩‍👧\n\ufffd!"
    tokens = encode(byte_tokenizer(), text, "x").tolist()
    shown = list(text_of(byte_tokenizer(), tokens))
    assert "".join(shown) == text
    assert shown[:4] == ["a", "é", "빛", "👩"]


def test_bytes_that_are_no_text_are_shown_as_such():
    raw = [0xFF, 0xE2, 0x82, ord("x"), 0xE2, 0x82]
    assert "".join(text_of(byte_tokenizer(), raw)) == bytes(raw).decode(errors="replace")


@pytest.mark.parametrize(
    ("pieces", "stop", "shown"),
    [
        (["ab", "cd"], (), ["ab", "cd"]),
        (["ab", "cEN", "D", "x"], ("END",), ["ab", "c"]),
        (["ab", "EN", "Dear"], ("END",), ["ab"]),
        (["aE", "NE", "ND."], ("END",), ["a", "EN"]),
        (["abENDcSTOP"], ("STOP", "END"), ["ab"]),
        (["a\n", "\n", "b"], ("\n\n",), ["a"]),
        (["aE", "N"], ("END",), ["a", "EN"]),
        (["END", "x"], ("END",), []),
    ],
)
def test_stop_texts_end_it_and_are_never_shown(pieces, stop, shown):
    assert list(until(iter(pieces), stop)) == shown


def test_nothing_is_computed_after_the_stop():
    fixed = Fixed(torch.eye(4)[2])
    assert (
        "".join(continue_text(fixed, character_tokenizer("abcd"), [0, 1], Sampling(temperature=0, stop=("cc",)), 8))
        == ""
    )
    assert len(fixed.read) == 2


def test_the_continuation_comes_in_pieces(model):
    tokenizer = character_tokenizer("abcdefghijk")
    arrived = list(continue_text(model, tokenizer, [0], Sampling(max_tokens=12), 8))
    assert len(arrived) == 12
    whole = tokens_of(model, torch.tensor([[0]]), max_tokens=12)[0]
    assert "".join(arrived) == "".join("abcdefghijk"[token] for token in whole)
    assert all(one != "" for one, _ in pairwise(arrived))

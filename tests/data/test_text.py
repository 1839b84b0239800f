"""Text: tokenizers and their fast paths, consecutive parts, windows that cover every token, refusals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from seodang.core.errors import ConfigError, DataError
from seodang.core.recipe import Choice
from seodang.data.dataset import Dataset, Draws, Loader, datasets, in_order
from seodang.data.text import TINY_SHAKESPEARE, TokenWindows, compact, plain_text
from seodang.data.tokenizers import (
    BYTES,
    PIECE,
    byte_symbols,
    byte_tokenizer,
    character_tokenizer,
    decode,
    encode,
    pieces,
    read_tokenizer,
    train_byte_pairs,
)  # fmt: skip
from tests.conftest import needs_data

SAMPLE = (
    "First Citizen:\nBefore we proceed any further, hear me speak.\n\n\tAll:  speak — “speak”!\r\n"
    "  빛이 있으라.  Über 3.14 naïve façades, ok?  \n \n\nＡ\u0301 e\u0301 👩‍👧 \u200b\u00a0end\n\n"
)


def prepared(text: str | bytes, folder: Path, **settings: Any) -> Dataset:
    path = folder / "story.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    dataset = datasets.make(Choice.of({"name": "text", "path": str(path), **settings}), None, 0)
    dataset.prepare()
    return dataset


# ---------------------------------------------------------------------------------------- tokenizers


def tokenizer_of(kind: str, lower: bool) -> Tokenizer:
    match kind:
        case "characters":
            return character_tokenizer(SAMPLE, lower)
        case "bytes":
            return byte_tokenizer(lower)
    return train_byte_pairs(SAMPLE * 3, 300, lower)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("kind", ["characters", "bytes", "bpe"])
def test_fast_encoding_is_the_librarys_and_decodes_to_the_text(kind, lower):
    tokenizer = read_tokenizer(tokenizer_of(kind, lower).to_str())
    tokens = encode(tokenizer, SAMPLE, "sample")
    assert tokens.tolist() == tokenizer.encode(SAMPLE, add_special_tokens=False).ids
    assert decode(tokenizer, tokens.tolist()) == (SAMPLE.lower() if lower else SAMPLE)
    assert encode(tokenizer, "", "nothing").tolist() == []


@needs_data("tinyshakespeare")
@pytest.mark.parametrize("kind", ["characters", "bytes", "bpe"])
def test_fast_encoding_is_the_librarys_on_shakespeare(kind):
    text = plain_text(shakespeare().read_bytes(), "input.txt")[:120_000]
    tokenizer = {"characters": character_tokenizer, "bytes": lambda _: byte_tokenizer(),
                 "bpe": lambda part: train_byte_pairs(part[:60_000], 400)}[kind](text)  # fmt: skip
    assert encode(tokenizer, text, "x").tolist() == tokenizer.encode(text, add_special_tokens=False).ids


def shakespeare() -> Path:
    return Path(os.environ["SEODANG_DATA"]) / "tinyshakespeare" / "input.txt"


def test_cutting_a_long_text_changes_no_token(monkeypatch):
    text = (SAMPLE + "a\n\n\tb  \r\n \n  c\nd e\n\n\nf  g\r\nh") * 4
    for tokenizer in (character_tokenizer(text), byte_tokenizer(), train_byte_pairs(text, 420)):
        monkeypatch.setattr("seodang.data.tokenizers.PIECE", PIECE)
        whole = encode(tokenizer, text, "x")
        for size in range(1, 40):
            monkeypatch.setattr("seodang.data.tokenizers.PIECE", size)
            assert len(list(pieces(text))) > 5
            assert "".join(pieces(text)) == text
            assert np.array_equal(encode(tokenizer, text, "x"), whole)


def test_a_byte_is_its_own_token():
    tokenizer = byte_tokenizer()
    assert tokenizer.get_vocab_size() == BYTES == len(set(byte_symbols()))
    assert encode(tokenizer, "빛\n", "x").tolist() == list("빛\n".encode())


def test_byte_pairs_are_the_same_each_time_and_no_more_than_asked():
    first, second = (train_byte_pairs(SAMPLE * 4, 280) for _ in range(2))
    assert first.to_str() == second.to_str()
    assert first.get_vocab_size() == 280
    assert len(encode(first, SAMPLE, "x")) < len(SAMPLE.encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "First\nCafé",
            r"line 2, character 4: 'é' \(LATIN SMALL LETTER E WITH ACUTE\) is not among the .* Write 'e' inst",
        ),
        ("“speak”", r"line 1, character 1: '“' \(LEFT DOUBLE QUOTATION MARK\).* Write '\"' instead\?"),
        ("Z", r"line 1, character 1: 'Z' \(LATIN CAPITAL LETTER Z\).* Write 'z' instead\?"),
        ("speak 말", r"line 1, character 7: '말' \(HANGUL SYLLABLE MAL\) is not among the 16 characters .* for\.$"),
    ],
)
def test_an_unknown_character_is_named_with_what_to_write_instead(text, message):
    tokenizer = character_tokenizer('Firstpeakzc "C\nf')
    with pytest.raises(DataError, match=r"^the prompt: " + message):
        encode(tokenizer, text, "the prompt")


def test_a_broken_tokenizer_is_refused():
    with pytest.raises(DataError, match=r"The tokenizer cannot be read: .* Is it a Hugging Face tokenizer.json\?"):
        read_tokenizer('{"model": 3}')


# ------------------------------------------------------------------------------------- parts, windows


def test_the_text_is_cut_in_order_and_the_vocabulary_travels(tmp_path):
    text = "".join(chr(97 + i % 26) for i in range(200))
    dataset = prepared(text, tmp_path, context=8, valid=0.1, test=0.2)
    spoken = {}
    tokenizer = read_tokenizer(dataset.facts.inputs.tokenizer)
    for name in dataset.facts.sizes:
        batches = [dataset.split(name).batch(torch.arange(len(dataset.split(name))), None)]
        tokens = torch.cat([batches[0].tokens[:1, :1].flatten(), *(b.targets[b.targets >= 0] for b in batches)])
        spoken[name] = decode(tokenizer, tokens.tolist())
    assert spoken == {"train": text[:140], "valid": text[140:160], "test": text[160:]}
    assert dataset.facts.sizes == {"train": 18, "valid": 3, "test": 5}
    assert dataset.facts.known() == {"vocab_size": 26, "max_len": 8}
    assert dataset.facts.notes[0].startswith("The text is cut once, in order: train 140, valid 20, test 40 tokens.")
    assert (
        dataset.facts.notes[1] == "The 26 characters of the whole text have tokens; 0 of them never occur in training."
    )


@pytest.mark.parametrize("count", [2, 8, 9, 10, 16, 17, 18, 100])
def test_windows_without_draws_make_every_token_a_target_once(count):
    tokens = torch.arange(count)
    windows = TokenWindows(compact(tokens, count), 8)
    seen = []
    for batch in in_order(windows, 3):
        assert batch.tokens.shape == batch.targets.shape == (len(batch.tokens), 8)
        counted = batch.targets >= 0
        assert torch.equal(batch.tokens[counted] + 1, batch.targets[counted])
        seen += batch.targets[counted].tolist()
    assert seen == list(range(1, count))


def test_training_windows_begin_anywhere_once_per_stretch():
    windows, rows = TokenWindows(torch.arange(1000), 16), torch.arange(63)
    assert len(windows) == 63
    begun = []
    for epoch in range(300):
        batch = windows.batch(rows, Draws(0, epoch, 0, 63, slice(0, 63)))
        assert torch.equal(batch.tokens + 1, batch.targets)
        begun.append(batch.tokens[:, 0])
    begun = torch.stack(begun)
    stretch = (1000 - 16) / 63
    assert (begun >= (rows * stretch).floor()).all()
    assert (begun < ((rows + 1) * stretch).ceil()).all()
    counts = begun.flatten().bincount(minlength=984)
    assert len(counts) == 984
    expected = begun.numel() / 984
    assert ((counts - expected) ** 2 / expected).sum() < 984 + 5 * (2 * 984) ** 0.5  # chi-squared, five sigmas


def test_the_smallest_text_that_fills_a_window_trains():
    windows = TokenWindows(torch.arange(9), 8)
    batch = windows.batch(torch.tensor([0]), Draws(0, 0, 0, 1, slice(0, 1)))
    assert batch.tokens.tolist() == [list(range(8))]
    assert batch.targets.tolist() == [list(range(1, 9))]


def test_two_ranks_see_the_batches_of_one(tmp_path):
    examples = prepared(SAMPLE * 20, tmp_path, context=8).split("train")
    alone, *ranks = (Loader(examples, 10, seed=3, rank=rank, world=world) for rank, world in ((0, 1), (0, 2), (1, 2)))
    for _ in range(3):
        parts = [next(loader) for loader in ranks]
        assert torch.equal(next(alone).tokens, torch.cat([part.tokens for part in parts]))


@pytest.mark.parametrize(("kinds", "width"), [(256, 1), (257, 2), (32768, 2), (32769, 4)])
def test_tokens_take_little_room(kinds, width):
    tokens = compact(torch.tensor([0, kinds - 1]), kinds)
    assert tokens.element_size() == width
    assert tokens.long().tolist() == [0, kinds - 1]


def test_byte_pairs_are_learned_from_the_training_part_alone(tmp_path):
    text = "abab cdcd " * 90 + "xyzxyz " * 40
    held = len(text) - int(len(text) * 0.7)
    dataset = prepared(text, tmp_path, context=8, tokenizer="bpe", vocab_size=270, valid=0.3)
    vocabulary = read_tokenizer(dataset.facts.inputs.tokenizer).get_vocab()
    assert "xyz" in text[-held:]
    assert "ab" in vocabulary
    assert not {"xy", "yz", "zx"} & set(vocabulary)


def test_the_fingerprint_tells_text_context_and_tokenizer_apart(tmp_path):
    base = prepared(SAMPLE * 4, tmp_path, context=8).facts.digest
    assert base == prepared(SAMPLE * 4, tmp_path, context=8).facts.digest
    others = [prepared(SAMPLE * 4, tmp_path, context=9), prepared(SAMPLE * 4, tmp_path, context=8, lower=True),
              prepared("x" + SAMPLE * 4, tmp_path, context=8), prepared(SAMPLE * 4, tmp_path, context=8, valid=0.2),
              prepared(SAMPLE * 4, tmp_path, context=8, tokenizer="bytes")]  # fmt: skip
    assert len({base, *(other.facts.digest for other in others)}) == 6


def test_another_text_is_read_with_the_models_tokenizer(tmp_path):
    facts = prepared("hello world " * 20, tmp_path, context=8).facts
    other = tmp_path / "other.txt"
    other.write_text("old hello " * 9)
    dataset = datasets.make(Choice.of({"name": "text", "path": str(other), "context": 64}), None, 0)
    dataset.adopt(facts)
    dataset.prepare()
    assert dataset.facts.inputs == facts.inputs
    other.write_text("old hello " * 9 + "q")
    with pytest.raises(DataError, match=r"other.txt: line 1, character 10: 'q' \(LATIN SMALL LETTER Q\) is not among"):
        dataset.prepare()


@needs_data("tinyshakespeare")
def test_tiny_shakespeare_is_split_as_is_customary():
    dataset = datasets.make(Choice.of({"name": "tinyshakespeare", "context": 128}), None, 0)
    dataset.prepare()
    assert dataset.facts.inputs.vocab_size == 65
    assert dataset.facts.notes[0].startswith("The text is cut once, in order: train 1,003,854, valid 111,540 tokens.")
    counted = sum(int((batch.targets >= 0).sum()) for batch in in_order(dataset.split("valid"), 256))
    assert counted == 111_539


def test_tiny_shakespeare_away_names_file_place_and_checksum(tmp_path, monkeypatch):
    monkeypatch.setenv("SEODANG_DATA", str(tmp_path))
    monkeypatch.setenv("SEODANG_DOWNLOAD", "0")
    dataset = datasets.make(Choice.of({"name": "tinyshakespeare"}), None, 0)
    with pytest.raises(DataError, match=rf"(?s)'tinyshakespeare' needs files .*{TINY_SHAKESPEARE.sha256}"):
        dataset.prepare()


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"story.txt: is empty\."),
        (b" \n\t ", r"story.txt: is empty\."),
        (b"fine\nfine\nab\xffcd" * 9, r"story.txt: line 3, byte 12 \(0xff\): is not UTF-8 text\. Is it a text file\?"),
        (b"text\n\x00\x01", r"story.txt: line 2, byte 5 \(0x00\): is not UTF-8 text\."),
        (
            "한국어 글입니다.\n".encode("cp949") * 9,
            r"line 1, byte 0: is not UTF-8; it looks like CP949\. .*iconv -f CP949",
        ),
        ("한국어".encode("utf-16"), r"line 1, byte 0: is not UTF-8; it looks like UTF-16\."),
        (
            b"abc",
            r"story.txt: the training part has 2 tokens, too few for one window of 256 .* data.context=1 or less\.",
        ),
        (b"a" * 256, r"the training part has 230 tokens, .* data.context=229 or less"),
    ],
)
def test_what_is_no_text_is_refused(data, message, tmp_path):
    with pytest.raises(DataError, match=message):
        prepared(data, tmp_path)


def test_a_part_too_small_to_predict_anything_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"the valid part has 1 tokens, and it takes two .* larger data\.valid"):
        prepared("a" * 100, tmp_path, context=8, valid=0.01)


def test_a_byte_order_mark_is_no_text(tmp_path):
    assert prepared(b"\xef\xbb\xbf" + b"abc" * 9, tmp_path, context=4).facts.inputs.vocab_size == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 300}, r'vocab_size is for tokenizer = "bpe"; characters have a fixed one'),
        ({"vocab_size": 256, "tokenizer": "bpe"}, r"data.vocab_size: should be greater than 256"),
        ({"valid": 0.6, "test": 0.4}, r"valid and test together leave nothing to train on"),
        ({"tokenizer": "words"}, r"'characters', 'bytes' or 'bpe'"),
        ({"contxt": 3}, r"Did you mean 'context'\?"),
        ({"path": ""}, r"data.path: is missing\. Name a text file"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        prepared("abc" * 99, tmp_path, **settings) if "path" not in settings else datasets.make(
            Choice.of({"name": "text", **settings}), None, 0
        ).prepare()


def test_a_file_that_is_not_there_is_named(tmp_path):
    dataset = datasets.make(Choice.of({"name": "text", "path": str(tmp_path / "none.txt")}), None, 0)
    with pytest.raises(DataError, match=r"none.txt: cannot be read \(No such file or directory\)"):
        dataset.prepare()

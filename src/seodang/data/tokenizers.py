"""Text to tokens and back: characters, bytes, or byte pairs, always as a Hugging Face tokenizer.

The text of its ``tokenizer.json`` travels with the weights, so whoever has a bundle can read and write with it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from seodang.core.errors import DataError
from seodang.core.language import say
from seodang.data.tokenizer_files import refuse_harmful

PIECE = 1 << 18
"""Characters handed to the tokenizer at once."""
BOUNDARY = re.compile(r"(?<=\S)(?=[ \n])")
"""Where a text can be cut without changing its byte pairs: at the end of a word."""
BYTES = 256


def character_tokenizer(text: str, lower: bool = False) -> Tokenizer:
    """Return a tokenizer with one token per character (Unicode code point) of `text`, in code-point order."""
    characters = set("".join(map(normalizers.Lowercase().normalize_str, pieces(text))) if lower else text)
    vocabulary = {character: index for index, character in enumerate(sorted(characters))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, ""))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return _lowering(tokenizer, lower)


def byte_tokenizer(lower: bool = False) -> Tokenizer:
    """Return a tokenizer whose 256 tokens are the bytes of UTF-8: any text can be written with them."""
    vocabulary = {symbol: byte for byte, symbol in enumerate(byte_symbols())}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _lowering(tokenizer, lower)


def train_byte_pairs(text: str, vocab_size: int, lower: bool = False) -> Tokenizer:
    """Return a tokenizer of bytes and of the pairs most frequent in `text`, merged again and again.

    Source: Sennrich et al. 2016, "Neural machine translation of rare words with subword units", arXiv:1508.07909;
    on bytes, with its way of cutting words, Radford et al. 2019, sec. 2.2.
    """
    tokenizer = _lowering(Tokenizer(models.BPE()), lower)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(pieces(text), trainer)
    return tokenizer


def _lowering(tokenizer: Tokenizer, lower: bool) -> Tokenizer:
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def byte_symbols() -> list[str]:
    """Return the visible character that stands for each byte in byte-level vocabularies.

    Source: Radford et al. 2019, ``bytes_to_unicode`` of the published code.
    """
    shown = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = iter(range(BYTES, 2 * BYTES))
    return [chr(byte) if byte in shown else chr(next(hidden)) for byte in range(BYTES)]


@lru_cache(maxsize=8)
def read_tokenizer(text: str) -> Tokenizer:
    """Return the tokenizer a ``tokenizer.json`` describes.

    Raises: DataError if it describes none.
    """
    try:
        refuse_harmful(text)
        with _as_errors():
            tokenizer = Tokenizer.from_str(text)
    except ValueError as error:
        raise DataError("The tokenizer cannot be read: {reason}. Is it a Hugging Face tokenizer.json?",
                        reason=str(error).rstrip(".")) from None  # fmt: skip
    tokenizer.no_truncation()  # of texts, to a length that was somebody's habit once
    tokenizer.no_padding()
    return tokenizer


@contextmanager
def _as_errors() -> Iterator[None]:
    """Turn whatever the library raises, a panic of its Rust code too, into a ValueError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise ValueError((str(error) or type(error).__name__).partition("\n")[0]) from None


def encode(tokenizer: Tokenizer, text: str, where: str) -> np.ndarray:
    """Return the tokens of `text`, the same the library gives, by table look-up where one character is one token.

    `where` is what the error calls the text: its path, or "the prompt".
    Raises: DataError naming the first character that has no token.
    """
    if tokenizer.normalizer is not None:
        text = "".join(map(tokenizer.normalizer.normalize_str, pieces(text)))
    match _kind(tokenizer):
        case "characters":
            return _encode_characters(tokenizer, text, where)
        case "bytes":
            return np.frombuffer(text.encode(), np.uint8).astype(np.int64)
    try:
        with _as_errors():
            found = tokenizer.encode_batch_fast(list(pieces(text)), add_special_tokens=False)
    except ValueError as error:
        raise DataError(
            "{path}: the tokenizer cannot take this text: {reason}.", path=where, reason=str(error).rstrip(".")
        ) from None
    return np.concatenate([np.array(item.ids, np.int64) for item in found]) if found else np.empty(0, np.int64)


def _encode_characters(tokenizer: Tokenizer, text: str, where: str) -> np.ndarray:
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    table = np.full(max((int(points.max(initial=0)), *map(ord, tokenizer.get_vocab()))) + 1, -1, np.int64)
    for character, index in tokenizer.get_vocab().items():
        table[ord(character)] = index
    tokens = table[points]
    if (tokens < 0).any():
        raise _unknown_character(tokenizer, text, int((tokens < 0).argmax()), where)
    return tokens


def _unknown_character(tokenizer: Tokenizer, text: str, place: int, where: str) -> DataError:
    character = text[place]
    known = tokenizer.get_vocab()
    plain = unicodedata.normalize("NFKD", character)[:1]
    likely = (PLAIN.get(character, ""), plain, character.swapcase(), plain.swapcase())
    instead = next((item for item in likely if item in known), None)
    return DataError(
        "{where}: line {line}, character {column}: {character} ({name}) is not among the {count} characters this model "
        "has tokens for.{suggestion}",
        where=where, line=text.count("\n", 0, place) + 1, column=place - text.rfind("\n", 0, place),
        character=repr(character), name=unicodedata.name(character, f"U+{ord(character):04X}"), count=len(known),
        suggestion=" " + say("Write {instead} instead?", instead=repr(instead)) if instead else "")  # fmt: skip


PLAIN = {"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "\t": " ", "`": "'"}
"""What people type for what a word processor makes of it."""


def _kind(tokenizer: Tokenizer) -> str:
    described = json.loads(tokenizer.to_str())
    model, splitter = described["model"], described["pre_tokenizer"] or {}
    if described["added_tokens"]:
        return "other"
    if (
        model["type"] == "WordLevel"
        and all(len(item) == 1 for item in tokenizer.get_vocab())
        and splitter.get("pattern") == {"Regex": r"[\s\S]"}
    ):
        return "characters"
    plain = splitter.get("type") == "ByteLevel" and not splitter["use_regex"] and not splitter["add_prefix_space"]
    if model["type"] == "BPE" and not model["merges"] and plain:
        return "bytes" if tokenizer.get_vocab() == {s: b for b, s in enumerate(byte_symbols())} else "other"
    return "other"


def pieces(text: str) -> Iterator[str]:
    """Cut a long text between words into pieces whose tokens, joined, are those of the whole."""
    start = 0
    while len(text) - start > PIECE:
        cut = BOUNDARY.search(text, start + PIECE)
        if cut is None:
            break
        yield text[start : cut.end()]
        start = cut.end()
    if start < len(text):
        yield text[start:]


def decode(tokenizer: Tokenizer, tokens: Iterable[int]) -> str:
    """Return the text of `tokens`; bytes that are no UTF-8 become ``�``."""
    try:
        with _as_errors():
            return tokenizer.decode(list(tokens), skip_special_tokens=False)
    except ValueError as error:
        raise DataError("The tokenizer cannot write these tokens: {reason}.", reason=str(error).rstrip(".")) from None

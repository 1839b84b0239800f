"""Text as training data: one long line of tokens, read through windows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from tokenizers import Tokenizer
from torch import Tensor

from seodang.core.config import Config
from seodang.core.errors import ConfigError, DataError
from seodang.core.inputs import Facts, TokenInputs
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.strict import read_regular
from seodang.data.dataset import Dataset, Draws, TokenBatch, datasets
from seodang.data.download import Official, find_files
from seodang.data.memory import free_memory
from seodang.data.tokenizers import byte_tokenizer, character_tokenizer, encode, read_tokenizer, train_byte_pairs

IN_MEMORY = 10
"""Bytes of memory a byte of text takes while it is read, roughly."""


class WindowsConfig(Config):
    """How text becomes tokens, parts and windows."""

    context: int = Field(256, gt=0)
    """Tokens in one window: what a model sees at once."""
    tokenizer: Literal["characters", "bytes", "bpe"] = "characters"
    """Unit of the text: characters, bytes of UTF-8, or byte pairs learned from the training part."""
    vocab_size: int | None = Field(None, gt=256)
    """Tokens to learn with bpe; default 1,024."""
    lower: bool = False
    """Turn capital letters into small ones."""
    valid: float = Field(0.1, ge=0, lt=1)
    """Share of the text held out to choose the best checkpoint; it follows the training part."""
    test: float = Field(0.0, ge=0, lt=1)
    """Share held out for the final score: the end of the text."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(say("valid and test together leave nothing to train on"))
        if self.vocab_size is not None and self.tokenizer != "bpe":
            raise ValueError(say('vocab_size is for tokenizer = "bpe"; {name} have a fixed one', name=self.tokenizer))
        return self


class TextConfig(WindowsConfig):
    """A text file of one's own."""

    path: str = ""
    """The file: plain text in UTF-8."""


@datasets.register({"text": TextConfig()})
class Text(Dataset):
    """A text file of your own, to learn which token follows which.

    Source: the user's own file. Split into consecutive parts; nothing is shuffled across them.
    Units: a row is a window of `context` tokens with the token that follows each.
    """

    kinds = ("language-modeling",)
    settings: WindowsConfig
    licence = source = "the user's own"

    def read(self) -> tuple[bytes, str]:
        """Return the bytes of the text and what errors call them.

        Raises: ConfigError, DataError
        """
        assert isinstance(self.settings, TextConfig)
        if not self.settings.path:
            raise ConfigError("data.path: is missing. Name a text file: --data story.txt")
        path = expanded(self.settings.path)
        try:
            return read_regular(path, free_memory() // IN_MEMORY), str(path)
        except OSError as error:
            raise DataError("{path}: cannot be read ({reason}).", path=path, reason=error.strerror) from None

    def prepare(self) -> None:
        data, where = self.read()
        text = plain_text(data, where)
        bounds = self._bounds(len(text))
        parts = {name: text[first:last] for name, (first, last) in bounds.items()}
        tokenizer = self._tokenizer(text, parts["train"])
        inputs = self.adopted.inputs if self.adopted else None
        self.context = inputs.length if isinstance(inputs, TokenInputs) else self.settings.context
        vocab_size = tokenizer.get_vocab_size()
        self._tokens = {name: compact(torch.from_numpy(encode(tokenizer, part, where)), vocab_size)
                        for name, part in parts.items()}  # fmt: skip
        self._check_lengths(where)
        description = tokenizer.to_str()
        fingerprint = hashlib.sha256(f"{self.context}\0{description}".encode())
        for name, tokens in self._tokens.items():
            fingerprint.update(f"\0{name}\0".encode() + tokens.numpy().tobytes())
        self.facts = Facts(
            inputs=TokenInputs(vocab_size=vocab_size, length=self.context, tokenizer=description),
            sizes={name: len(self.split(name)) for name in parts},
            licence=self.licence,
            source=self.source,
            notes=self._notes(text, parts["train"], vocab_size),
            digest=fingerprint.hexdigest(),
        )
        self.remarks = self.facts.notes[:1]

    def split(self, name: str) -> TokenWindows:
        return TokenWindows(self._tokens[name], self.context)

    def _bounds(self, length: int) -> Mapping[str, tuple[int, int]]:
        settings = self.settings
        train = int(length * (1 - settings.valid - settings.test))
        valid = length - train if not settings.test else int(length * (1 - settings.test)) - train
        bounds = {"train": (0, train), "valid": (train, train + valid), "test": (train + valid, length)}
        return {name: pair for name, pair in bounds.items() if name == "train" or getattr(settings, name) > 0}

    def _tokenizer(self, text: str, train: str) -> Tokenizer:
        if self.adopted and isinstance(self.adopted.inputs, TokenInputs):
            return read_tokenizer(self.adopted.inputs.tokenizer)
        settings = self.settings
        match settings.tokenizer:
            case "characters":
                return character_tokenizer(text, settings.lower)
            case "bytes":
                return byte_tokenizer(settings.lower)
        return train_byte_pairs(train, settings.vocab_size or 1024, settings.lower)

    def _check_lengths(self, where: str) -> None:
        found = len(self._tokens["train"])
        if found <= self.context and not self.adopted:
            raise DataError(
                "{path}: the training part has {found} tokens, too few for one window of {context} and the token that "
                "follows it. Give a longer text, or data.context={possible} or less.",
                path=where, found=found, context=self.context, possible=max(1, found - 1))  # fmt: skip
        for name, tokens in self._tokens.items():
            if len(tokens) < 2 and name != "train":
                raise DataError(
                    "{path}: the {part} part has {found} tokens, and it takes two to predict one from the other. "
                    "Give a longer text, or a larger data.{part}.",
                    path=where, part=name, found=len(tokens))  # fmt: skip

    def _notes(self, text: str, train: str, vocab_size: int) -> tuple[str, ...]:
        tokens = {name: len(part) for name, part in self._tokens.items()}
        notes = [say("The text is cut once, in order: {parts} tokens. Nothing is shuffled across the parts.",
                     parts=", ".join(f"{name} {count:,}" for name, count in tokens.items()))]  # fmt: skip
        if self.adopted:
            return (*notes, say("Read with the tokenizer of the model ({count} tokens).", count=vocab_size))
        if self.settings.tokenizer == "characters":
            notes.append(say("The {count} characters of the whole text have tokens; {new} of them never occur in training.",
                             count=vocab_size, new=len(set(text) - set(train))))  # fmt: skip
        if self.settings.tokenizer == "bpe":
            notes.append(say("{count} byte pairs were learned from the training part alone.", count=vocab_size - 256))
        return tuple(notes)


TINY_SHAKESPEARE = Official(
    name="input.txt",
    url="https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/"
    "data/tinyshakespeare/input.txt",
    size_bytes=1_115_394,
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)


@datasets.register({"tinyshakespeare": WindowsConfig()})
class TinyShakespeare(Text):
    """1,115,394 characters of Shakespeare's plays, 65 of them distinct.

    Source: Karpathy 2015, "The unreasonable effectiveness of recurrent neural networks"; char-rnn, MIT.
    The customary split is this one: the first 90 % to train on, the last 10 % to validate.
    """

    licence = "MIT (char-rnn); the plays are in the public domain"
    source = "https://github.com/karpathy/char-rnn, data/tinyshakespeare"

    def read(self) -> tuple[bytes, str]:
        found = find_files("tinyshakespeare", [TINY_SHAKESPEARE])
        return found[TINY_SHAKESPEARE.name], TINY_SHAKESPEARE.name


class TokenWindows:
    """Windows of a row of tokens, `context` long, each with the token that follows every place.

    For training, window i of R begins at random within the i-th of R equal stretches, so that every beginning is
    as likely as any other and an epoch passes over the text once. Otherwise windows lie end to end, and every
    token but the first is a target exactly once; places after the end have target -1.
    """

    def __init__(self, tokens: Tensor, context: int) -> None:
        self.tokens, self.context = tokens, context

    def __len__(self) -> int:
        return -(-(len(self.tokens) - 1) // self.context)

    def batch(self, rows: Tensor, draws: Draws | None) -> TokenBatch:
        last = len(self.tokens) - 1
        places = self._starts(rows, draws)[:, None] + torch.arange(self.context + 1)
        window = self.tokens[places.clamp(max=last)].long()
        return TokenBatch(window[:, :-1], window[:, 1:].where(places[:, 1:] <= last, -1))

    def identify(self, rows: Tensor, draws: Draws | None) -> tuple[str, Tensor]:
        """Return where each window begins."""
        return say("window from token"), self._starts(rows, draws)

    def _starts(self, rows: Tensor, draws: Draws | None) -> Tensor:
        if draws is None:
            return rows * self.context
        beginnings = len(self.tokens) - self.context
        return ((rows + draws.uniform().double()) * (beginnings / len(self))).long().clamp(max=beginnings - 1)


def compact(tokens: Tensor, vocab_size: int) -> Tensor:
    """Return `tokens` in the smallest integers that hold them."""
    return tokens.to(torch.uint8 if vocab_size <= 256 else torch.int16 if vocab_size <= 32768 else torch.int32)


def plain_text(data: bytes, where: str) -> str:
    """Return the text in `data`.

    Raises: DataError if it is empty, binary, or not UTF-8; with line and byte.
    """
    if not data.strip():
        raise DataError("{path}: is empty.", path=where)
    text, wrong = "", data.find(b"\0")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = error.start if wrong < 0 else min(wrong, error.start)
    if wrong < 0:
        return text
    line = data.count(b"\n", 0, wrong) + 1
    if encoding := _encoding(data):
        raise DataError(
            "{path}: line {line}, byte {byte}: is not UTF-8; it looks like {encoding}. "
            "Convert it: iconv -f {encoding} -t UTF-8 {path} > new.txt",
            path=where, line=line, byte=wrong, encoding=encoding)  # fmt: skip
    raise DataError(
        "{path}: line {line}, byte {byte} (0x{value:02x}): is not UTF-8 text. Is it a text file?",
        path=where, line=line, byte=wrong, value=data[wrong])  # fmt: skip


def _encoding(data: bytes) -> str | None:
    """Return what else `data` may be: UTF-16 by its mark, or CP949, the old Korean encoding, without a fault."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    if b"\0" in data:
        return None
    try:
        korean = data.decode("cp949")
    except UnicodeDecodeError:
        return None
    return "CP949" if any("가" <= character <= "힣" for character in korean) else None

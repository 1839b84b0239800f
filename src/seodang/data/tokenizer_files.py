"""What may stand in a tokenizer.json before the library is given it: the library takes memory and time as the file says.

Parts are an allow-list; a text may grow under them by a small factor only; ids stand close together, for a table as long
as the largest is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from seodang.core.language import say
from seodang.core.strict import LARGE_BYTES, parse_json

PARTS: Mapping[str, frozenset[str]] = {
    "normalizer": frozenset(
        ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents", "Replace", "Prepend", "BertNormalizer", "ByteLevel", "Nmt")
    ),
    "pre_tokenizer": frozenset(
        ("ByteLevel", "Whitespace", "WhitespaceSplit", "Split", "Punctuation", "Digits", "Metaspace", "BertPreTokenizer",
         "CharDelimiterSplit", "UnicodeScripts")
    ),
    "decoder": frozenset(
        ("ByteLevel", "Fuse", "Replace", "Strip", "ByteFallback", "Metaspace", "WordPiece", "BPEDecoder", "CTC")
    ),
    "post_processor": frozenset(("ByteLevel", "BertProcessing", "RobertaProcessing", "TemplateProcessing")),
    "model": frozenset(("BPE", "WordLevel", "WordPiece", "Unigram")),
}  # fmt: skip
STEPS, GROWTH = 16, 64
"""Most steps of a part, and most characters one character may become by the replacements in it."""
SPARE_IDS = 1_000
"""Ids that may be left out between the first and the last."""


def refuse_harmful(text: str) -> None:
    """Do nothing if `text` is a tokenizer the library can be given.

    Raises: ValueError saying why it is not
    """
    described = parse_json(text, LARGE_BYTES)
    if not isinstance(described, dict) or not isinstance(described.get("model"), dict):
        raise ValueError(say("it has no model"))
    for part, known in PARTS.items():
        steps = list(_steps(described.get(part)))
        growth = 1
        for step in steps:
            if part != "model" or "type" in step:
                _require_known(step, part, known)
            growth *= max(1, _length(step.get("content")), _length(step.get("prepend")))
        if len(steps) > STEPS or growth > GROWTH:
            raise ValueError(say("its {part} lets a text grow without bound", part=part))
    _require_close_ids(described)


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a part, sequences taken apart."""
    if part is None:
        return
    if not isinstance(part, dict):
        raise ValueError(say("a part of it is no record"))
    if part.get("type") != "Sequence":
        yield part
        return
    for name in ("normalizers", "pretokenizers", "decoders", "processors"):
        inner = part.get(name, [])
        for step in inner if isinstance(inner, list) else [inner]:
            yield from _steps(step)


def _require_known(step: Mapping[str, Any], part: str, known: frozenset[str]) -> None:
    kind = step.get("type")
    if not isinstance(kind, str) or kind not in known:
        raise ValueError(
            say("its {part} is '{name}'; read are: {known}", part=part, name=kind, known=", ".join(sorted(known)))
        )


def _length(content: Any) -> int:
    return len(content) if isinstance(content, str) else 0


def _require_close_ids(described: Mapping[str, Any]) -> None:
    vocabulary, added = described["model"].get("vocab", {}), described.get("added_tokens") or []
    ids = (
        list(vocabulary.values())
        if isinstance(vocabulary, dict)
        else list(range(len(vocabulary)))
        if isinstance(vocabulary, list)
        else []
    )
    if isinstance(vocabulary, dict) and len(set(map(repr, ids))) < len(ids):
        raise ValueError(say("two of its tokens have the same number"))
    ids += [token.get("id") for token in added if isinstance(token, dict)] if isinstance(added, list) else []
    for number in ids:
        if not isinstance(number, int) or not 0 <= number < len(ids) + SPARE_IDS:
            raise ValueError(
                say("it has {count} tokens, and one of them has the number {number}", count=len(ids), number=number)
            )

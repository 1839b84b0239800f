"""Strict JSON: each thing readers differ about is refused, with its line."""

from __future__ import annotations

import json
import random

import pytest

from seodang.core.strict import Refused, parse_json

REFUSED = {
    '{"a": 1,\n "a": 2}': "line 2: 'a' stands twice",
    '{"a": {"b": 1}, "c": [\n{"b": 1, "x": 2,\n\n"\\u0062": 3}]}': "line 4: 'b' stands twice",
    '[1,\n"NaN",\nNaN]': "line 3: NaN is not a finite number",
    '{"a": -Infinity}': "line 1: -Infinity is not a finite number",
    '[1,\n1e999]': "line 2: 1e999 is not a finite number",
    "\n" + "[" * 65 + "]" * 65: "line 2: is nested deeper than 64 levels",
    '{"a":' * 20_000: "line 1: is nested deeper than 64 levels",
    '["\\ud83d\\ude00",\n"\\ud800"]': "line 2: \\ud800 is half a character",
    '{"a": 1': "line 1: is not valid JSON",
    "": "line 1: is not valid JSON",
    '{"a": 1}\n{}': "line 2: is not valid JSON: Extra data",
    "1" * 5000: "is not valid JSON: Exceeds the limit",
    '"' + "x" * 1_000_000: "is larger than 1,000,000 bytes (1,000,001)",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_readers_differ_about_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_json(text)
    assert str(caught.value).startswith(REFUSED[text])


def test_bytes_that_are_no_utf8_have_a_line() -> None:
    with pytest.raises(Refused, match=r"line 2: is not UTF-8 text \(byte 4\)"):
        parse_json(b"[1,\n\xff]")


def test_what_is_strict_is_read_as_json_reads_it() -> None:
    draw = random.Random(0)

    def value(level: int) -> object:
        kind = draw.randrange(8 if level < 5 else 6)
        if kind < 6:
            return [None, True, draw.randint(-9, 9), draw.uniform(-1e300, 1e300), 'k"\\{[:,NaN 한', ""][kind]
        items = [value(level + 1) for _ in range(draw.randrange(6))]
        return items if kind == 6 else {f'{index}"[{{': item for index, item in enumerate(items)}

    for _ in range(500):
        tree = value(0)
        assert parse_json(json.dumps(tree)) == tree
        assert parse_json(json.dumps(tree, indent=1, ensure_ascii=False).encode()) == tree
    nested = json.loads("[" * 64 + "]" * 64)
    assert parse_json("[" * 64 + "]" * 64) == nested


def test_what_is_wrong_behind_a_suspicion_is_refused_too() -> None:
    """Found by fuzzing: the reader stops at NaN, which turns out to be part of something that is no number at all."""
    with pytest.raises(Refused, match="is not valid JSON"):
        parse_json(r'{"a": NaN.5, "b\s": 1}')

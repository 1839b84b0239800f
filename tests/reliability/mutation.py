"""Inputs nobody would write, made from inputs somebody did: bits, pieces, words, lengths, trees."""

from __future__ import annotations

import copy
import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

Draw = random.Random
Repair = Callable[[bytes], bytes]

NUMBERS = (
    0,
    1,
    2,
    7,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
NUMBER_TEXTS = (b"0", b"-1", b"1e999", b"NaN", b"-inf", b"1" * 400, b"9" * 5000, b"0x10", b"1_000", b"1e-999", b"2147483648",
                b"18446744073709551616", b"0.1", b"-0", b"1e308", "\u0663".encode(), b"1" + b"0" * 30)  # fmt: skip
LEAVES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, -0.0, 2**31, 2**53 + 1, 2**63, 2**64, -(2**70), 10**30, 1e308, 5e-324, 0.999, "", "a", "0",
    "1", "nan", "auto", "all", "../../etc/passwd", "/etc/passwd", "a\0b", "\ud800", "é", "한글", "x" * 3000, "{}", "{0.__class__}",
    "%s", "os.system", "__class__", [], {}, [[]], [1], [None], [0] * 50, ["a", "a"], {"": ""}, {"name": "mlp"}, {"name": 1},
    [[[[1]]]], {"$tensor": "x"}, {"a": {"b": {"c": []}}}, 10**12, 100_000, -5, 3,
)  # fmt: skip
TEXT_TOKENS = (b"\0", b"\n", b"\r\n", b"\t", b'"', b"'", b",", b";", b"=", b"[", b"]", b"{", b"}", b"#", b"\\", b"\xff", b"\xef\xbb\xbf",
               b"\xff\xfe", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b'""', b"[[", b"{}", b"null", b"true", b":", b" ", b"/", b"..",
               "한".encode(), "\u2028".encode(), "\u202e".encode(), b"[" * 70, b'{"a":' * 70, b"\x1b[31m", b"\\u0000", b"\\ud800")  # fmt: skip
LONGEST = 1 << 16


def mutate(draw: Draw, seeds: Sequence[bytes], tokens: Sequence[bytes], longest: int = LONGEST) -> bytes:
    """Return a seed after one to six random changes; now and then plain noise."""
    if draw.random() < 0.01:
        return draw.randbytes(draw.randrange(200))
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 6))):
        _change(draw, data, seeds, tokens)
    return bytes(data[:longest])


def _change(draw: Draw, data: bytearray, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    at = draw.randrange(len(data) + 1)
    end = min(len(data), at + draw.choice((1, 1, 2, 4, 8, 32, 200)))
    match draw.randrange(12):
        case 0 | 1:
            if at < len(data):
                data[at] ^= 1 << draw.randrange(8)
        case 2:
            if at < len(data):
                data[at] = draw.choice((0, 1, 9, 10, 32, 34, 44, 91, 127, 128, 254, 255))
        case 3:
            del data[at:end]
        case 4:
            data[at:at] = data[at:end] * draw.choice((1, 1, 2, 50))
        case 5 | 6:
            data[at:at] = draw.choice(tokens)
        case 7:
            data[at:end] = draw.choice(tokens)
        case 8:
            other = draw.choice(seeds)
            start = draw.randrange(len(other) + 1)
            data[at:end] = other[start : start + draw.choice((1, 4, 16, 100, 10_000))]
        case 9:
            kind = draw.choice(("<H", ">H", "<I", ">I", "<Q", ">Q", "B"))
            size = struct.calcsize(kind)
            value = draw.choice(NUMBERS) & ((1 << 8 * size) - 1)
            if at + size <= len(data):
                struct.pack_into(kind, data, at, value)
        case 10:
            del data[at:]
        case 11:
            digits = [place for place in range(len(data)) if 48 <= data[place] <= 57] if len(data) < 3000 else []
            if digits:
                first = last = draw.choice(digits)
                while last < len(data) and 48 <= data[last] <= 57:
                    last += 1
                data[first:last] = draw.choice(NUMBER_TEXTS)


def mutate_tree(draw: Draw, trees: Sequence[Any]) -> Any:
    """Return a tree of tables and lists with one to three of its places changed."""
    tree = copy.deepcopy(draw.choice(trees))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        places = [(tree, key) for key in _keys(tree)]
        for holder, key in places:  # grows while it is walked
            places += [(holder[key], inner) for inner in _keys(holder[key])]
            if len(places) > 400:
                break
        if not places:
            return copy.deepcopy(draw.choice(LEAVES))
        holder, key = draw.choice(places)
        match draw.randrange(6):
            case 0:
                del holder[key]
            case 1:
                other, place = draw.choice(places)
                holder[key] = copy.deepcopy(other[place]) if place in _keys(other) else None
            case 2 if isinstance(holder, dict):
                holder[draw.choice(("", "name", "__class__", "_target_", "kind", "x", "bytes", "step", "a.b"))] = (
                    holder[key]
                )
            case _:
                holder[key] = copy.deepcopy(draw.choice(LEAVES))
    return tree


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []


def json_of(tree: Any) -> bytes:
    return json.dumps(tree).encode()


# ---------------------------------------------------------------------------- what belongs to a changed content


def png_repaired(data: bytes) -> bytes:
    """Give every chunk of a PNG the checksum of what it holds now."""
    made, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        body = data[at + 4 : at + 8 + length]
        if len(body) < 4 + length:
            break
        made += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4)
        at += 12 + length
    return bytes(made) + data[at:]


def stored_zip(members: Sequence[tuple[bytes, bytes]], lie: Callable[[int], int] = lambda size: size) -> bytes:
    """Return a zip of uncompressed members; `lie` changes the sizes that its directory states."""
    body, directory = bytearray(), bytearray()
    for name, content in members:
        offset, crc, size = len(body), zlib.crc32(content), lie(len(content)) & 0xFFFFFFFF
        common = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0x21, crc, size, size, len(name), 0)
        body += b"PK\3\4" + common + name + content
        directory += b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + name
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory + b"PK\5\6" + end)


def npy(header: bytes, content: bytes, version: bytes = b"\1\0") -> bytes:
    """Return a NumPy array file with this text for a header."""
    length = len(header).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + length + header + content


def safetensors_of(header: bytes, content: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + content

"""Readers of tokenizers, texts, tables and arrays, with inputs made for them."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seodang.core.inputs import Column, TableInputs, VectorInputs
from seodang.data import mnist, tokenizers
from seodang.data.array_reading import check_arrays, read_arrays
from seodang.data.raw_table import TableFormat
from seodang.data.reading import read_inputs, table_of
from seodang.data.table_reading import read_table
from seodang.data.text import plain_text
from tests.reliability.fuzz import Reader
from tests.reliability.mutation import (
    NUMBERS,
    TEXT_TOKENS,
    json_of,
    mutate,
    npy,
    stored_zip,
)
from tests.reliability.reader_inputs import put, texts, trees_and_texts

# ----------------------------------------------------------------------------------- tokenizers and text


def tokenizer(folder: Path) -> Reader:
    made = [tokenizers.character_tokenizer("ab \n한", lower) for lower in (False, True)]
    made.append(tokenizers.train_byte_pairs("aa ab aa ab b" * 3, 258))
    trees = [json.loads(item.to_str()) for item in made[:2]]
    pairs = json.loads(made[2].to_str())
    pairs["model"]["vocab"] = {"a": 0, "b": 1, "aa": 2}
    pairs["model"]["merges"] = [["a", "a"]]
    special = {**trees[0], "added_tokens": [{"id": 9, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False,
               "normalized": False, "special": True}]}  # fmt: skip
    kinds = [{"type": name} for name in ("NFC", "Lowercase", "StripAccents", "Nmt", "BertNormalizer", "Precompiled", "Replace", "Prepend",
                                         "ByteLevel", "Metaspace", "Whitespace", "Split", "Punctuation", "Digits", "Sequence",
                                         "TemplateProcessing", "BertProcessing", "WordPiece", "Unigram", "WordLevel", "BPE", "CTC")]  # fmt: skip
    more = [
        {**trees[0], part: kind}
        for part in ("normalizer", "pre_tokenizer", "decoder", "post_processor")
        for kind in kinds[:14]
    ]
    words = (
        b'"Regex"',
        b'"(a+)+$"',
        b'"\\\\p{L}"',
        b'"[[:alpha:"',
        b'"(?<=a*)"',
        b"18446744073709551615",
        b'"Split"',
        b'"unk_token"',
    )
    make = trees_and_texts([*trees, pairs, pairs, special, special, *more], json_of, words)

    "".encode("utf-32-le")  # imports its codec

    def read(data: bytes) -> None:
        found = tokenizers.read_tokenizer(data.decode("utf-8", "replace"))
        for text in ("ab a", "a" * 300 + "!", "한 é"):
            tokenizers.decode(found, tokenizers.encode(found, text, "the prompt").tolist())

    return Reader(make, read)


def text(folder: Path) -> Reader:
    seeds = [
        b"To be, or not to be.\nThat is the question.\n",
        "가나다라\n마바사".encode(),
        "가나다".encode("cp949"),
        b"a",
    ]
    return Reader(texts(seeds), lambda data: plain_text(data, "story.txt"))


# ------------------------------------------------------------------------------------------------ tables


TABLES = (
    b"a,b,c\n1,2,x\n3,4,y\n5,6,x\n", b'a;b\n1,5;"x;y"\n2,5;"z ""q"" "\n', b"1\t2\n3\t4\n", b"a|b\n1|\n?|NA\n",
    "이름,키\n가,1.5\n나,2\n".encode(), b"\xef\xbb\xbfa,b\r\n1,2\r\n",
)  # fmt: skip


def separated(folder: Path, suffix: str) -> Reader:
    forms = (TableFormat(), TableFormat(header=True), TableFormat(header=False, decimal=","), TableFormat(encoding="utf-16"),
             TableFormat(delimiter=";"), TableFormat(encoding="cp949"))  # fmt: skip
    path = folder / f"table{suffix}"
    make = texts(TABLES, (b"1e999", b"nan", b"-inf", b"1_0", b"?", b"NA", b"\r", b'"', b'\n"'), 4_000)
    return Reader(
        make, lambda data: read_table(path, forms[zlib.crc32(data) % 12 if zlib.crc32(data) % 12 < 6 else 0]), put(path)
    )


def csv(folder: Path) -> Reader:
    return separated(folder, ".csv")


def tsv(folder: Path) -> Reader:
    return separated(folder, ".tsv")


RECORDS = [{"a": 1, "b": "x", "c": True}, {"a": 2.5, "b": None, "c": False}, {"a": "3", "d": ""}]


def records(folder: Path, suffix: str, write: Callable[[Any], bytes]) -> Reader:
    path = folder / f"table{suffix}"
    make = trees_and_texts([RECORDS], write, (b"NaN", b"Infinity"))
    return Reader(make, lambda data: read_table(path, TableFormat()), put(path))


def json_table(folder: Path) -> Reader:
    return records(folder, ".json", json_of)


def json_lines(folder: Path) -> Reader:
    return records(folder, ".jsonl", lambda tree: b"\n".join(map(json_of, tree)))


def gz_table(folder: Path) -> Reader:
    path = folder / "table.csv.gz"
    whole = [gzip.compress(table, mtime=0) for table in TABLES]

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.5:
            return mutate(draw, whole, (whole[0], b"\x1f\x8b", b"\0"))
        return gzip.compress(mutate(draw, TABLES, TEXT_TOKENS, 4_000), 1, mtime=0)

    return Reader(make, lambda data: read_table(path, TableFormat()), put(path))


def parquet(folder: Path) -> Reader:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = []
    for compression in ("none", "snappy", "zstd"):
        table = pa.table(
            {
                "a": [1, 2, None],
                "b": ["x", None, "y"],
                "c": [True, False, None],
                "d": pa.array(["p", "q", "p"]).dictionary_encode(),
            }
        )
        sink = io.BytesIO()
        pq.write_table(table, sink, compression=compression)
        made.append(sink.getvalue())
    path = folder / "table.parquet"

    def make(draw: random.Random) -> bytes:
        data = mutate(draw, made, (b"PAR1", b"\0\0", b"\xff\xff\xff\x7f"))
        if draw.random() < 0.7 and len(data) > 12:  # whole again at both ends, so that it is looked into
            length = len(made[0]) - int.from_bytes(made[0][-8:-4], "little")
            del length
            data = b"PAR1" + data[4:-4] + b"PAR1"
        return data

    return Reader(make, lambda data: read_table(path, TableFormat()), put(path))


def typed_rows(folder: Path) -> Reader:
    """What a person types after `seodang predict`."""
    inputs = TableInputs(columns=(Column(name="a", kind="number"), Column(name="b", kind="category", categories=("x", "y"), missing=True),
                                  Column(name="c", kind="number", missing=True)))  # fmt: skip
    seeds = [
        b"a=1,b=x,c=2",
        b"1,x,2",
        b'{"a": 1, "b": "x", "c": null}',
        b'[{"a": 1, "b": "x"}]',
        b"a=1,b=?",
        b'[1, "x", 2]',
    ]
    make = texts(seeds, (b"a=", b"?", b"nan", b"inf"), 2_000)
    return Reader(make, lambda data: table_of(inputs, data.decode("utf-8", "surrogateescape")))


# ------------------------------------------------------------------------------------------------ arrays


HEADERS = (
    b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }", b"{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }",
    b"{'descr': '<U2', 'fortran_order': False, 'shape': (3,), }", b"{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (2,), }",
)  # fmt: skip
HEADER_WORDS = (b"|O", b"<m8[s]", b"<c16", b"|V3", b"|S0", b"<U0", b"__import__('os')", b"(", b")", b"-1", b"2**60", b"9999999999",
                b"True", b"lambda: 0", b"(0, 9223372036854775807)", b"*", b"()", b">i8", b"<f2", b"b'x'", b"{" * 60, b"-" * 200)  # fmt: skip


def one_array(draw: random.Random) -> bytes:
    header = mutate(draw, HEADERS, HEADER_WORDS) if draw.random() < 0.7 else draw.choice(HEADERS)
    return npy(
        header + b"\n",
        draw.randbytes(draw.choice((0, 6, 8, 12, 24))),
        draw.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\0\0")),
    )


def npz(folder: Path) -> Reader:
    path = folder / "arrays.npz"
    names = (
        b"x.npy",
        b"y.npy",
        b"train_x.npy",
        b"classes.npy",
        b"../x.npy",
        b"x",
        b"y",
        b"/x.npy",
        b"test_y.npy",
        b"\xff.npy",
    )
    fine = [
        npy(HEADERS[0] + b"\n", b"012345"),
        npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }\n", bytes(15) + b"\1"),
    ]
    whole = stored_zip([(b"x.npy", fine[0]), (b"y.npy", fine[1])])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.zeros((4, 3), np.uint8), y=np.array([0, 1, 0, 1]))

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.3:
            return mutate(draw, [whole, buffer.getvalue()], (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"\xff\xff\xff\xff"))
        members = [
            (draw.choice(names), draw.choice(fine) if draw.random() < 0.4 else one_array(draw))
            for _ in range(draw.randrange(1, 4))
        ]
        lie = (lambda size: draw.choice(NUMBERS)) if draw.random() < 0.1 else (lambda size: size)
        return stored_zip(members, lie)

    def read(data: bytes) -> None:
        check_arrays(read_arrays(path), "arrays.npz")

    return Reader(make, read, put(path))


def npy_input(folder: Path) -> Reader:
    path = folder / "input.npy"
    inputs = VectorInputs(size=3)
    return Reader(one_array, lambda data: read_inputs(inputs, str(path)), put(path))


def npz_official(folder: Path) -> Reader:
    make = npz(folder).make
    return Reader(make, lambda data: mnist.read_npz("official.npz", data, ("x", "y")))


def idx(folder: Path) -> Reader:
    seeds = [
        b"\0\0\x08\x03" + struct.pack(">III", 2, 2, 2) + bytes(8),
        b"\0\0\x08\x01" + struct.pack(">I", 3) + b"\1\2\3",
    ]
    return Reader(
        lambda draw: mutate(draw, seeds, (b"\0\0\x08\xff", b"\xff\xff\xff\xff", b"\0\0\0\0")),
        lambda data: mnist.read_idx("labels", data),
    )

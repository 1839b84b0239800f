"""Every reader of files there is, with inputs made for it: a valid seed, the words of its format, its lengths and sums."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from PIL import Image
from safetensors.torch import save as save_tensors

from seodang.core import files
from seodang.core.config import parse_override
from seodang.core.inputs import Column, Facts, ImageInputs, TableInputs, TokenInputs, VectorInputs
from seodang.core.recipe import Choice
from seodang.core.run import RunFolder
from seodang.core.shipped import recipe_names, recipe_path, recipe_values
from seodang.data import cifar, decoding, download, mnist, picture_loading, tokenizers
from seodang.data.array_reading import check_arrays, read_arrays
from seodang.data.raw_table import TableFormat
from seodang.data.reading import read_inputs, table_of
from seodang.data.table_reading import read_table
from seodang.data.text import plain_text
from seodang.models.base import architectures
from seodang.models.bundle import SETTINGS, WEIGHTS, Bundle, BundleRecord, bundle_files, read_tensors, ties
from seodang.training import checkpoint
from seodang.training.resolve import read_recipe, registry_of
from tests.reliability.fuzz import Reader
from tests.reliability.mutation import (
    NUMBERS,
    TEXT_TOKENS,
    json_of,
    mutate,
    mutate_tree,
    npy,
    png_repaired,
    safetensors_of,
    stored_zip,
)

Make = Callable[[random.Random], bytes]


def put(path: Path) -> Callable[[bytes], None]:
    """Return a function that puts bytes into a file."""

    def place(data: bytes) -> None:
        path.write_bytes(data)

    return place


def texts(seeds: Sequence[bytes], tokens: Sequence[bytes] = (), longest: int = 20_000) -> Make:
    words = (*TEXT_TOKENS, *tokens)
    return lambda draw: mutate(draw, seeds, words, longest)


def trees_and_texts(trees: Sequence[Any], write: Callable[[Any], bytes], tokens: Sequence[bytes] = ()) -> Make:
    """Make half of the inputs by changing a tree and writing it, half by changing what was written."""
    seeds = [write(tree) for tree in trees]
    words = (*TEXT_TOKENS, *tokens)

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.5:
            try:
                return write(mutate_tree(draw, trees))
            except (TypeError, ValueError, AttributeError, UnicodeError):
                pass  # a tree that has no text in this format
        return mutate(draw, seeds, words)

    return make


# --------------------------------------------------------------------------------- recipes and settings


def toml(tree: Any) -> bytes:
    return tomli_w.dumps(_writable(tree)).encode()


def _writable(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {str(key): _writable(value) for key, value in tree.items() if value is not None}
    if isinstance(tree, list):
        return [_writable(value) for value in tree if value is not None]
    return tree


def resolved(recipe: Any) -> None:
    """Do with a recipe what every command does before it makes anything."""
    recipe.digest()
    for section in ("model", "data", "task", "optimizer"):
        registry_of(section).settings(getattr(recipe, section))


def recipes(folder: Path) -> Reader:
    trees = [recipe_values(name) for name in recipe_names()]
    small = {"name": "x", "model": "mlp", "data": "digits", "task": "classification", "optimizer": {"name": "sgd", "lr": 0.1},
             "train": {"steps": 3}, "seed": 1}  # fmt: skip
    words = (
        b"inf",
        b"nan",
        b"2020-01-01",
        b"07:32:00",
        b"[[",
        b"]]",
        b'"""',
        b"'''",
        b"[model]",
        b"train.",
        b"a.b.c = 1",
        b"0b1",
    )
    text = texts([recipe_path(name).read_bytes() for name in recipe_names()[:4]] + [toml(small)], words)
    tree = trees_and_texts([small, small, *trees], toml, words)
    path = folder / "recipe.toml"
    return Reader(
        lambda draw: (text if draw.random() < 0.3 else tree)(draw),
        lambda data: resolved(read_recipe(str(path))[0]),
        put(path),
    )


def settings(folder: Path) -> Reader:
    base = recipe_values("iris-mlp")
    seeds = [b"train.steps=200", b"optimizer.lr=0.1", b"model=mlp", b"model.hidden_sizes=[3, 4]", b"data.valid=0.1", b"seed=3",
             b"train={steps = 3}", b"task=classification", b"optimizer.betas=[0.9, 0.99]", b"train.batch_size=\"all\"",
             b"expected.scores.accuracy=1", b"model.name=\"cnn\"", b"data.path=a b.csv"]  # fmt: skip
    make = texts(
        seeds, (b".", b"train", b"name", b"=", b"inf", b"1e999", b"2020-01-01", b"model", b"__class__", b"{a=1}"), 3_000
    )

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")  # as the shell gives it
        parse_override(text)
        resolved(read_recipe(base, overrides=[text])[0])

    return Reader(make, read)


# ------------------------------------------------------------------------------- what a run leaves behind


def manifest(folder: Path) -> Reader:
    files.write_folder(
        folder / "whole", {"model.safetensors": b"x" * 100, "state.json": b"{}"}, {"step": 3, "threads": 1}
    )
    text = (folder / "whole" / files.MANIFEST).read_bytes()
    tree = {key: value for key, value in json.loads(text).items() if key != "sha256"}
    path = folder / "whole" / files.MANIFEST

    def make(draw: random.Random) -> bytes:
        match draw.randrange(3):
            case 0:
                return mutate(draw, [text], TEXT_TOKENS)
            case 1:
                changed = mutate_tree(draw, [tree])
                head = json.dumps(changed, indent=1).removesuffix("\n}").encode()
            case _:
                head = mutate(draw, [text[:-78]], TEXT_TOKENS)
        return files._sealed(head)

    return Reader(make, lambda data: files.read_folder(path.parent), put(path))


def state(folder: Path) -> Reader:
    tensors = {"state/task/a": torch.zeros(2), "state/stream/b": torch.ones(1)}
    tree = {"step": 3, "seconds": 1.5, "finished": False, "reason": "", "scores": {"accuracy": 0.5}, "best": None,
            "task": {"a": {"$tensor": "state/task/a"}}, "stream": [{"$tensor": "state/stream/b"}, 1], "window": {"losses": [0.1]}}  # fmt: skip
    make = trees_and_texts([tree], json_of, (b'"$tensor"', b"NaN", b"1e999"))
    return Reader(make, lambda data: checkpoint._read_state(data, tensors, Path("state.json")))


EVENTS = (
    {"event": "started", "step": 0, "total_steps": 9, "choices": {"device": "cpu"}},
    {"event": "progress", "step": 3, "losses": {"loss": 1.5}, "examples_per_second": 10.0},
    {"event": "evaluated", "step": 4, "scores": {"accuracy": 0.5}, "split": "valid"},
    {"event": "saved", "step": 4, "path": "step-000000004", "best": True},
    {"event": "stopped", "step": 9, "finished": True, "result": {}},
)


def run_folder(folder: Path, name: str) -> RunFolder:
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "recipe.toml").write_bytes(b'name = "x"')
    return RunFolder(folder)


def events(folder: Path) -> Reader:
    run = run_folder(folder, "events")
    seeds = [
        b"\n".join(map(json_of, EVENTS)) + b"\n",
        b"\n".join(map(json_of, (*EVENTS[:4], *EVENTS))) + b'\n{"event": "prog',
    ]
    text = texts(seeds, (b'"event"', b'"step"', b"NaN", b'"scores"', b"1e999"))

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.5:
            return text(draw)
        return b"\n".join(json_of(mutate_tree(draw, EVENTS)) for _ in range(draw.randrange(1, 4))) + b"\n"

    return Reader(
        make, lambda data: (run.events, run.scores, run.status, run.is_complete), put(folder / "events.jsonl")
    )


def result(folder: Path) -> Reader:
    run = run_folder(folder, "result")
    (folder / "events.jsonl").write_bytes(b"\n".join(map(json_of, EVENTS)) + b"\n")
    tree = {
        "scores": {"accuracy": 0.5},
        "seconds": 1.5,
        "steps": 9,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
    }
    make = trees_and_texts([tree], json_of, (b'"scores"', b"NaN"))
    return Reader(make, lambda data: (run.result, run.scores, run.status, run.is_complete), put(folder / "result.json"))


# ---------------------------------------------------------------------------------- weights and bundles


def safetensors(folder: Path) -> Reader:
    whole = save_tensors(
        {"a.weight": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16), "n": torch.tensor(3)}
    )
    length = int.from_bytes(whole[:8], "little")
    header, content = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    kinds = (
        b'"F4"',
        b'"F8_E8M0"',
        b'"C64"',
        b'"BOOL"',
        b'"U64"',
        b'"F6_E2M3"',
        b'"__metadata__"',
        b'"dtype"',
        b"[0,0]",
        b"18446744073709551615",
    )

    def make(draw: random.Random) -> bytes:
        match draw.randrange(4):
            case 0:
                return mutate(draw, [whole], (*TEXT_TOKENS, *kinds))
            case 1:
                return safetensors_of(json_of(mutate_tree(draw, [header])), content)
            case 2:
                tree = json.loads(json.dumps(header))
                entry = tree[draw.choice(list(tree))]
                entry["dtype"] = draw.choice(("F4", "F8_E8M0", "F8_E4M3", "C64", "BOOL", "U8", "F64", "F6_E3M2", "I64"))
                entry["shape"] = [draw.choice((0, 1, 2, 3, 2**31, 2**62, *NUMBERS)) for _ in range(draw.randrange(4))]
                return safetensors_of(json_of(tree), content)
            case _:
                return safetensors_of(mutate(draw, [whole[8 : 8 + length]], (*TEXT_TOKENS, *kinds)), content)

    return Reader(make, lambda data: read_tensors(data, Path("model.safetensors")))


def bundles() -> list[tuple[BundleRecord, bytes]]:
    """Return a record of every kind of model with weights that fit."""
    image = ImageInputs(channels=1, height=4, width=4, mean=(0.5,), std=(0.5,))
    made = []
    for model, inputs, task, classes in (
        ({"name": "mlp", "hidden_sizes": (3,)}, image, "classification", ("a", "b")),
        ({"name": "gpt", "num_layers": 1, "num_heads": 1, "embed_dim": 4}, TokenInputs(vocab_size=5, length=4), "language-modeling", None),
        ({"name": "mlp", "hidden_sizes": ()}, TableInputs(columns=(Column(name="x", kind="number"),)), "classification", ("a", "b")),
        ({"name": "vae", "latent_dim": 2, "hidden_sizes": (3,)}, image, "vae", None),
    ):  # fmt: skip
        facts = Facts(inputs=inputs, classes=classes, sizes={"train": 3})
        choice = Choice.of(model)
        config = architectures.settings(choice, facts.known())
        record = BundleRecord(
            model=Choice.of({"name": choice.name, **config.values()}), task=Choice(name=task), facts=facts
        )
        model_made = architectures.make(choice, facts.known())
        made.append((record, bundle_files(model_made.state_dict(), ties(model_made), record)[WEIGHTS]))
    return made


def bundle(folder: Path) -> Reader:
    made = bundles()
    weights = [data for _, data in made]
    trees = [json.loads(json.dumps(record.values())) for record, _ in made]
    path = folder / "bundle"
    path.mkdir()

    def make(draw: random.Random) -> bytes:
        """Give which weights, and the record beside them."""
        which = draw.randrange(len(trees))
        if draw.random() < 0.7:
            return bytes([which]) + json_of(mutate_tree(draw, [trees[which]]))
        return bytes([which]) + mutate(draw, [json_of(trees[which])], TEXT_TOKENS)

    def place(data: bytes) -> None:
        content = {WEIGHTS: weights[data[0] % len(weights)], SETTINGS: data[1:]}
        for name, item in content.items():
            (path / name).write_bytes(item)
        entries = {name: {"bytes": len(item), "sha256": files._digests(item)} for name, item in content.items()}
        (path / files.MANIFEST).write_bytes(files._manifest({"files": entries}))

    return Reader(make, lambda data: Bundle.read(path), place)


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


def json_table(folder: Path) -> Reader:
    path = folder / "table.json"
    return Reader(
        trees_and_texts([RECORDS], json_of, (b"NaN", b"Infinity")),
        lambda data: read_table(path, TableFormat()),
        put(path),
    )


def json_lines(folder: Path) -> Reader:
    path = folder / "table.jsonl"

    def write(tree: Any) -> bytes:
        return b"\n".join(map(json_of, tree))

    return Reader(
        trees_and_texts([RECORDS], write, (b"NaN", b"Infinity")),
        lambda data: read_table(path, TableFormat()),
        put(path),
    )


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


# ---------------------------------------------------------------------------------------------- archives


def archive(members: Sequence[tuple[str, bytes, bytes]]) -> bytes:
    """Return a tar of (name, type, content)."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            info.linkname = "../../etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            tar.addfile(info, io.BytesIO(content))
    return sink.getvalue()[: 512 * (2 + 3 * len(members))]


def tar(folder: Path) -> Reader:
    names = (cifar.TEST[0], cifar.TRAIN[0], "../../x", "/etc/passwd", "./" + cifar.TEST[0])
    plain = [archive([(names[0], tarfile.REGTYPE, b"abc")]), archive([(name, tarfile.REGTYPE, b"x") for name in names]),
             archive([(names[0], tarfile.SYMTYPE, b""), (names[1], tarfile.LNKTYPE, b""), ("d", tarfile.DIRTYPE, b"")]),
             archive([("n" * 200, tarfile.REGTYPE, b"long name")])]  # fmt: skip
    whole = [gzip.compress(item, mtime=0) for item in plain]
    words = (b"ustar  \0", b"0000777", b"77777777777", b"\x80\0\0\0\xff", b"5", b"2", b"x", b"L", b"S", b"\xff" * 8)

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.2:
            return mutate(draw, whole, words)
        data = bytearray(mutate(draw, plain, words))
        if draw.random() < 0.7 and len(data) >= 512:  # a header with the sum of its bytes
            data[148:156] = b" " * 8
            data[148:156] = b"%06o\0 " % sum(data[:512])
        return gzip.compress(bytes(data), 1, mtime=0)

    def read(data: bytes) -> None:
        before = cifar.BATCH_PICTURES, cifar.RECORD_BYTES
        cifar.BATCH_PICTURES, cifar.RECORD_BYTES = 3, 1  # so that small archives are whole
        try:
            cifar.read_members("cifar.tar.gz", data, cifar.TEST)
        finally:
            cifar.BATCH_PICTURES, cifar.RECORD_BYTES = before

    return Reader(make, read)


def gzipped(folder: Path) -> Reader:
    """A file of a named dataset that is wrapped, and whose digest is not the published one."""
    content = b"0123456789" * 5
    official = download.Official("x.gz", "", 10, "0" * 64, len(content), files.digest(content))
    whole = [gzip.compress(content, mtime=0), content, gzip.compress(bytes(10_000), mtime=0)]
    path = folder / "x.gz"
    return Reader(
        lambda draw: mutate(draw, whole, (b"\x1f\x8b\x08", b"\0")),
        lambda data: download.read_verified(path, official),
        put(path),
    )


# ---------------------------------------------------------------------------------------------- pictures


def pictures(folder: Path, kind: str) -> Reader:
    seeds = picture_seeds(kind)
    inputs = [ImageInputs(channels=1, height=3, width=3, mean=(0.5,), std=(0.5,)),
              ImageInputs(channels=3, height=4, width=2, mean=(0.5,) * 3, std=(0.5,) * 3)]  # fmt: skip
    path = folder / f"picture.{kind.lower()}"
    tokens = (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"iCCP", b"eXIf", b"zTXt", b"GIF89a", b"!\xf9\x04", b",", b"RIFF",
              b"VP8X", b"ANIM", b"ALPH", b"\xff\xd8", b"\xff\xd9", b"\xff\xc0", b"\xff\xda", b"\xff\xe1", b"Exif\0\0", b"II*\0", b"MM\0*",
              b"BM", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0")  # fmt: skip

    def make(draw: random.Random) -> bytes:
        data = mutate(draw, seeds, tokens, 4_000)
        return png_repaired(data) if kind == "PNG" and draw.random() < 0.7 else data

    def read(data: bytes) -> None:
        found = picture_loading._or_reason(decoding.header, path)
        if not isinstance(found, decoding.Unreadable):
            str(found)
        picture_loading.load_one(path, inputs[zlib.crc32(data) & 1])

    strict = decoding.strict_pillow()
    strict.__enter__()  # as long as this process lives
    return Reader(make, read, put(path))


def picture_seeds(kind: str) -> list[bytes]:
    """Return small whole pictures of a format, of several modes and with what hangs on them."""
    modes = {"JPEG": ("L", "RGB", "CMYK"), "BMP": ("1", "L", "P", "RGB"), "GIF": ("L", "P"), "WEBP": ("RGB", "RGBA"),
             "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "LAB")}[kind]  # fmt: skip
    made = []
    for mode in modes:
        image = Image.new(mode, (5, 4))
        for options in (
            ({"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}, {})
            if kind in ("JPEG", "PNG", "WEBP")
            else ({},)
        ):
            sink = io.BytesIO()
            image.save(sink, kind, **options)
            made.append(of_16_colours(sink.getvalue()) if (kind, mode) == ("BMP", "L") else sink.getvalue())
    if kind in ("GIF", "PNG", "WEBP"):
        frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue", "white")]
        sink = io.BytesIO()
        frames[0].save(sink, kind, save_all=True, append_images=frames[1:])
        made.append(sink.getvalue())
    if kind == "TIFF":
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "group4"):
            sink = io.BytesIO()
            Image.new("1" if compression == "group4" else "L", (9, 9)).save(sink, kind, compression=compression)
            made.append(sink.getvalue())
    return made


def of_16_colours(bmp: bytes) -> bytes:
    """Return a BMP of 256 colours with the first 16 of them: to read all of them takes most of the time of an input."""
    sizes = struct.pack("<I", len(bmp) - 960) + bmp[6:10] + struct.pack("<I", 54 + 64)
    return bmp[:2] + sizes + bmp[14:46] + struct.pack("<I", 16) + bmp[50 : 54 + 64] + bmp[54 + 1024 :]


def picture(kind: str) -> Callable[[Path], Reader]:
    return lambda folder: pictures(folder, kind)


# --------------------------------------------------------------------------------------------- the table

READERS: dict[str, Callable[[Path], Reader]] = {
    "recipe": recipes, "settings": settings, "manifest": manifest, "state": state, "events": events, "result": result,
    "safetensors": safetensors, "bundle": bundle, "tokenizer": tokenizer, "text": text, "csv": csv, "tsv": tsv,
    "json": json_table, "jsonl": json_lines, "gz": gz_table, "parquet": parquet, "typed": typed_rows, "npz": npz, "npy": npy_input,
    "npz-official": npz_official, "idx": idx, "tar": tar, "gzip": gzipped,
    **{kind.lower(): picture(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")},
}  # fmt: skip
SHARES: dict[str, int] = dict.fromkeys(READERS, 50)
"""Thousands of inputs in the tests, and shares of a long run."""
START = 10_000_000
"""Number of the first input of a long run: other ones than in the tests."""

"""T19: 50,000 inputs for every reader of files.

None crashes, hangs, takes much memory, imports, writes, or raises anything but a SeodangError. 2,000,000: `fuzz.py`.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seodang.core.errors import ConfigError, DataError, SeodangError
from seodang.core.inputs import VectorInputs
from seodang.core.run import RunFolder
from seodang.data.array_reading import read_arrays
from seodang.data.mnist import read_idx
from seodang.data.reading import read_inputs
from seodang.data.tokenizers import character_tokenizer, encode, read_tokenizer
from tests.reliability import fuzz as fuzzing
from tests.reliability.fuzz import Reader, fuzz
from tests.reliability.mutation import npy, stored_zip
from tests.reliability.readers import SHARES


def test_no_reader_does_anything_but_answer_or_refuse(tmp_path: Path) -> None:
    """In an interpreter of its own: the shape checks of these tests compile code while a model is made."""
    command = [sys.executable, "-m", "tests.reliability.fuzz", "--tests", "--failures", str(tmp_path / "failures"),
               "--report", str(tmp_path / "report.json")]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    report = json.loads((tmp_path / "report.json").read_text())
    inputs = {name: 1_000 * share for name, share in SHARES.items()}
    assert report["counts"] == inputs
    for name, count in inputs.items():  # neither all refused nor all taken: the inputs reach into the reader
        if name not in ("events", "result"):
            assert 0.1 * count < report["refused"][name] < 0.999 * count, (name, report["refused"][name])
    assert report["failures"] == 0
    assert report["growth"] < fuzzing.MEMORY, report["largest"]


def raises(data: bytes) -> None:
    raise ValueError("not one of ours")


def writes(data: bytes) -> None:
    Path(os.devnull).open("ab").close()


def imports(data: bytes) -> None:
    sys.modules.pop("this", None)
    import_module = __import__
    import_module("antigravity_that_is_not_there")


def connects(data: bytes) -> None:
    socket.socket().close()


def starts(data: bytes) -> None:
    subprocess.run(["true"], check=False)


def runs(data: bytes) -> None:
    exec("1 + 1")


def hangs(data: bytes) -> None:
    while True:
        pass


def waits(data: bytes) -> None:
    time.sleep(1000)


def dies(data: bytes) -> None:
    os._exit(7)


def aborts(data: bytes) -> None:
    os.abort()


def gobbles(data: bytes) -> None:
    np.ones(600 << 20, np.uint8)


def gobbles_more(data: bytes) -> None:
    np.ones(8 << 30, np.uint8)


def warns(data: bytes) -> None:
    np.array([1.0]) / np.array([0.0])


MISDEEDS = {
    raises: "ValueError: not one of ours", writes: "open for writing", imports: "import", connects: "socket", starts: "subprocess",
    runs: "exec", hangs: "more than a second", dies: "the process died", aborts: "the process died", gobbles: "512 MB",
    gobbles_more: "MemoryError", warns: "RuntimeWarning", waits: "stuck",
}  # fmt: skip


@pytest.mark.parametrize("misdeed", MISDEEDS, ids=lambda misdeed: misdeed.__name__)
def test_a_reader_that_does_wrong_is_caught(misdeed: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def make(folder: Path) -> Reader:
        return Reader(lambda draw: draw.randbytes(8), lambda data: misdeed(data) if data[0] % rare == 0 else None)

    rare = 32 if misdeed is gobbles else 4
    monkeypatch.setattr(fuzzing, "SECONDS", 20.0 if misdeed is gobbles else 0.5)
    monkeypatch.setattr(fuzzing, "WARM", 0)
    monkeypatch.setattr(fuzzing, "STUCK", 2.0 if misdeed is waits else 60.0)
    report = fuzz({"wrong": make}, {"wrong": 70 if misdeed is gobbles else 12}, processes=1)
    assert report.failures
    assert MISDEEDS[misdeed] in report.failures[0].what
    assert len(report.failures[0].data) == 8


# ------------------------------------------------------------------------------------ what was found this way


def tokenizer_with(**changes: Any) -> str:
    return json.dumps({**json.loads(character_tokenizer("ab ").to_str()), **changes})


def model_with(**changes: Any) -> str:
    model = json.loads(tokenizer_with())["model"]
    return tokenizer_with(model={**model, **changes})


HARMFUL_TOKENIZERS = {
    "an id the library makes a table for": model_with(vocab={"a": 0, "b": 2**31}),
    "two of one number": model_with(vocab={"a": 0, "": 0}),
    "a part that panics": tokenizer_with(normalizer={"type": "Precompiled"}),
    "a text that grows for ever": tokenizer_with(normalizer={"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 16}),
    "a hundred steps": tokenizer_with(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}] * 100}),
    "no model": "{}",
    "a key twice": '{"model": {}, "model": {}}',
    "a part of another kind": tokenizer_with(decoder={"type": ["Fuse"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMFUL_TOKENIZERS)
def test_a_tokenizer_that_would_harm_is_not_given_to_the_library(name: str) -> None:
    with pytest.raises(DataError, match="The tokenizer cannot be read"):
        read_tokenizer(HARMFUL_TOKENIZERS[name])


def test_a_tokenizer_that_cannot_take_a_text_says_so() -> None:
    strict = tokenizer_with(pre_tokenizer={"type": "Whitespace"})
    with pytest.raises(DataError, match=r"the prompt: the tokenizer cannot take this text: .*UNK"):
        encode(read_tokenizer(strict), "zz", "the prompt")


def test_nobodys_habit_cuts_or_pads_a_text() -> None:
    padded = tokenizer_with(
        truncation={"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        padding={"strategy": {"Fixed": 10**6}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
                 "pad_token": "a"}, pre_tokenizer={"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": False},
    )  # fmt: skip
    assert len(encode(read_tokenizer(padded), "abab", "the prompt")) == 4


@pytest.mark.parametrize("header", [b"{'descr': '<f4', 'fortran_order': False, 'shape': (2**60,", b"(", b"'''", b"{'descr': '|u1', "
                                    b"'fortran_order': False, 'shape': (4294967296,), }", b"{'descr': '|u1', 'fortran_order': False, "
                                    b"'shape': (99999999999999999999999,), }"])  # fmt: skip
def test_a_header_that_promises_more_than_there_is(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(npy(header + b"\n", b"12345678"))
    with pytest.raises(DataError, match=r"x\.npy: array 'x' cannot be read"):
        read_inputs(VectorInputs(size=2), str(path))


def test_sizes_that_overflow() -> None:
    with pytest.raises(DataError, match="is not an idx file"):  # 2**31 · 2**31 · 4 is 0 in 64 bits
        read_idx("labels", b"\0\0\x08\3" + struct.pack(">III", 2**31, 2**31, 4))


def test_an_archive_of_one_name_twice_or_of_nothing_much(tmp_path: Path) -> None:
    array = npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }\n", b"1234")
    for members, message in (([(b"x.npy", array)] * 2, "two arrays called 'x'"), ([(b"x%d.npy" % index, array) for index in range(1001)],
                                                                                  "this is no archive of data")):  # fmt: skip
        (tmp_path / "a.npz").write_bytes(stored_zip(members))
        with pytest.raises(DataError, match=message):
            read_arrays(tmp_path / "a.npz")


def test_a_result_and_events_that_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('name = "x"')
    (tmp_path / "result.json").write_text('{"seconds": 1}')
    (tmp_path / "events.jsonl").write_text('{"event": "evaluated", "step": 1, "scores": null}\n{"event": [], "step": 1}\n'
                                           '{"event": "evaluated", "step": 2, "scores": {"accuracy": 0.5}}\n')  # fmt: skip
    run = RunFolder(tmp_path)
    assert run.result is None
    assert run.scores == {"accuracy": 0.5}


def test_what_a_message_quotes_cannot_command_the_terminal() -> None:
    for text in ("\x1b]0;title\x07", "\udc80", "\u202egnp.exe", "\r"):
        shown = str(ConfigError("{path}: is missing.", path=text))
        assert shown.isprintable()
        assert shown.encode()
    assert str(SeodangError("a\n\tb {x}", x="한글")) == "a\n\tb 한글"

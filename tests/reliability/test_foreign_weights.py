"""I1-I11: bundles and weights of somebody else: what asks for more than its file holds is refused."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as save_tensors

from seodang.core import files
from seodang.core.errors import SeodangError, WeightsError
from seodang.core.inputs import Facts, ImageInputs
from seodang.core.recipe import Choice
from seodang.models.base import architectures
from seodang.models.bundle import SETTINGS, WEIGHTS, Bundle, read_tensors
from tests.reliability.fuzz import peak


def record_of(**model: Any) -> dict[str, Any]:
    inputs = ImageInputs(channels=1, height=4, width=4, mean=(0.5,), std=(0.5,))
    facts = Facts(inputs=inputs, classes=("a", "b"), sizes={})
    return {
        "format": 1,
        "model": {"name": "mlp", "hidden_sizes": [3], **model},
        "task": {"name": "classification"},
        "facts": facts.values(),
    }


def bundle_at(folder: Path, record: dict[str, Any], weights: bytes | None = None) -> Path:
    facts = Facts.of(record_of()["facts"])
    model = architectures.make(Choice.of({"name": "mlp", "hidden_sizes": (3,)}), facts.known())
    files.write_folder(
        folder, {WEIGHTS: weights or save_tensors(dict(model.state_dict())), SETTINGS: json.dumps(record).encode()}
    )
    return folder


GREEDY = {
    "a layer of 4 TB": record_of(hidden_sizes=[2**40]),
    "ten million layers": record_of(hidden_sizes=[1] * 100_000),
    "a billion blocks": {**record_of(), "model": {"name": "gpt", "num_layers": 10**9, "embed_dim": 4, "num_heads": 1, "vocab_size": 5, "max_len": 4}},
    "a vocabulary of 2**50": {**record_of(), "model": {"name": "gpt", "num_layers": 1, "embed_dim": 4, "num_heads": 1, "vocab_size": 2**50, "max_len": 4}},
    "a picture of 2**62": {**record_of(), "facts": {**record_of()["facts"], "inputs": {**record_of()["facts"]["inputs"], "height": 2**31, "width": 2**31}}},
    "a number too large": record_of(hidden_sizes=[2**70]),
}  # fmt: skip


def test_a_bundle_whose_record_is_true_is_read(tmp_path: Path) -> None:
    assert Bundle.read(bundle_at(tmp_path / "b", record_of())).record.task.name == "classification"


@pytest.mark.parametrize("name", GREEDY)
def test_a_record_asks_for_no_more_than_its_file_holds(tmp_path: Path, name: str) -> None:
    folder = bundle_at(tmp_path / "b", GREEDY[name])
    began, before = time.process_time(), peak()
    with pytest.raises(SeodangError):
        Bundle.read(folder)
    assert time.process_time() - began < 2
    assert peak() - before < 256 << 20


def test_weights_of_another_kind_of_number_are_refused(tmp_path: Path) -> None:
    model = architectures.make(Choice.of({"name": "mlp", "hidden_sizes": (3,)}), Facts.of(record_of()["facts"]).known())
    weights = {name: value.to(torch.complex64) for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=r"holds torch.complex64, the model needs torch.float32"):
        Bundle.read(bundle_at(tmp_path / "b", record_of(), save_tensors(weights)))


def safetensors_with(header: bytes, content: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + content


HEADERS = {
    "larger than the file": (safetensors_with(b"{}", length=2**62), "header alone should have 4,611,686,018,427,387,904"),
    "9 MB": (safetensors_with(b"{" + b" " * 9_000_000 + b"}"), "are not read"),
    "100,001 tensors": (safetensors_with(json.dumps({str(n): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(100_001)},
                                                    separators=(",", ":")).encode()), "more than 100,000 tensors"),
    "bytes that are not there": (safetensors_with(b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'), "is not a safetensors"),
    "a type PyTorch does not read": (safetensors_with(b'{"a":{"dtype":"F4","shape":[0],"data_offsets":[0,0]}}'), "numbers of the type F4"),
    "nothing": (b"", "is not a whole safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie(name: str) -> None:
    data, message = HEADERS[name]
    began = time.process_time()
    with pytest.raises(WeightsError, match=message):
        read_tensors(data, Path("model.safetensors"))
    assert time.process_time() - began < 2

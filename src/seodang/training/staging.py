"""A snapshot of tensors, laid out as the bytes of a safetensors file: copied once, into memory that is used again.

Writing it then needs nothing of the training any more: hashing and writing let go of Python's lock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

KINDS = {
    torch.uint64: "U64", torch.int64: "I64", torch.float64: "F64", torch.complex64: "C64", torch.float32: "F32",
    torch.uint32: "U32", torch.int32: "I32", torch.bfloat16: "BF16", torch.float16: "F16", torch.uint16: "U16",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""Types of numbers as a safetensors file names them, in the order its library puts them."""
ALIGNMENT = 8
"""Bytes the header of a safetensors file is filled up to a multiple of."""


def size_of(*files: Mapping[str, Tensor]) -> int:
    """Return how many bytes the tensors of these files have."""
    return sum(value.nbytes for tensors in files for value in tensors.values())


def tensor_parts(tensors: Mapping[str, Tensor]) -> list[memoryview]:
    """Return the bytes of a safetensors file in parts; tensors in host memory are not copied, they are looked at."""
    header, order = _layout(tensors)
    return [memoryview(header), *(_bytes(tensors[name]) for name in order)]


class Stage:
    """Host memory for one snapshot at a time; it is taken once and kept, so that a copy meets no new pages."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def hold(self, name: str, tensors: Mapping[str, Tensor]) -> list[memoryview]:
        """Copy `tensors`; return the bytes of the file `name` that holds them, good until the next call for `name`."""
        header, order = _layout(tensors)
        buffer = self._buffer(name, len(header) + size_of(tensors), any(value.is_cuda for value in tensors.values()))
        buffer[: len(header)] = torch.frombuffer(bytearray(header), dtype=torch.uint8)
        begin = len(header)
        for key in order:
            value = tensors[key].detach()
            place = buffer[begin : begin + value.nbytes]
            if value.nbytes:
                place.view(value.dtype).view(value.shape).copy_(value, non_blocking=True)
            begin += value.nbytes
        if buffer.is_pinned():
            torch.cuda.synchronize()
        return [_view(buffer)[:begin]]

    def _buffer(self, name: str, size: int, pinned: bool) -> Tensor:
        kept = self._buffers.get(name)
        if kept is None or len(kept) < size:
            kept = self._buffers[name] = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
        return kept


def _layout(tensors: Mapping[str, Tensor]) -> tuple[bytes, list[str]]:
    """Return the header and the order of the tensors, as the safetensors library has them: by type, then by name."""
    kinds = list(KINDS)
    order = sorted(tensors, key=lambda name: (kinds.index(tensors[name].dtype), name.encode()))
    entries, begin = {}, 0
    for name in order:
        value = tensors[name]
        end = begin + value.nbytes
        entries[name] = {"dtype": KINDS[value.dtype], "shape": list(value.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, order


def _bytes(value: Tensor) -> memoryview:
    return _view(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8))


def _view(data: Tensor) -> memoryview:
    array: Any = data.numpy()
    return memoryview(array)

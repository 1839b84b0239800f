"""From what a person gives to a tensor a model takes, by the facts that travel with the weights."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seodang.core.errors import DataError, nearest
from seodang.core.inputs import Column, ImageInputs, Inputs, TableInputs, VectorInputs
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.strict import Refused, parse_json, read_regular
from seodang.data.array_reading import read_array, read_arrays
from seodang.data.columns import encode
from seodang.data.decoding import strict_pillow
from seodang.data.finding import listed, refuse, shown
from seodang.data.images import normalize
from seodang.data.memory import free_memory
from seodang.data.picture_loading import load_one
from seodang.data.raw_table import MISSING, RawColumn, RawTable, TableFormat, plain
from seodang.data.table_reading import SUFFIXES, read_table, table_suffix

ROW_FORMS = '"a=1,b=2", {"a": 1, "b": 2}, or the values in the order of the columns'
MARKS = frozenset(mark.lower() for mark in MISSING)


def read_input(inputs: Inputs, text: str) -> Tensor:
    """Return the tensor (no batch axis) of one input: the path of a picture, a row of a table, a list of numbers.

    Raises: DataError
    """
    found = read_inputs(inputs, text)
    if len(found) != 1:
        raise DataError("{path}: holds {count} inputs; one is wanted here.", path=text, count=len(found))
    return found[0]


def read_inputs(inputs: Inputs, text: str) -> Tensor:
    """Return the tensors (N, …) of all inputs in `text`: one, or every row of a table or array file.

    Raises: DataError
    """
    if isinstance(inputs, ImageInputs):
        return _picture(inputs, expanded(text))[None]
    if isinstance(inputs, TableInputs):
        table = table_of(inputs, text)
        return torch.from_numpy(encode(inputs.columns, table)[0])
    if isinstance(inputs, VectorInputs):
        rows = torch.from_numpy(_vectors(inputs, text)).float()
        return (rows - torch.tensor(inputs.mean)) / torch.tensor(inputs.std)
    raise DataError("{text}: cannot be read as {kind}.", text=text, kind=inputs.kind)


def _picture(inputs: ImageInputs, path: Path) -> Tensor:
    if path.is_dir():
        raise DataError("{path}: is a folder; name the pictures in it, for example {path}/*.png", path=shown(path))
    with strict_pillow():
        pixels = load_one(path, inputs)
    return normalize(torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div(255)[None], inputs)[0]


# ------------------------------------------------------------------------------------------------ tables


def table_of(inputs: TableInputs, text: str) -> RawTable:
    """Return what a person wrote or named as a table with the columns of `inputs`."""
    path = expanded(text)
    if table_suffix(path) in SUFFIXES and "=" not in text and not text.lstrip().startswith(("{", "[")):
        return _table_file(inputs, path)
    if text.lstrip().startswith(("{", "[")):
        try:
            values = parse_json(text)
        except Refused as error:
            raise DataError("{path}: {reason}.", path=text[:200], reason=error) from None
        records = values if isinstance(values, list) and values and isinstance(values[0], Mapping) else [values]
        return _rows(inputs, [_from_json(inputs, record, text) for record in records], text)
    try:
        (parts,) = csv.reader([text], skipinitialspace=True, strict=True)
    except (ValueError, csv.Error):
        parts = []
    if parts and all("=" in part for part in parts):
        pairs = [part.split("=", 1) for part in parts]
        return _rows(inputs, [_named(inputs, [(name.strip(), value) for name, value in pairs])], text)
    return _rows(inputs, [_in_order(inputs, parts, text)], text)


def _table_file(inputs: TableInputs, path: Path) -> RawTable:
    """Read a file of rows. Its first line names columns if it holds a name the model knows."""
    known = [column.name for column in inputs.columns]
    table = read_table(path, TableFormat(header=True))
    if not set(known) & set(table.names):
        table = read_table(path, TableFormat(header=False))
        if len(table.columns) == len(known):
            columns = tuple(
                RawColumn.of_texts(name, column.texts) for name, column in zip(known, table.columns, strict=True)
            )
            table = RawTable(table.source, columns, table.lines, table.findings)
    refuse(table.findings, path)
    return table


def _rows(inputs: TableInputs, records: Sequence[Mapping[str, str | None]], source: str) -> RawTable:
    columns = []
    for column in inputs.columns:
        texts = [record.get(column.name) for record in records]
        lacking = [column.name for record in records if column.name not in record]
        if lacking and not column.missing:
            raise DataError("{text}: does not say what '{name}' is. Columns: {names}. Where a value is not known write {name}=?",
                            text=source, name=column.name, names=_names(inputs))  # fmt: skip
        columns.append(RawColumn.of_texts(column.name, texts))
        wrong = columns[-1].strangers
        if wrong and column.kind == "number":
            raise DataError(
                "{text}: '{name}' is a number, not '{value}'.", text=source, name=column.name, value=texts[wrong[0]]
            )
        if np.isinf(columns[-1].numbers).any():
            raise DataError("{text}: '{name}' is not a finite number.", text=source, name=column.name)
    return RawTable(source, tuple(columns), None)


def _named(inputs: TableInputs, pairs: Sequence[tuple[str, str]]) -> dict[str, str | None]:
    known = [column.name for column in inputs.columns]
    record: dict[str, str | None] = {}
    for name, value in pairs:
        if name not in known:
            raise DataError("There is no column '{name}'.{suggestion} Columns: {names}.", name=name,
                            suggestion=nearest(name, known), names=_names(inputs))  # fmt: skip
        if name in record:
            raise DataError("'{name}' is given twice.", name=name)
        record[name] = None if value.strip().lower() in MARKS else value.strip()
    return record


def _from_json(inputs: TableInputs, record: Any, text: str) -> dict[str, str | None]:
    if isinstance(record, list):
        return _in_order(inputs, [_json_text(value) for value in record], text)
    if not isinstance(record, Mapping):
        raise DataError("{text}: is not a row. Write {forms}.", text=text, forms=ROW_FORMS)
    return _named(inputs, [(name, _json_text(value)) for name, value in record.items()])


def _json_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return plain(value) if isinstance(value, float) else str(value)


def _in_order(inputs: TableInputs, parts: Sequence[str], text: str) -> dict[str, str | None]:
    if len(parts) != len(inputs.columns):
        raise DataError("{text}: has {found} values, a row has {width}: {names}. Write {forms}.", text=text, found=len(parts),
                        width=len(inputs.columns), names=_names(inputs), forms=ROW_FORMS)  # fmt: skip
    return _named(inputs, [(column.name, part) for column, part in zip(inputs.columns, parts, strict=True)])


def _names(inputs: TableInputs) -> str:
    return listed([_described(column) for column in inputs.columns], 40)


def _described(column: Column) -> str:
    if column.kind == "number":
        return column.name
    return say("{name} (one of {values})", name=column.name, values=listed(column.categories, 6))


# ----------------------------------------------------------------------------------------------- vectors


def _vectors(inputs: VectorInputs, text: str) -> np.ndarray:
    path = expanded(text)
    if path.suffix == ".npz":
        rows = next(iter(read_arrays(path).inputs.values()))
    elif path.suffix == ".npy":
        try:
            rows = read_array(read_regular(path, free_memory() // 2), path.stem, shown(path))
        except OSError as error:
            raise DataError("{path}: cannot be read ({reason}).", path=shown(path), reason=error.strerror) from None
    else:
        try:
            rows = np.array([float(part) for part in text.strip().strip("[]").split(",")])
        except ValueError:
            raise DataError("{text}: is not a list of {size} numbers.", text=text, size=inputs.size) from None
    rows = np.atleast_2d(rows)
    if rows.ndim != 2 or rows.shape[1] != inputs.size or rows.dtype.kind not in "uifb":
        raise DataError("{text}: has shape {shape}; the model takes {size} numbers for each input.", text=text,
                        shape=rows.shape, size=inputs.size)  # fmt: skip
    if not np.isfinite(rows).all():
        raise DataError("{text}: holds numbers that are not finite.", text=text)
    return rows.astype(np.float64)

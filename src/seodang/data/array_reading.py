"""NumPy archives: which arrays are in them, read without pickle, checked before they are unpacked."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from seodang.core.errors import DataError
from seodang.core.language import say
from seodang.data.finding import Finding, listed, shown
from seodang.data.memory import free_memory

SPLIT_WORDS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid",
               "test": "test", "testing": "test"}  # fmt: skip
INPUT_WORDS = ("x", "images", "image", "inputs", "input", "data", "features")
TARGET_WORDS = ("y", "labels", "label", "targets", "target")
MEMBERS, RATIO, LEAST_BOMB = 1_000, 200, 1 << 28
"""Most arrays in an archive; how many times its packed bytes it may unpack to, once that is more than 256 MB."""
CLASS_WORDS = ("classes", "class_names", "label_names", "names")


class Arrays(NamedTuple):
    """Inputs and targets of each split, "" where no split is named, and the names of the classes."""

    inputs: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    names: dict[str, tuple[str, str]]
    """What the arrays of a split are called in the file."""
    classes: tuple[str, ...] | None


def read_arrays(path: Path) -> Arrays:
    """Return the arrays of an .npz file, sorted into inputs and targets by their names.

    ``x`` and ``y``, or ``train_x``, ``train_y``, ``test_x`` … in either order of words; also ``images`` and ``labels``.
    Raises: DataError
    """
    if not path.is_file():
        raise DataError("{path}: there is no such file.", path=shown(path))
    inputs: dict[str, Any] = {}
    targets: dict[str, Any] = {}
    names: dict[str, Any] = {}
    classes = None
    strange = []
    loaded = unpack(path, shown(path))
    for name, array in loaded.items():
        words = [word for word in name.lower().replace("-", "_").split("_") if word]
        splits = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
        rest = [word for word in words if word not in SPLIT_WORDS]
        if len(splits) <= 1 and len(rest) == 1 and rest[0] in INPUT_WORDS:
            inputs["".join(splits)] = array
            names["".join(splits)] = (name, names.get("".join(splits), ("", ""))[1])
        elif len(splits) <= 1 and len(rest) == 1 and rest[0] in TARGET_WORDS:
            targets["".join(splits)] = array
            names["".join(splits)] = (names.get("".join(splits), ("", ""))[0], name)
        elif name.lower() in CLASS_WORDS and array.ndim == 1 and array.dtype.kind == "U":
            classes = tuple(map(str, array))
        else:
            strange.append(name)
    if strange or not inputs or ("" in inputs and len(inputs) > 1):
        raise DataError(
            "{path}: cannot tell inputs from targets by the names of its arrays ({names}). Call them x and y, or train_x, "
            "train_y, valid_x, valid_y, test_x, test_y; class names may be in 'classes'.",
            path=shown(path), names=listed([*strange, *(name for name in loaded if name not in strange)]))  # fmt: skip
    return Arrays(inputs, targets, names, classes)


def unpack(file: Path | IO[bytes], source: str) -> dict[str, np.ndarray]:
    """Return every array of an .npz file, which errors call `source`. Nothing in it can run or take more than it says.

    Raises: DataError
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            needed, packed = (sum(getattr(item, size) for item in members) for size in ("file_size", "compress_size"))
            if 2 * needed > free_memory():
                raise DataError(
                    "{path}: unpacks to {size:,} bytes, more than half of free memory.", path=source, size=needed
                )
            if len(members) > MEMBERS or needed > max(LEAST_BOMB, RATIO * packed):
                raise DataError("{path}: unpacks from {packed:,} bytes to {size:,} in {count} parts: this is no archive of data.",
                                path=source, packed=packed, size=needed, count=len(members))  # fmt: skip
            for item in members:
                name = item.filename.removesuffix(".npy")
                if name in arrays:
                    raise DataError("{path}: holds two arrays called '{name}'.", path=source, name=name)
                arrays[name] = read_array(archive.read(item), name, source)
    except DataError:
        raise
    except Exception as error:  # zipfile raises whatever a damaged archive makes it stumble over
        raise DataError("{path}: is not a whole .npz file ({reason}).", path=source,
                        reason=str(error) or type(error).__name__) from None  # fmt: skip
    return arrays


def read_array(data: bytes, name: str, source: str) -> np.ndarray:
    """Return one array; what its header promises is compared with what is there before memory is taken.

    Raises: DataError
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, kind = read(file)
        if kind.hasobject:
            raise ValueError(
                say("it holds Python objects, which are not read: they can run code. Save numbers or texts")
            )
        if math.prod(shape) * kind.itemsize != len(data) - file.tell():
            raise ValueError(
                say("its header promises {shape} of {kind}, which is another number of bytes", shape=shape, kind=kind)
            )
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # the header is text that is parsed: anything may be wrong with it
        reason = (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")
        raise DataError(
            "{path}: array '{name}' cannot be read: {reason}.", path=source, name=name, reason=reason
        ) from None


def check_arrays(arrays: Arrays, source: str) -> list[Finding]:
    """Return everything that is wrong with the shapes and values of the arrays."""
    findings = []
    for split, values in arrays.inputs.items():
        x, y = arrays.names[split]
        if values.ndim < 2:
            findings.append(_error(source, say("array '{name}' has shape {shape}; it needs a row for each example.", name=x,
                                               shape=values.shape)))  # fmt: skip
        elif not len(values):
            findings.append(_error(source, say("array '{name}' is empty.", name=x)))
        if values.dtype.kind not in "uifb":
            findings.append(
                _error(source, say("array '{name}' holds {kind}; inputs are numbers.", name=x, kind=values.dtype))
            )
        elif values.dtype.kind == "f" and not np.isfinite(values).all():
            findings.append(_error(source, _not_finite(x, values)))
        if split in arrays.targets and len(arrays.targets[split]) != len(values):
            findings.append(_error(source, say("'{x}' has {inputs} examples, '{y}' has {targets} answers. There must be one for each.", x=x, y=y,
                                               inputs=len(values), targets=len(arrays.targets[split]))))  # fmt: skip
    shapes = {values.shape[1:] for values in arrays.inputs.values()}
    if len(shapes) > 1:
        findings.append(
            _error(source, say("the splits have inputs of different shapes: {shapes}.", shapes=listed(sorted(shapes))))
        )
    kinds = {
        "f" if values.dtype.kind == "f" else "t" if values.dtype.kind in "US" else "i"
        for values in arrays.targets.values()
    }
    if len(kinds) > 1:
        types = listed([str(values.dtype) for values in arrays.targets.values()])
        findings.append(_error(source, say("the splits have answers of different kinds: {types}.", types=types)))
    for split, values in arrays.targets.items():
        y = arrays.names[split][1]
        if split not in arrays.inputs:
            findings.append(_error(source, say("there is '{name}' but no inputs for it.", name=y)))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            findings.append(_error(source, _not_finite(y, values)))
    lacking = [split for split in arrays.inputs if split not in arrays.targets] if arrays.targets else []
    findings += [
        _error(source, say("there is '{name}' but no answers for it.", name=arrays.names[split][0]))
        for split in lacking
    ]
    return findings


def _not_finite(name: str, values: np.ndarray) -> str:
    places = np.argwhere(~np.isfinite(values))
    rows = sorted({int(place[0]) for place in places})
    return say("array '{name}' holds NaN or infinity in {count} places (rows {rows}, counted from 0). Mend these rows or leave them out.", name=name,
               count=len(places), rows=listed(rows))  # fmt: skip


def _error(source: str, message: str) -> Finding:
    return Finding("error", source, message)

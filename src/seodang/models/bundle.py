"""Bundle: weights, settings and facts in one folder, loadable anywhere. safetensors and JSON only.

model.safetensors   the weights
model.json          architecture, task, facts of the data (sizes, statistics, class names, tokenizer)
manifest.json       size and SHA-256 of both
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook as modules_registered
from torch.nn.modules.module import register_module_parameter_registration_hook as parameters_registered

from seodang.core.config import Config
from seodang.core.errors import SeodangError, UnknownName, WeightsError, nearest
from seodang.core.files import read_folder, write_folder
from seodang.core.inputs import Facts
from seodang.core.language import say
from seodang.core.recipe import Choice
from seodang.core.strict import LARGE_BYTES, Refused, parse_json
from seodang.models.base import architectures

WEIGHTS, SETTINGS = "model.safetensors", "model.json"
HEADER_BYTES, TENSORS = 8_000_000, 100_000
"""Largest header of a safetensors file, and most tensors it may name."""
PARTS, ROOM, SPARE_BYTES = 30, 4, 1 << 28
"""A model may have so many parts for each tensor of its file, so many times its bytes, and buffers beyond."""
SHIPPED = Path(__file__).parent.parent / "judges"


class BundleRecord(Config):
    """What `model.json` holds."""

    format: int = 1
    model: Choice
    task: Choice
    facts: Facts


class Bundle(NamedTuple):
    """A model in evaluation mode and what is needed to use it."""

    model: nn.Module
    record: BundleRecord

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """Load a bundle, or the bundle part of a checkpoint, every byte verified.

        Raises: WeightsError if a file is damaged or weights and architecture differ.
        """
        files = read_folder(folder)
        record = read_record(files, folder)
        weights = read_tensors(files[WEIGHTS], folder / WEIGHTS)
        model = build(record, weights, folder)
        load_weights(model, weights, folder / WEIGHTS)
        return cls(model.eval(), record)

    def files(self) -> dict[str, bytes]:
        return bundle_files(self.model.state_dict(), ties(self.model), self.record)

    def write(self, folder: Path) -> None:
        write_folder(folder, self.files())


def equip(task: Any) -> None:
    """Give a task the shipped bundle it asks for by `helper`, if it asks for one.

    Raises: UnknownName if no such bundle is shipped.
    """
    if task.helper is None:
        return
    if not (SHIPPED / task.helper / SETTINGS).is_file():
        known = sorted(path.parent.name for path in SHIPPED.glob(f"*/{SETTINGS}"))
        raise UnknownName("There is no shipped model called '{name}'.{suggestion} There are: {known}.",
                          name=task.helper, suggestion=nearest(task.helper, known), known=", ".join(known))  # fmt: skip
    bundle = Bundle.read(SHIPPED / task.helper)
    task.equip(bundle.model.requires_grad_(False), bundle.record.facts)


def bundle_files(weights: Mapping[str, Tensor], tied: Mapping[str, str], record: BundleRecord) -> dict[str, bytes]:
    """Return the two files of a bundle; of tied weights only the first name is stored."""
    kept = {name: value.detach().cpu().contiguous() for name, value in weights.items() if name not in tied}
    return {WEIGHTS: save_tensors(kept), SETTINGS: json_bytes(record.values())}


def read_record(files: Mapping[str, bytes], folder: Path) -> BundleRecord:
    if WEIGHTS not in files or SETTINGS not in files:
        raise WeightsError("{path}: is not a bundle: it needs {weights} and {settings}.",
                           path=folder, weights=WEIGHTS, settings=SETTINGS)  # fmt: skip
    try:
        values = parse_json(files[SETTINGS], LARGE_BYTES)
    except Refused as error:
        raise WeightsError("{path}: {reason}.", path=folder / SETTINGS, reason=error) from None
    if not isinstance(values, dict):
        raise WeightsError("{path}: is not a record of settings.", path=folder / SETTINGS)
    return BundleRecord.of(values, where=str(folder / SETTINGS))


def read_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; every one lies in the file, so no memory is taken that is not read.

    Raises: WeightsError
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise WeightsError("{path}: is not a whole safetensors file: it has {size:,} bytes, its header alone should have {wanted:,}.",
                           path=path, size=len(data), wanted=length)  # fmt: skip
    if length > HEADER_BYTES or data.count(b'"dtype"', 8, 8 + length) > TENSORS:
        raise WeightsError("{path}: has a header of {size:,} bytes; more than {limit:,}, or more than {tensors:,} tensors, are not read.",
                           path=path, size=length, limit=HEADER_BYTES, tensors=TENSORS)  # fmt: skip
    try:
        return load_tensors(data)
    except SafetensorError as error:
        raise WeightsError("{path}: is not a safetensors file: {reason}.", path=path, reason=error) from None
    except KeyError as error:  # types of numbers that safetensors knows and PyTorch does not read
        raise WeightsError(
            "{path}: holds numbers of the type {kind}, which are not read.", path=path, kind=error.args[0]
        ) from None


def build(record: BundleRecord, weights: Mapping[str, Tensor], folder: Path) -> nn.Module:
    """Make the model a record describes, if `weights` are its weights: a record asks for no more than its file holds.

    It is made without memory first, and only as far as there are weights for it. A plug-in's model that cannot be made so
    is made at once.

    Raises: WeightsError if it cannot be made, or needs other weights.
    """
    settings = architectures.settings(record.model, record.facts.known())
    maker = architectures[record.model.name].maker
    try:
        with torch.device("meta"), _no_larger_than(weights, folder):
            sketch = maker(settings)
        needed = sum(tensor.nbytes for tensor in (*sketch.parameters(), *sketch.buffers()))
        if needed > ROOM * sum(tensor.nbytes for tensor in weights.values()) + SPARE_BYTES:
            raise _too_large(folder)
        _require_fit(sketch, weights, folder / WEIGHTS)
    except SeodangError:
        raise
    except Exception as error:
        if "meta" not in str(error):
            raise _no_model(folder, error) from error
    try:
        return maker(settings)
    except Exception as error:  # whatever the settings of a foreign record make PyTorch stumble over
        raise error if isinstance(error, SeodangError) else _no_model(folder, error) from error


@contextmanager
def _no_larger_than(weights: Mapping[str, Tensor], folder: Path) -> Iterator[None]:
    """Stop the making of a model that has far more parts than there are weights."""
    left = PARTS * (len(weights) + 100)

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _too_large(folder)

    hooks = [register(count) for register in (parameters_registered, modules_registered)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _too_large(folder: Path) -> WeightsError:
    return WeightsError("{path}: describes a model far larger than {weights}, which should hold its weights.",
                        path=folder / SETTINGS, weights=WEIGHTS)  # fmt: skip


def _no_model(folder: Path, error: Exception) -> WeightsError:
    reason = (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")
    return WeightsError(
        "{path}: no model can be made with these settings: {reason}.", path=folder / SETTINGS, reason=reason
    )


def ties(model: nn.Module) -> dict[str, str]:
    """Return {dropped name: kept name} for state-dict entries that share one tensor."""
    first: dict[int, str] = {}
    tied = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) in first:
            tied[name] = first[id(value)]
        first.setdefault(id(value), name)
    return tied


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path | str) -> None:
    """Put `weights` into `model`.

    Raises: WeightsError listing every missing, unexpected and misshapen name. Nothing is ever skipped.
    """
    wanted = _require_fit(model, weights, path)
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(weights[name])


def _require_fit(model: nn.Module, weights: Mapping[str, Tensor], path: Path | str) -> dict[str, Tensor]:
    """Return the tensors of `model` that are filled from a file, by name.

    Raises: WeightsError listing everything that does not fit.
    """
    tied = ties(model)
    wanted = {name: value for name, value in model.state_dict().items() if name not in tied}
    problems = [say("missing: {name}", name=name) for name in wanted if name not in weights]
    problems += [say("unexpected: {name}", name=name) for name in weights if name not in wanted]
    problems += [
        say(
            "{name}: has shape {found}, the model needs {wanted}",
            name=name,
            found=tuple(weights[name].shape),
            wanted=tuple(value.shape),
        )
        for name, value in wanted.items()
        if name in weights and weights[name].shape != value.shape
    ]
    problems += [
        say("{name}: holds {found}, the model needs {wanted}", name=name, found=weights[name].dtype, wanted=value.dtype)
        for name, value in wanted.items()
        if name in weights and kind_of(weights[name]) != kind_of(value)
    ]
    if problems:
        raise WeightsError("{path}: does not fit the model.\n  {problems}", path=path, problems="\n  ".join(problems))
    return wanted


def kind_of(value: Tensor) -> str:
    """Return what sort of numbers a tensor holds: any float becomes any other, but no complex number becomes a float."""
    return "complex" if value.is_complex() else "float" if value.is_floating_point() else "whole"


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode()

"""Bundle: weights, settings and facts in one folder, loadable anywhere. safetensors and JSON only.

model.safetensors   the weights
model.json          architecture, task, facts of the data (sizes, statistics, class names, tokenizer)
manifest.json       size and SHA-256 of both
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from seodang.core.config import Config
from seodang.core.errors import UnknownName, WeightsError, nearest
from seodang.core.files import read_folder, write_folder
from seodang.core.inputs import Facts
from seodang.core.language import say
from seodang.core.recipe import Choice
from seodang.models.base import architectures

WEIGHTS, SETTINGS = "model.safetensors", "model.json"
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
        model = architectures.make(record.model, record.facts.known())
        load_weights(model, read_tensors(files[WEIGHTS], folder / WEIGHTS), folder / WEIGHTS)
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
    return BundleRecord.of(json.loads(files[SETTINGS]), where=str(folder / SETTINGS))


def read_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(data)
    except SafetensorError as error:
        raise WeightsError("{path}: is not a safetensors file: {reason}.", path=path, reason=error) from None


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
    if problems:
        raise WeightsError("{path}: does not fit the model.\n  {problems}", path=path, problems="\n  ".join(problems))
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(weights[name])


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode()

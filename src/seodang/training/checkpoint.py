"""Save and restore everything a run is made of, without pickle: tensors to safetensors, the rest to JSON.

model.safetensors      the weights that are evaluated (the moving average, where there is one)   ┐ a bundle
model.json             architecture, task, facts                                                 ┘
optimizer.safetensors  moments as network/parameter/slot; raw weights as raw/name beside averages
random.safetensors     generator states, one row per rank; what the task and the data stream keep
state.json             step, position in the data, scores so far, scalars
manifest.json          size and digests of each, and what the result depends on in the last bits
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from seodang.core.blocks import BLOCK, Content
from seodang.core.errors import RunError, WeightsError
from seodang.core.files import read_manifest, write_folder
from seodang.core.run import read_checkpoint
from seodang.core.strict import LARGE_BYTES, Refused, parse_json
from seodang.models.bundle import (
    SETTINGS,
    WEIGHTS,
    BundleRecord,
    json_bytes,
    read_tensors,
    ties,
)
from seodang.training.staging import Stage, size_of, tensor_parts

OPTIMIZER, RANDOM, STATE = "optimizer.safetensors", "random.safetensors", "state.json"


def full(value: Tensor) -> Tensor:
    """Return a tensor whole: the shards of every rank put together. All ranks must call it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def placed_like(value: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor, the same on every rank, cut up, placed and laid out in memory as `like` is: nothing is sent.

    The fused update rules walk weights and moments side by side in memory: the layouts must agree.
    """
    if isinstance(like, DTensor):
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return torch.empty_like(like, dtype=value.dtype).copy_(value)


def optimizer_tensors(
    networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """Return the moments of every optimizer under ``network/parameter/slot``."""
    tensors = {}
    for name, network in networks.items():
        for parameter_name, parameter in network.named_parameters():
            for slot, value in optimizers[name].state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"{name}/{parameter_name}/{slot}"] = full(value).detach()
    return tensors


def restore_optimizer(
    networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer], tensors: Mapping[str, Tensor]
) -> None:
    parameters = {
        f"{name}/{parameter_name}": (optimizers[name], parameter)
        for name, network in networks.items()
        for parameter_name, parameter in network.named_parameters()
    }
    for key, value in sorted(tensors.items()):  # a file lists them in any order; ranks must scatter them in the same
        path, _, slot = key.rpartition("/")
        if path == "raw" or path not in parameters:
            continue
        optimizer, parameter = parameters[path]
        whole = value.shape == parameter.shape and value.ndim > 0
        optimizer.state[parameter][slot] = placed_like(value, parameter) if whole else value.to(parameter.device)


def split_state(state: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of a nested state into `tensors` under their path; return the rest, JSON-able."""
    if isinstance(state, Tensor):
        tensors[path] = state.detach()
        return {"$tensor": path}
    if isinstance(state, Mapping):
        return {key: split_state(value, f"{path}/{key}", tensors) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [split_state(value, f"{path}/{index}", tensors) for index, value in enumerate(state)]
    return state


def join_state(state: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo `split_state`."""
    if isinstance(state, Mapping):
        if set(state) == {"$tensor"}:
            return tensors[state["$tensor"]]
        return {key: join_state(value, tensors) for key, value in state.items()}
    if isinstance(state, list):
        return [join_state(value, tensors) for value in state]
    return state


class Checkpoint:
    """Everything a trainer needs to go on, as read from disk."""

    def __init__(self, path: Path, files: Mapping[str, bytes]) -> None:
        self.path = path
        self.weights = read_tensors(files[WEIGHTS], path / WEIGHTS)
        self.optimizer = read_tensors(files[OPTIMIZER], path / OPTIMIZER)
        tensors = read_tensors(files[RANDOM], path / RANDOM)
        self.random = {key: value for key, value in tensors.items() if key.startswith("rank/")}
        self.state: dict[str, Any] = _read_state(files[STATE], tensors, path / STATE)
        self.manifest: dict[str, Any] = read_manifest(path)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        files = read_checkpoint(path)
        for name in (WEIGHTS, OPTIMIZER, RANDOM, STATE):
            if name not in files:
                raise RunError("{path}: is a bundle, not a checkpoint: it has no {name}.", path=path, name=name)
        return cls(path, files)

    def random_of(self, rank: int) -> dict[str, Tensor]:
        return {key.split("/")[1]: value[rank] for key, value in self.random.items()}

    def load_live(self, model: nn.Module) -> None:
        """Put the weights that are trained into `model`: not the averages, where both exist. Shards take their part."""
        tied = ties(model)
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if name not in tied:
                    whole = self.optimizer.get(f"raw/{name}", self.weights[name])
                    value.copy_(placed_like(whole, value))


def _read_state(data: bytes, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    try:
        state = join_state(parse_json(data, LARGE_BYTES), tensors)
    except Refused as error:
        raise WeightsError("{path}: {reason}.", path=path, reason=error) from None
    except (KeyError, TypeError):
        raise WeightsError("{path}: names a tensor that {other} does not hold.", path=path, other=RANDOM) from None
    if not isinstance(state, dict):
        raise WeightsError("{path}: is not the state of a run.", path=path)
    return state


class Contents:
    """What a checkpoint is to hold. Its tensors are those the training works with: nothing is copied before `files`."""

    def __init__(
        self, weights: Mapping[str, Tensor], tied: Mapping[str, str], record: BundleRecord,
        optimizer: Mapping[str, Tensor], generators: Mapping[str, Tensor], state: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.facts = facts
        tensors = dict(generators)
        plain = split_state(state, "state", tensors)
        self._tensors: dict[str, Mapping[str, Tensor]] = {
            WEIGHTS: {name: value for name, value in weights.items() if name not in tied},
            OPTIMIZER: optimizer, RANDOM: tensors,
        }  # fmt: skip
        self._settings, self._state = json_bytes(record.values()), json_bytes(plain)

    @property
    def size(self) -> int:
        """Return the bytes of the tensors."""
        return size_of(*self._tensors.values())

    def files(self, stage: Stage | None) -> dict[str, Content]:
        """Return the files: copied to `stage`, or as they are, which is to be written before the next update."""
        packed: dict[str, Content] = {name: stage.hold(name, tensors) if stage else tensor_parts(tensors)
                                      for name, tensors in self._tensors.items()}  # fmt: skip
        if stage is None and self.size < BLOCK:
            packed = {name: b"".join(parts) for name, parts in packed.items()}  # type: ignore[arg-type]
        return {WEIGHTS: packed[WEIGHTS], SETTINGS: self._settings, OPTIMIZER: packed[OPTIMIZER],
                RANDOM: packed[RANDOM], STATE: self._state}  # fmt: skip


def write_checkpoint(path: Path, files: Mapping[str, Content], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint folder: durable when this returns, absent if it raises."""
    write_folder(path, files, facts)

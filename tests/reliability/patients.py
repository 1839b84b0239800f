"""Checkpoints and bundles to be damaged, and what is in them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch

import seodang as sd
from seodang.models.bundle import Bundle
from seodang.training.checkpoint import Checkpoint
from tests.reliability.families import families

FAMILIES = ("supervised", "language", "vae", "gan", "agent")
SHORT = {"train.steps": 8, "train.save_every": 4, "train.evaluate_every": 4}
PAGE = 4096
SHARED_MEMORY = Path("/dev/shm")


class Damage(NamedTuple):
    """What was done: the files whose content is new, and what a message has to name."""

    kind: str
    names: tuple[str, ...]
    place: tuple[int, int] | None = None
    """First and last changed byte, where only bytes of one file changed."""


class Patient:
    """A folder of a run or a bundle, what it holds when whole, and how it is read."""

    def __init__(self, path: Path, older: Path | None = None) -> None:
        self.path, self.older = path, older
        self.whole = {item.name: item.read_bytes() for item in sorted(path.iterdir())}
        self.names = list(self.whole)
        self.is_checkpoint = "state.json" in self.whole
        self.tensors = self.read()

    def read(self) -> dict[str, Any]:
        return contents(Checkpoint.read(self.path)) if self.is_checkpoint else of_bundle(Bundle.read(self.path))

    def lay(self) -> None:
        """Make the folder whole again."""
        for item in self.path.iterdir():
            data = self.whole.get(item.name)
            if item.is_symlink() or data is None or not item.is_file():
                shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        for name, data in self.whole.items():
            path = self.path / name
            if not path.exists() or path.stat().st_size != len(data) or path.read_bytes() != data:
                path.write_bytes(data)


def contents(checkpoint: Any) -> dict[str, Any]:
    return {
        "weights": checkpoint.weights, "optimizer": checkpoint.optimizer, "random": checkpoint.random,
        "state": checkpoint.state, "step": checkpoint.manifest["step"],
    }  # fmt: skip


def of_bundle(bundle: Bundle) -> dict[str, Any]:
    return {"weights": dict(bundle.model.state_dict()), "record": bundle.record.values()}


def same(one: Any, two: Any) -> bool:
    """Return whether two trees are equal, tensors to the bit."""
    if isinstance(one, torch.Tensor):
        return (isinstance(two, torch.Tensor) and one.dtype == two.dtype and one.shape == two.shape
                and one.contiguous().view(-1).view(torch.uint8).equal(two.contiguous().view(-1).view(torch.uint8)))  # fmt: skip
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(two) and len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


# --------------------------------------------------------------------------------------------- patients


def make_patients(folder: Path, names: tuple[str, ...] = FAMILIES) -> list[Patient]:
    """Train one small run of each family, and return its newest checkpoint, with an older one, and its bundle."""
    patients = []
    for name in names:
        recipe = families(folder)[name]
        changes = SHORT if name != "agent" else {"train.steps": 32, "train.save_every": 16}
        run = sd.train(recipe, run=folder / name, overrides=[f"{key}={value}" for key, value in changes.items()])
        sd.export(run, path=folder / f"{name}-bundle")
        patients += [Patient(run.checkpoints[-1], run.checkpoints[-2]), Patient(folder / f"{name}-bundle")]
    return patients

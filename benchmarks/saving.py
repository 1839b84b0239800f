"""Claim: safe saving of 100 MB takes at most 1.5 times what `torch.save` takes, and the loop does not wait for it.

First table: a checkpoint of 100 MB (weights and both moments of Adam) is written as a run writes it, with digests, to a
fresh folder, everything synced; `torch.save` writes the same tensors to a fresh file, without a sync and with one. In turns,
on the disk below the temporary folder; the ratio is of medians.

Second table: a model of 8.7 million weights is trained and saves 100 MB every few updates, each round with the saves beside
the loop and, for comparison, with the loop waiting. What an update takes is measured from the end of one to the end of the
next, saving and telling included: the update that saves and those after it, until the disk is done, beside all others.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import seodang as sd
from seodang.core.files import remove_folder
from seodang.core.recipe import Recipe
from seodang.training import saving
from seodang.training.assemble import assemble
from seodang.training.checkpoint import Contents, write_checkpoint
from seodang.training.trainer import Trainer

MEGABYTES = 100
ROUNDS = 15
STEPS, EVERY = 60, 12
RECIPE: dict[str, Any] = {
    "name": "saving", "model": {"name": "mlp", "hidden_sizes": [2040, 2040, 2040]}, "data": "digits", "task": "classification",
    "optimizer": {"name": "adam", "lr": 0.0001},
    "train": {"steps": STEPS, "batch_size": "all", "log_every": 4, "evaluate_every": 0, "save_every": EVERY},
}  # fmt: skip


def tensors(megabytes: int) -> dict[str, Tensor]:
    """Return tensors of 1 MB each."""
    return {f"layer.{number}.weight": torch.randn(250, 1000) for number in range(megabytes)}


def saved(megabytes: int, rounds: int) -> None:
    """Print what a checkpoint takes beside `torch.save`."""
    record = assemble(Recipe.of(RECIPE)).record
    weights, both = tensors(megabytes // 3), tensors(2 * megabytes // 3)
    everything = {**{f"weights.{name}": value for name, value in weights.items()}, **both}

    def ours(path: Path) -> None:
        contents = Contents(weights, {}, record, both, {}, {"step": 1}, {"step": 1})
        write_checkpoint(path, contents.files(None), contents.facts)

    def synced(path: Path) -> None:
        torch.save(everything, path)
        descriptor = os.open(path, os.O_RDWR)
        os.fsync(descriptor)
        os.close(descriptor)

    sides: dict[str, Callable[[Path], None]] = {
        "Seodang": ours, "torch.save": lambda path: torch.save(everything, path), "torch.save, synced": synced,
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(rounds + 2):  # the first two warm up
            for name, side in sides.items():
                os.sync()
                path = Path(folder) / f"{name}-{round_}"
                began = time.perf_counter()
                side(path)
                if round_ > 1:
                    seconds[name].append(time.perf_counter() - began)
                remove_folder(path) if path.is_dir() else path.unlink()
    print(f"{megabytes} MB, median of {rounds} rounds in turns")
    ours_took = statistics.median(seconds["Seodang"])
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"  {name:19} {median * 1000:6.0f} ms  ({min(found) * 1000:.0f} to {max(found) * 1000:.0f})"
              f"  Seodang takes {ours_took / median:.2f} x")  # fmt: skip


class Iterations:
    """The seconds of every turn of the loop: those that save, those beside which something is written, and the others."""

    def __init__(self) -> None:
        self.saving: list[float] = []
        self.beside: list[float] = []
        self.others: list[float] = []
        self._since = 0.0

    def end(self, saver: saving.Saver, step: int) -> None:
        now = time.perf_counter()
        if step > EVERY // 2:  # before that it warms up
            kind = self.saving if step % EVERY == 0 else self.beside if saver._beside.busy else self.others
            kind.append(now - self._since)
        self._since = now


def trained(beside: bool) -> Iterations:
    """Return what the turns of a loop take that saves 100 MB now and then."""
    found = Iterations()
    before, poll, from_ = Trainer._update, saving.Saver.poll, saving.BESIDE_FROM
    step = 0

    def update(self: Trainer) -> None:
        nonlocal step
        before(self)
        step = self.step

    def polled(self: saving.Saver) -> None:
        poll(self)
        if step < STEPS:
            found.end(self, step)

    Trainer._update, saving.Saver.poll = update, polled  # type: ignore[method-assign]
    saving.BESIDE_FROM = from_ if beside else 1 << 60
    try:
        with tempfile.TemporaryDirectory() as folder:
            sd.train(RECIPE, run=Path(folder) / "run")
    finally:
        Trainer._update, saving.Saver.poll, saving.BESIDE_FROM = before, poll, from_  # type: ignore[method-assign]
    return found


def main() -> None:
    saved(MEGABYTES, ROUNDS)
    print(f"a loop that saves 100 MB every {EVERY} updates")
    for beside in (True, False):
        found = trained(beside)
        usual = statistics.median(found.others)
        print(f"  {'beside the loop' if beside else 'the loop waits'}: an update takes {usual * 1000:.0f} ms")
        for name, seconds in (("one that saves", found.saving), ("one beside which is written", found.beside)):
            if seconds:
                median = statistics.median(seconds)
                print(f"    {name:28} {median * 1000:5.0f} ms, {median / usual - 1:+.1%}  ({len(seconds)} of them)")


if __name__ == "__main__":
    main()

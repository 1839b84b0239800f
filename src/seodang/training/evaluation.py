"""Scores of a model on a split: the same numbers whenever they are asked for."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from seodang.data.dataset import Batch
from seodang.task.base import Task, evaluating
from seodang.training.devices import Devices
from seodang.training.randomness import kept_randomness


def evaluate_model(
    model: nn.Module, task: Task, batches: Iterable[Batch], devices: Devices, seed: int, at_end: bool = True
) -> dict[str, float]:
    """Return the scores of `model` on `batches`, added over batches and ranks; `at_end` also the dear ones.

    The same numbers whenever it is called: its randomness starts from `seed`, and the generators are put back.
    """
    with kept_randomness(devices.device, seed), evaluating(model), devices.autocast():
        tallies = (task.evaluate_at_end if at_end else task.evaluate)(model, batches)
    scores = {}
    for name, tally in tallies.items():
        pair = torch.stack([torch.as_tensor(value, dtype=torch.float32).double().cpu() for value in tally])
        total, count = devices.sum(pair.to(devices.device)).tolist()
        scores[name] = total / count if count else float("nan")
    return task.finish(scores)

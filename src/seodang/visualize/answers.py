"""What a trained model says about held-out examples: gathered once, drawn in many ways."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seodang.core.inputs import Facts, TableInputs
from seodang.data.dataset import Dataset, generator, map_tensors
from seodang.visualize.scale import number

MOST = 2_000
"""Examples looked at; of a larger split this many are drawn, always the same."""
HELD_OUT = ("test", "valid", "train")


class Answers(NamedTuple):
    """`outputs` (N, …) of the model for `inputs` with `targets`: N of the `whole` examples of `split`."""

    split: str
    whole: int
    inputs: Tensor
    targets: Tensor
    outputs: Tensor

    @property
    def probabilities(self) -> Tensor:
        return self.outputs.softmax(-1)

    @property
    def predicted(self) -> Tensor:
        return self.outputs.argmax(-1)


def held_out_split(data: Dataset) -> str | None:
    """Return the split the final scores are on: test, else valid, else train."""
    return next((name for name in HELD_OUT if data.facts.sizes.get(name)), None)


def drawn_rows(split: str, count: int, most: int = MOST) -> Tensor:
    """Return the numbers of all `count` examples of a split, or of `most` of them drawn by chance: always the same."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=generator("look", split, count))[:most].sort().values


def gather(model: nn.Module, data: Dataset, most: int = MOST, batch_size: int = 256) -> Answers | None:
    """Return what `model` says about at most `most` held-out examples, or None if there are none with targets."""
    split = held_out_split(data)
    if split is None:
        return None
    examples = data.split(split)
    count = len(examples)
    rows = drawn_rows(split, count, most)
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    inputs, targets, outputs = [], [], []
    with torch.no_grad():
        for chunk in rows.split(batch_size):
            batch = examples.batch(chunk, None)
            if batch[1] is None:
                return None
            moved = map_tensors(batch, lambda field: field.to(device))
            outputs.append(model(moved[0]).float().cpu())
            inputs.append(batch[0])
            targets.append(batch[1])
    return Answers(split, count, torch.cat(inputs), torch.cat(targets), torch.cat(outputs))


def cells(facts: Facts, features: Tensor, most: int = 8) -> list[tuple[str, str]]:
    """Return (column, value) of a row of a table as the user's file has them, the standardisation undone."""
    if not isinstance(facts.inputs, TableInputs):
        return [(str(place), number(float(value))) for place, value in enumerate(features[:most])]
    shown, start = [], 0
    for column in facts.inputs.columns[:most]:
        part = features[start : start + column.width].tolist()
        start += column.width
        if column.missing and part[-1]:
            shown.append((column.name, "?"))
        elif column.kind == "number":
            shown.append((column.name, number(part[0] * column.std + column.mean, 4)))
        else:
            values = part[: len(column.categories)]
            shown.append((column.name, column.categories[int(np.argmax(values))] if any(values) else "?"))
    return shown


def columns_of(facts: Facts) -> list[tuple[str, slice]]:
    """Return the name of each input quantity and which places of the feature vector hold it."""
    inputs = facts.inputs
    if isinstance(inputs, TableInputs):
        spans, start = [], 0
        for column in inputs.columns:
            spans.append((column.name, slice(start, start + column.width)))
            start += column.width
        return spans
    return [(f"x{place + 1}", slice(place, place + 1)) for place in range(inputs.shape[0])]

"""look … steps: which example is walked through, what would be right, and the page that is written.

The words after "steps" are one input, as `predict` takes it, or ``test:3`` for the fourth example of that split of the
run's own data (default: of the first held-out ones that with the largest loss); and ``target=…`` for the right answer where the input brings none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seodang.core.errors import ConfigError, DataError, RunError, nearest
from seodang.core.files import make_folders, write
from seodang.core.inputs import Facts, TokenInputs, WorldInputs
from seodang.core.language import say
from seodang.core.run import RunFolder
from seodang.data.dataset import Batch, datasets, map_tensors
from seodang.data.reading import read_input
from seodang.scratch.network import Described, pass_through
from seodang.task.base import Task
from seodang.visualize.answers import held_out_split
from seodang.visualize.steps import Walk, difference, loss_of, require_small, walk
from seodang.visualize.steps_page import steps_page

STEPS, TARGET = "steps", "target="
FIRST = 64
"""Examples among which the default is chosen."""
TOLERANCE = 1e-6
"""Autograd and the pass by hand may differ by this much, for each unit of the largest number."""


class Chosen(NamedTuple):
    """An example (a batch of one), the right answer, and both in words."""

    example: Tensor
    target: Tensor
    words: str


def write_steps(run: RunFolder | None, model: nn.Module, task: Task, words: Sequence[str], to: Path) -> Path:
    """Write ``steps.html`` into the folder `to`; return the file.

    Raises: ConfigError, DataError, RunError for what cannot be walked through, by name.
    """
    targets = [word[len(TARGET) :] for word in words if word.startswith(TARGET)]
    inputs = [word for word in words if not word.startswith(TARGET)]
    if len(inputs) > 1 or len(targets) > 1:
        raise ConfigError("steps: walks one example through; {count} inputs are named.", count=len(inputs))
    loss_of(task)
    require_small(model)
    chosen = choose(run, model, task, inputs[0] if inputs else "", targets[0] if targets else "")
    found = walk(model, task, chosen.example, chosen.target)
    name = run.recipe.name if run else type(model).__name__
    page = steps_page(found, name, chosen.words, task.facts, checked(found))
    make_folders(to)
    path = to / "steps.html"
    write(path, page)
    return path


def checked(found: Walk) -> float:
    """Return by how much the same pass by hand differs from autograd's.

    Raises: AssertionError if it is more than rounding.
    """
    layers = [Described(*layer) for layer in found.described]
    value, flows = pass_through(layers, found.steps[0].x, found.loss, found.target, found.smoothing)
    apart = difference(found, value, flows)
    scale = max(1.0, *(float(abs(step.y).max(initial=0.0)) for step in found.steps))
    assert apart <= TOLERANCE * scale, f"autograd and seodang.scratch differ by {apart:g}"
    return apart


# -------------------------------------------------------------------------------------------- the example


def choose(run: RunFolder | None, model: nn.Module, task: Task, text: str, target: str) -> Chosen:
    """Return the example a person named, or the first held-out one."""
    facts = task.facts
    if isinstance(facts.inputs, (TokenInputs, WorldInputs)):
        raise ConfigError("steps: walks through networks for pictures, rows and vectors; this one takes {kind}.",
                          kind=facts.inputs.kind)  # fmt: skip
    own = re.fullmatch(r"(train|valid|test)(?::(\d+))?", text)
    if not text or (own and not Path(text).exists()):
        split, row = (own[1], int(own[2] or 0)) if own else ("", None)
        example, given, words = own_example(run, model, task, split, row)
        if not target:
            return Chosen(example, given, f"{words} · {right(facts, given)}")
    else:
        example, words = read_input(facts.inputs, text)[None], text
    if target:
        answer = answer_of(facts, target)
        return Chosen(example, answer, f"{words} · {right(facts, answer)}")
    if task.answers != "classes":
        raise ConfigError("steps: '{text}' brings no right answer, and without one there is no loss. Add {option}NUMBER.", text=text,
                          option=TARGET)  # fmt: skip
    with torch.no_grad():
        device = next(model.parameters()).device
        answer = model(example.to(device)).argmax(-1).cpu()
    told = say("no right answer was given: what the network takes for likeliest, {name}, stands for it",
               name=class_name(facts, int(answer[0])))  # fmt: skip
    return Chosen(example, answer, f"{words} · {told}")


def own_example(
    run: RunFolder | None, model: nn.Module, task: Task, split: str, row: int | None
) -> tuple[Tensor, Tensor, str]:
    """Return an example of the run's own data, its target, and where it is.

    Without a `row`: of the first ones, the one whose loss is largest, for there the gradient has most to say.
    """
    if run is None:
        raise RunError("A bundle brings no data: name what to look at, for example a picture.")
    data = datasets.make(run.recipe.data, None, run.recipe.seed)
    data.prepare()
    split = split or held_out_split(data) or "train"
    if split not in data.facts.sizes:
        raise DataError("There is no split '{split}' in this data; it has {splits}.", split=split,
                        splits=", ".join(data.facts.sizes))  # fmt: skip
    examples = data.split(split)
    if row is not None and row >= len(examples):
        raise DataError("{split}:{row}: the split has {count:,} examples, counted from 0.", split=split, row=row,
                        count=len(examples))  # fmt: skip
    rows = torch.arange(min(len(examples), FIRST)) if row is None else torch.tensor([row])
    batch = examples.batch(rows, None)
    if batch[1] is None:
        raise DataError("{split}:{row}: this example has no right answer. Add {option}…", split=split, row=int(rows[0]),
                        option=TARGET)  # fmt: skip
    place = hardest(model, task, batch) if row is None else 0
    number = int(rows[place])
    words = say("example {row} of {split}", row=number, split=split)
    if row is None:
        words += " (" + say("the one with the largest loss of the first {count}", count=len(rows)) + ")"
    return batch[0][place : place + 1], batch[1][place : place + 1], words


def hardest(model: nn.Module, task: Task, batch: Batch) -> int:
    """Return the place of the example with the largest loss."""
    device = next(model.parameters()).device
    moved = map_tensors(batch, lambda field: field.to(device))
    with torch.no_grad():
        losses = [float(next(iter(task.losses(model, map_tensors(moved, lambda field, at=at: field[at : at + 1]))))[1])
                  for at in range(len(batch[0]))]  # fmt: skip
    return max(range(len(losses)), key=losses.__getitem__)


def answer_of(facts: Facts, text: str) -> Tensor:
    """Return what a person says is right: the name of a class, or the quantities in their own units.

    Raises: ConfigError
    """
    if facts.classes is not None:
        if text not in facts.classes:
            raise ConfigError("target={text}: is no class of this data.{suggestion} Classes: {names}.", text=text,
                              suggestion=nearest(text, facts.classes), names=", ".join(facts.classes[:30]))  # fmt: skip
        return torch.tensor([facts.classes.index(text)])
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != len(facts.targets):
        raise ConfigError("target={text}: should be {count} numbers: {names}.", text=text, count=len(facts.targets),
                          names=", ".join(item.name for item in facts.targets))  # fmt: skip
    standard = [(value - item.mean) / item.std for value, item in zip(values, facts.targets, strict=True)]
    return torch.tensor([standard])


def right(facts: Facts, target: Tensor) -> str:
    """Return the right answer in words."""
    if target.is_floating_point():
        own = [
            f"{item.name} {value * item.std + item.mean:.6g}"
            for value, item in zip(target[0].tolist(), facts.targets, strict=True)
        ]
        return say("right: {name}", name=", ".join(own))
    return say("right: {name}", name=class_name(facts, int(target[0])))


def class_name(facts: Facts, place: int) -> str:
    return facts.classes[place] if facts.classes else str(place)

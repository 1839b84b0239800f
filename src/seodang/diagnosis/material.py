"""Illnesses of the data: inputs that say nothing, are badly scaled, are shared by training and test; rare classes."""

from __future__ import annotations

import shlex
from typing import NamedTuple

import torch
from torch import Tensor

from seodang.core.inputs import TableInputs
from seodang.core.language import say
from seodang.data.dataset import Dataset
from seodang.diagnosis.finding import Finding, retrain, show
from seodang.diagnosis.story import Story

MOST = 2_000
"""Training examples that are looked at."""
LEAST = 32
"""Different examples below which nothing is said: a truth table is its own test."""
CONSTANT = 1e-6
"""Standard deviation over examples below which an input does not vary."""
FAR_OFF = 10.0
"""Root mean square of the inputs from which they are not normalised: 1 is wanted. Source: LeCun et al. 1998, "Efficient backprop", sec. 4.3."""
FAINT = 0.03
"""Standard deviation of the inputs below which they are not normalised."""
DOMINATES = 100.0
"""Times the median spread of the inputs: a number between 0 and 1 and a rare category are 30 apart."""
SHARED = 0.02
"""Share of held-out examples that are training examples too."""
RARE = 1 / 20
"""Share of the largest class below which a class is rare."""


class Sample(NamedTuple):
    """Training examples as the network gets them without chance, in the order of `rows`."""

    inputs: Tensor
    answers: Tensor | None
    rows: Tensor


def sample(data: Dataset, split: str, most: int = MOST) -> Sample:
    """Return examples of a split, evenly spaced."""
    examples = data.split(split)
    rows = torch.linspace(0, len(examples) - 1, min(most, len(examples))).round().long()
    batch = examples.batch(rows, None)
    return Sample(batch[0], batch[1] if len(batch) > 1 else None, rows)


def look_at(data: Dataset, story: Story) -> str:
    """Return the command that looks at the data: at the user's own, or at what a run makes of shipped data."""
    path = getattr(data.settings, "path", "")
    return f"seodang check --data {shlex.quote(path)}" if path else show(story.run)


def inputs_constant(some: Sample, data: Dataset, story: Story) -> Finding | None:
    """Find inputs that are the same for every example."""
    flat = some.inputs.flatten(1).float()
    if len(flat) < LEAST or flat.std(0).max().item() >= CONSTANT:
        return None
    return Finding(
        "inputs-constant",
        say("All {count:,} training examples that were looked at have the same inputs, while their answers differ.", count=len(flat)),
        say("Somewhere between the files and the network the inputs are lost: the network sees nothing."),
        look_at(data, story), {"examples": len(flat), "spread": flat.std(0).max().item()})  # fmt: skip


def inputs_not_normalised(some: Sample, data: Dataset, story: Story) -> Finding | None:
    """Find inputs that are far from zero, very large or small, or of which one is far larger than the others."""
    flat = some.inputs.flatten(1).float()
    if len(flat) < LEAST or flat.std(0).max().item() < CONSTANT:
        return None
    size, spread = flat.square().mean().sqrt().item(), flat.std().item()
    each = flat.std(0)
    lively = each[each > CONSTANT]
    ratio = (lively.max() / lively.median()).item() if some.inputs.ndim == 2 and len(lively) > 2 else 1.0
    if spread > FAINT and size < FAR_OFF and ratio < DOMINATES:
        return None
    if size < FAR_OFF and spread > FAINT:
        place = int(each.argmax())
        evidence = say(
            "Input {name} varies {ratio:,.0f} times as much as the others do (median).",
            name=_named(data, place),
            ratio=ratio,
        )
    else:
        evidence = say(
            "The inputs are {mean:.3g} ± {spread:.3g}; 0 ± 1 is wanted.", mean=flat.mean().item(), spread=spread
        )
    change = "model.normalization=batch" if story.recipe.model.name in ("mlp", "cnn") else "optimizer.name=adamw"
    return Finding(
        "inputs-not-normalised", evidence,
        say("The first layer's gradient follows the largest inputs, and no rate fits all of them. Standardise the inputs where they are made; a "
            "normalised first layer helps in the meantime."),
        retrain(story.run, change), {"mean": flat.mean().item(), "spread": spread, "largest_to_median": ratio})  # fmt: skip


def _named(data: Dataset, place: int) -> str:
    inputs = data.facts.inputs
    if isinstance(inputs, TableInputs):
        names = [column.name for column in inputs.columns for _ in range(column.width)]
        return f"'{names[place]}'" if place < len(names) else str(place)
    return str(place)


def duplicates(data: Dataset, story: Story) -> Finding | None:
    """Find held-out examples that the network was trained on."""
    held_out = [name for name in ("test", "valid") if name in data.facts.sizes]
    known: dict[bytes, int] = {}
    trained = sample(data, "train", 20 * MOST)
    for row, key in zip(trained.rows.tolist(), _keys(trained.inputs), strict=True):
        known.setdefault(key, row)
    total = min(20 * MOST, data.facts.sizes["train"])
    if len(known) < LEAST or len(known) < 0.5 * total:
        return None
    for split in held_out:
        some = sample(data, split)
        asked = _keys(some.inputs)
        shared = [(row, known[key]) for row, key in zip(some.rows.tolist(), asked, strict=True) if key in known]
        if len(shared) >= max(3, SHARED * len(asked)):
            change = "data.copies=together" if "copies" in type(data.settings).model_fields else ""
            return Finding(
                "test-in-training",
                say("{count:,} of {all:,} examples of '{split}' ({share:.0%}) are training examples too.", count=len(shared),
                    all=len(asked), split=split, share=len(shared) / len(asked)),
                say("The score on '{split}' says how well these were remembered, not how well new ones are answered.", split=split),
                retrain(story.run, change) if change else look_at(data, story),
                {"shared": len(shared), "of": len(asked), "split": split},
                examples=[f"{data.where(split, row)} = {data.where('train', twin)}" for row, twin in shared[:10]])  # fmt: skip
    return None


def _keys(inputs: Tensor) -> list[bytes]:
    flat = inputs.flatten(1).contiguous()
    return [row.numpy().tobytes() for row in flat]


def class_imbalance(labels: Tensor, data: Dataset, story: Story) -> Finding | None:
    """Find classes that have hardly any examples beside the largest."""
    classes = data.facts.classes or ()
    counts = labels.bincount(minlength=len(classes))
    train = story.recipe.train
    if len(labels) < LEAST or len(counts) < 2 or counts.min() >= RARE * counts.max() or train.balance:
        return None
    most, least = int(counts.argmax()), int(counts.argmin())
    name = classes[least] if least < len(classes) else str(least)
    return Finding(
        "class-imbalance",
        say("'{least}' has {few:,} training examples, '{most}' has {many:,} ({share:.1%} of all).", least=name, few=int(counts.min()),
            most=classes[most] if most < len(classes) else str(most), many=int(counts.max()), share=counts.max().item() / len(labels)),
        say("Always answering the large class scores {share:.1%}: judge by the recall of each class, not by accuracy.",
            share=counts.max().item() / len(labels)),
        retrain(story.run, "train.balance=1.0") if train.bootstrap is None else show(story.run),
        {"counts": counts.tolist()})  # fmt: skip

"""The model beside simple methods on the same held-out examples: is the network worth its while?"""

from __future__ import annotations

import re
from collections.abc import Mapping

from seodang.core.inputs import TokenInputs
from seodang.core.language import say
from seodang.data.dataset import Dataset
from seodang.task.base import Task
from seodang.visualize.answers import held_out_split
from seodang.visualize.figure import Column, Table
from seodang.visualize.history import score_name, score_text, split_name

MOST_ROWS, MOST_TOKENS = 20_000, 3_000_000
"""Training rows and tokens up to which the simple methods are fitted: beyond, they take longer than a report may."""


def beside_simple_methods(task: Task, data: Dataset, scores: Mapping[str, float]) -> Table | None:
    """Return the model's `scores` above those of simple methods; None where there are none, or they would take long."""
    split = held_out_split(data)
    if split is None or not is_cheap(data):
        return None
    found = by_method(task.baseline(data, split) or {})
    names = [name for name in scores if any(name in known for known in found.values())]
    if not names:
        return None
    every = {say("this model"): scores, **found}
    columns = (Column(say("method")), *(Column(score_name(name), number=True) for name in names))
    rows = tuple((method, *(score_text(name, known[name]) if name in known else "–" for name in names))
                 for method, known in every.items())  # fmt: skip
    values = tuple((method, *(float(known.get(name, -1.0)) for name in names)) for method, known in every.items())
    title = say("Beside simple methods")
    about = say(
        "Scores of simple methods on the same {split} examples, with their usual settings.", split=split_name(split)
    )
    return Table(title, about, columns, rows, values, about=about, name="baseline")


def is_cheap(data: Dataset) -> bool:
    """Return whether fitting simple methods to the training examples takes about a second."""
    count = data.facts.sizes.get("train", 0)
    if isinstance(data.facts.inputs, TokenInputs):
        return 0 < count * data.facts.inputs.length <= MOST_TOKENS
    return data.facts.inputs.kind == "table" and 0 < count <= MOST_ROWS


def by_method(scores: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return {method: {score: value}} from ``"score (method)"``."""
    found: dict[str, dict[str, float]] = {}
    for text, value in scores.items():
        if match := re.fullmatch(r"(.+?) \((.+)\)", text):
            found.setdefault(match[2], {})[match[1]] = value
    return found

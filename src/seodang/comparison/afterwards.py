"""What finished runs are asked besides their scores: other splits, each class. Answers are kept beside the runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from seodang.comparison.ladder import Afterwards
from seodang.comparison.plan import Plan, PlannedRun, finished
from seodang.comparison.results import plus_minus
from seodang.comparison.statistics import mean_of
from seodang.core.errors import ConfigError
from seodang.core.files import write
from seodang.core.language import say
from seodang.core.run import RunFolder
from seodang.core.strict import LARGE_BYTES, parse_json, read_regular
from seodang.visualize.history import split_name

KEPT = "afterwards.json"


def ask(folder: Path, plan: Plan, afterwards: Afterwards) -> list[dict[str, Any]]:
    """Return a table for each question, asking those runs that have not answered yet.

    Raises: ConfigError if the task of the runs cannot answer.
    """
    name = str(plan.facts["name"])
    answers = _Answers(folder)
    tables = []
    if afterwards.splits:
        own = _own_split(folder, plan)
        heads = dict.fromkeys([*afterwards.splits, own])
        rows = {}
        for variant, runs in _by_variant(folder, plan).items():
            rows[variant] = {split_name(split): [answers.of(run, f"split {split}", partial(split_score, split, name)) for run in runs]
                             for split in heads}  # fmt: skip
        tables.append(_table(say("{score} on each part", score=name), name, rows))
    if afterwards.classes:
        rows = {}
        for variant, runs in _by_variant(folder, plan).items():
            found = [answers.of(run, "classes", class_recall) for run in runs]
            rows[variant] = {label: [one[label] for one in found] for label in (found[0] if found else {})}
        tables.append(_table(say("How many of each class are found"), "recall", rows))
    return tables


class _Answers:
    """Answers by run and question, kept in a file: a run is asked once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / KEPT
        self._known: dict[str, Any] = {}
        if self.path.is_file():
            self._known = parse_json(read_regular(self.path, LARGE_BYTES), LARGE_BYTES)

    def of(self, run: RunFolder, question: str, ask: Callable[[Any], Any]) -> Any:
        from seodang.api import open_run

        key = f"{run.path.name} {run.recipe.digest()} {question}"
        if key not in self._known:
            self._known[key] = ask(open_run(run))
            write(self.path, json.dumps(self._known, indent=1) + "\n")
        return self._known[key]


def _by_variant(folder: Path, plan: Plan) -> dict[str, list[RunFolder]]:
    """Return the finished runs of each variant that has any."""
    found: dict[str, list[RunFolder]] = {}
    for planned in plan.runs:
        if run := finished(folder, planned):
            found.setdefault(planned.variant, []).append(run)
    return found


def _own_split(folder: Path, plan: Plan) -> str:
    """Return the split the scores of the runs are on."""
    runs: Sequence[PlannedRun] = plan.runs
    opened = (finished(folder, planned) for planned in runs)
    return next((str(run.result["split"]) for run in opened if run and run.result), "test")


def split_score(split: str, name: str, run: Any) -> float:
    return float(run.evaluate(split=split)[name])


def class_recall(run: Any) -> dict[str, float]:
    """Return for each class the share of its held-out examples that a run's model finds.

    Raises: ConfigError if its answers are no classes.
    """
    from seodang.data.dataset import datasets
    from seodang.task.base import tasks
    from seodang.visualize.answers import gather
    from seodang.visualize.classes import confusion_counts

    bundle = run.bundle()
    facts = bundle.record.facts
    if getattr(tasks[bundle.record.task.name].maker, "answers", "") != "classes" or facts.classes is None:
        raise ConfigError(
            "afterwards.classes: the task '{task}' does not answer with classes.", task=bundle.record.task.name
        )
    data = datasets.make(run.recipe.data, None, run.recipe.seed)
    data.prepare()
    answers = gather(bundle.model, data, most=1 << 62, batch_size=512)
    assert answers is not None
    counts = confusion_counts(answers, len(facts.classes)).double()
    return dict(zip(facts.classes, (counts.diagonal() / counts.sum(1).clamp(min=1)).tolist(), strict=True))


def _table(title: str, name: str, rows: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Return a table as plain values: means and standard errors, and the cells people read."""
    heads = list(dict.fromkeys(head for row in rows.values() for head in row))
    means = {
        variant: {head: mean_of(values)._asdict() for head, values in row.items()} for variant, row in rows.items()
    }
    cells = [[variant, *(plus_minus(name, row[head]["mean"], row[head]["standard_error"]) for head in heads)]
             for variant, row in means.items()]  # fmt: skip
    return {"title": title, "metric": name, "heads": [say("variant"), *heads], "cells": cells, "means": means}

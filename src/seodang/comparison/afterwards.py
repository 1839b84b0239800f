"""What finished runs are asked besides their scores: other splits, each class, noise, several together.

Answers are kept beside the runs: a run is asked once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from seodang.comparison.ladder import Afterwards
from seodang.comparison.plan import Plan, finished
from seodang.comparison.results import plus_minus
from seodang.core.errors import ConfigError
from seodang.core.files import write
from seodang.core.language import say
from seodang.core.run import RunFolder
from seodang.core.statistics import mean_of
from seodang.core.strict import LARGE_BYTES, parse_json, read_regular
from seodang.visualize.history import split_name

KEPT = "afterwards.json"
Rows = dict[str, dict[str, list[float]]]
"""Variant → what was asked → the answer of each run."""


def ask(folder: Path, plan: Plan, afterwards: Afterwards) -> list[dict[str, Any]]:
    """Return a table for each question, asking those runs that have not answered yet.

    Raises: ConfigError if the task of the runs cannot answer.
    """
    asked = _Asked(folder, plan)
    name = str(plan.facts["name"])
    tables = []
    if afterwards.splits:
        tables.append(
            _table("splits", say("{score} on each part", score=name), name, asked.splits(afterwards.splits, name))
        )
    if afterwards.ensemble:
        title = say("{score} alone, and of {count} together", score=name, count=afterwards.ensemble)
        tables.append(_table("ensemble", title, name, asked.ensembles(afterwards.ensemble, name)))
    if afterwards.noise:
        rows, unit = asked.noise(afterwards.noise)
        title = say("{score} under noise in the inputs ({unit})", score=name, unit=unit)
        tables.append(_table("noise", title, name, rows) | {"levels": sorted(afterwards.noise), "unit": unit})
    if afterwards.classes:
        tables.append(_table("classes", say("How many of each class are found"), "recall", asked.classes()))
    return tables


class _Asked:
    """The finished runs of a comparison, and what they answered."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.path = folder / KEPT
        self._known: dict[str, Any] = {}
        if self.path.is_file():
            self._known = parse_json(read_regular(self.path, LARGE_BYTES), LARGE_BYTES)
        self.runs: dict[str, list[RunFolder]] = {}
        for planned in plan.runs:
            if run := finished(folder, planned):
                self.runs.setdefault(planned.variant, []).append(run)

    def of(self, runs: Sequence[RunFolder], question: str, answer: Callable[[list[Path]], Any]) -> Any:
        key = " ".join([*(f"{run.path.name}:{run.recipe.digest()}" for run in runs), question])
        if key not in self._known:
            self._known[key] = answer([run.path for run in runs])
            write(self.path, json.dumps(self._known, indent=1) + "\n")
        return self._known[key]

    def splits(self, splits: Sequence[str], name: str) -> Rows:
        results = (run.result for runs in self.runs.values() for run in runs)
        own = next((str(result["split"]) for result in results if result), "test")
        rows: Rows = {}
        for variant, runs in self.runs.items():
            rows[variant] = {
                split_name(split): [self.of([run], f"split {split}", partial(_score, name, split)) for run in runs]
                for split in dict.fromkeys([*splits, own])
            }
        return rows

    def ensembles(self, count: int, name: str) -> Rows:
        alone, together = say("alone"), say("{count} together", count=count)
        rows: Rows = {}
        for variant, runs in self.runs.items():
            groups = [runs[start : start + count] for start in range(0, len(runs) - count + 1, count)]
            rows[variant] = {alone: [self.of([run], "score", partial(_score, name, None)) for run in runs],
                             together: [self.of(group, "score", partial(_score, name, None)) for group in groups]}  # fmt: skip
        return rows

    def noise(self, levels: Sequence[float]) -> tuple[Rows, str]:
        rows: Rows = {}
        unit = ""
        for variant, runs in self.runs.items():
            found = [self.of([run], f"noise {sorted(levels)}", partial(_noise, levels)) for run in runs]
            unit = found[0]["unit"]
            rows[variant] = {
                f"{level:g}": [one["scores"][place] for one in found] for place, level in enumerate(sorted(levels))
            }
        return rows, unit

    def classes(self) -> Rows:
        rows: Rows = {}
        for variant, runs in self.runs.items():
            found = [self.of([run], "classes", class_recall) for run in runs]
            rows[variant] = {label: [one[label] for one in found] for label in found[0]}
        return rows


def _score(name: str, split: str | None, paths: list[Path]) -> float:
    from seodang import api  # lazy: 1 s

    return float(api.evaluate(paths if len(paths) > 1 else paths[0], split=split)[name])


def _noise(levels: Sequence[float], paths: list[Path]) -> dict[str, Any]:
    from seodang import api

    found = api.robustness(paths, list(levels), repeats=1)
    (points,) = found["runs"].values()
    return {"unit": found["unit"], "scores": [point["mean"] for point in points]}


def class_recall(paths: list[Path]) -> dict[str, float]:
    """Return for each class that has held-out examples the share of them that a run's model finds.

    Raises: ConfigError if its answers are no classes.
    """
    from seodang import api

    found = api.evaluation(paths[0])
    classes = found.get("classes", {}).get("classes")
    if classes is None:
        raise ConfigError("afterwards.classes: the task '{task}' does not answer with classes.",
                          task=api.open_run(paths[0]).recipe.task.name)  # fmt: skip
    return {name: float(row["recall"]) for name, row in classes.items() if row["recall"] is not None}


def _table(kind: str, title: str, name: str, rows: Rows) -> dict[str, Any]:
    """Return a table as plain values: means and standard errors, and the cells people read."""
    heads = list(dict.fromkeys(head for row in rows.values() for head in row))
    means: Mapping[str, Mapping[str, Any]] = {
        variant: {head: mean_of(values)._asdict() for head, values in row.items()} for variant, row in rows.items()
    }
    cells = [[variant, *(plus_minus(name, row[head]["mean"], row[head]["standard_error"]) for head in heads)]
             for variant, row in means.items()]  # fmt: skip
    return {"kind": kind, "title": title[:1].upper() + title[1:], "metric": name, "heads": [say("variant"), *heads],
            "cells": cells, "means": means}  # fmt: skip

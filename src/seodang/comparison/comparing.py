"""The verb `compare`: train variants of a recipe with several seeds, and say what differs beyond noise."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seodang.comparison.ladder import Afterwards, Ladder, find_ladder
from seodang.comparison.plan import Plan, begin, check, finished, make_plan, read_plan, require_room
from seodang.comparison.running import Outcome, require_alone, run_all
from seodang.comparison.variants import Variant, from_lists, from_wholes, over
from seodang.core.errors import ConfigError
from seodang.core.files import write
from seodang.core.language import say
from seodang.core.places import expanded
from seodang.core.recipe import Recipe, Train
from seodang.core.registry import load_plugin
from seodang.core.strict import LARGE_BYTES, Refused, parse_json, read_regular
from seodang.training.resolve import flat

FOUND = "comparison.json"
CROWDED = 1.0
"""Programs beside its own from which it is said that the machine was busy."""
RecipeLike = str | Path | Mapping[str, Any] | Recipe


@dataclass(frozen=True)
class Comparison:
    """What a comparison found; `found` is what comparison.json holds."""

    path: Path
    found: Mapping[str, Any]
    stopped_by: int | None = None
    """Number of the signal that stopped it, if one did: then `found` is empty."""

    @property
    def variants(self) -> list[Mapping[str, Any]]:
        """One row for each variant: mean, standard_error, to_first, to_best, seconds, runs."""
        return list(self.found.get("variants", ()))

    @property
    def best(self) -> str | None:
        return self.found.get("best")

    @property
    def verdicts(self) -> list[str]:
        """What can be said about the variants, in sentences."""
        return list(self.found.get("verdicts", ()))

    @property
    def page(self) -> Path:
        return self.path / "comparison.html"

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return next(row for row in self.variants if row["name"] == name)


@dataclass(frozen=True)
class Terms:
    """Where and how the runs of a comparison are made, and who hears of them."""

    data: str | Path | Mapping[str, Any] | None = None
    to: str | Path | None = None
    processes: int | None = None
    plugin: str | Path | None = None
    begun: Callable[[Path, Plan, int, int, int], object] = lambda folder, plan, processes, left, count: None
    """Hears folder, plan, processes, how many runs are left and of how many."""
    told: Callable[[Outcome], object] = lambda outcome: None
    """Hears how each run ended."""
    say_aside: Callable[[str], object] = lambda text: None

    def begin(self) -> None:
        """Do what comes before everything.

        Raises: SeodangError
        """
        require_alone()
        if self.plugin:
            load_plugin(self.plugin)
        if self.processes is not None and self.processes < 1:
            raise ConfigError("--processes {count}: should be 1 or more.", count=self.processes)

    def plan(
        self,
        recipe: RecipeLike,
        variants: Sequence[Variant],
        shared: Mapping[str, Any],
        seeds: int,
        title: str | None = None,
    ) -> Plan:
        return make_plan(
            recipe, variants, shared, seeds, self.data, lambda train: threads_of(train, self.processes), title
        )

    def train(
        self, folder: Path, names: Sequence[str], processes: int, told: Callable[[Outcome], object]
    ) -> int | None:
        """Train the runs `names`; return the signal that ended it, if one did."""
        if not names:
            return None
        plugin = str(self.plugin) if self.plugin else None
        return run_all(folder, names, min(processes, len(names)), plugin, told, self.say_aside)


def compare(
    recipe: RecipeLike,
    settings: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    *,
    seeds: int | None = None,
    data: str | Path | Mapping[str, Any] | None = None,
    to: str | Path | None = None,
    paired: bool = False,
    processes: int | None = None,
    plugin: str | Path | None = None,
    **shared: Any,
) -> Comparison:
    """Train variants of a recipe, each with the same seeds, and compare their scores.

    recipe     a recipe; or without `settings` a ladder, which holds its variants: a shipped name or a TOML file
    settings   ``{"optimizer.name": ["sgd", "adam"]}``: a grid of lists, or with `paired` the lists side by side;
               or whole combinations: a list of mappings of settings, or a mapping from names to them
    seeds      how many, by default 3 or what the ladder says; the first is the recipe's own
    to         the folder; default: one below ``runs/`` named for recipe and variants. What has finished there is kept
    processes  runs at a time; default: as many as there are cores, one thread each (on a GPU: one)
    shared     changes for all: ``train={"epochs": 3}``

    Raises: SeodangError and its kin for whatever the user can mend, before anything runs.
    """
    terms = Terms(data, to, processes, plugin)
    ladder = find_ladder(recipe)
    if ladder is not None:
        if settings is not None or paired:
            raise ConfigError("{name}: is a ladder and has its variants; changes for all of them are given by name.", name=ladder.name)  # fmt: skip
        return compare_ladder(ladder, shared, terms, seeds)
    if isinstance(settings, Mapping) and not any(isinstance(value, Mapping) for value in settings.values()):
        variants = from_lists(settings, paired)
    else:
        variants = from_wholes(settings or ())
    if not variants:
        raise ConfigError("There is nothing to compare: the list of combinations is empty.")
    return compare_variants(recipe, variants, shared, terms, 3 if seeds is None else seeds)


def compare_ladder(ladder: Ladder, shared: Mapping[str, Any], terms: Terms, seeds: int | None = None) -> Comparison:
    """Compare the variants of a ladder; `shared` are changes for all, over its own."""
    terms.begin()
    return compare_plan(ladder_plan(ladder, shared, terms, seeds), terms, ladder.afterwards)


def ladder_plan(ladder: Ladder, shared: Mapping[str, Any], terms: Terms, seeds: int | None = None) -> Plan:
    settings = over(dict(flat(ladder.settings)), dict(flat(shared)))
    return terms.plan(ladder.recipe, ladder.rungs(), settings, ladder.seeds if seeds is None else seeds, ladder.name)


def compare_variants(
    recipe: RecipeLike, variants: Sequence[Variant], shared: Mapping[str, Any], terms: Terms, seeds: int = 3
) -> Comparison:
    """Compare variants of a recipe; `shared` are changes for all."""
    terms.begin()
    return compare_plan(terms.plan(recipe, variants, shared, seeds), terms)


def compare_plan(plan: Plan, terms: Terms, afterwards: Afterwards | None = None) -> Comparison:
    """Train what of a plan is not trained yet, and say what was found."""
    processes = terms.processes or processes_of(plan)
    folder = (expanded(terms.to) if terms.to else plan.folder()).absolute()
    require_room(folder, plan)
    began = time.monotonic()
    left = [run.name for run in plan.runs if finished(folder, run) is None]
    plan = replace(plan, facts=check(plan) if left else dict(read_plan(folder).facts))
    begin(folder, plan)
    terms.begun(folder, plan, processes, len(left), len(plan.runs))
    outcomes: dict[str, Outcome] = {}

    def hear(outcome: Outcome) -> None:
        outcomes[outcome.name] = outcome
        terms.told(outcome)

    by_seed = sorted(left, key=[run.name for run in sorted(plan.runs, key=lambda run: run.seed)].index)
    stopped_by = terms.train(folder, by_seed, processes, hear)
    if stopped_by is not None:
        return Comparison(folder, {}, stopped_by)
    at_once = time.monotonic() - began if len(left) == len(plan.runs) else None
    return Comparison(folder, conclude(folder, plan, outcomes, processes, afterwards, at_once))


def conclude(
    folder: Path, plan: Plan, outcomes: Mapping[str, Outcome], processes: int,
    afterwards: Afterwards | None = None, at_once: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write comparison.json, the charts and the page; return what was found.

    `at_once` is how many seconds it took, if nothing of it was done before.
    """
    from seodang.comparison.afterwards import ask  # lazy: 1 s
    from seodang.comparison.results import results, row_cells
    from seodang.visualize.comparison import write_comparison

    found = results(folder, plan, outcomes, processes)
    costs = {"wall_seconds": at_once, "load": _load()} if outcomes else _costs_before(folder)
    found |= costs
    if (costs["load"] or 0.0) > _cores(plan, processes) + CROWDED:
        found["notes"].append(say("Other work kept this machine busy (load {load:.1f}): the times are longer than they would be alone.",
                                  load=costs["load"]))  # fmt: skip
    found["afterwards"] = ask(folder, plan, afterwards) if afterwards else []
    write(folder / FOUND, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    write_comparison(found, *row_cells(found), folder)
    return found


def _costs_before(folder: Path) -> dict[str, float | None]:
    """Return the costs that stand in a comparison's file."""
    try:
        values = parse_json(read_regular(folder / FOUND, LARGE_BYTES), LARGE_BYTES)
    except (OSError, Refused):
        values = None
    known = values if isinstance(values, dict) else {}
    return {key: value if isinstance(value := known.get(key), float) else None for key in ("wall_seconds", "load")}


def _load() -> float | None:
    """Return how many programs computed at a time during the last minute, where the system counts them."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _cores(plan: Plan, processes: int) -> int:
    """Return how many cores a comparison takes; those of a GPU's helpers are not counted."""
    return processes * plan.threads if isinstance(plan.threads, int) else processes


def _on_cpu(train: Train) -> bool:
    import torch  # lazy: 1 s

    return train.device == "cpu" or (train.device == "auto" and not torch.cuda.is_available())


def threads_of(train: Train, processes: int | None) -> int | str:
    """Return the threads of each run: what the recipe says; else all runs at a time share the cores."""
    from seodang.training.devices import available_cores  # lazy: 1 s

    if train.threads != "auto" or not _on_cpu(train):
        return train.threads
    return 1 if processes is None else max(1, available_cores() // processes)


def processes_of(plan: Plan) -> int:
    from seodang.training.devices import available_cores, wanted_devices  # lazy: 1 s

    if not all(_on_cpu(run.recipe.train) for run in plan.runs):
        return 1
    each = max(int(run.recipe.train.threads) * wanted_devices(run.recipe.train) for run in plan.runs)
    return max(1, available_cores() // each)

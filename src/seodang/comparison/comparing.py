"""The verb `compare`: train variants of a recipe with several seeds, and say what differs beyond noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seodang.comparison.plan import Plan, begin, check, finished, make_plan, read_plan, require_room
from seodang.comparison.running import Outcome, require_alone, run_all
from seodang.comparison.variants import Variant, from_lists, from_wholes
from seodang.core.errors import ConfigError
from seodang.core.files import write
from seodang.core.places import expanded
from seodang.core.recipe import Recipe, Train
from seodang.core.registry import load_plugin


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


def compare(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    settings: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    seeds: int = 3,
    data: str | Path | Mapping[str, Any] | None = None,
    to: str | Path | None = None,
    paired: bool = False,
    processes: int | None = None,
    plugin: str | Path | None = None,
    **shared: Any,
) -> Comparison:
    """Train variants of a recipe, each with the same seeds, and compare their scores.

    settings   ``{"optimizer.name": ["sgd", "adam"]}``: a grid of lists, or with `paired` the lists side by side;
               or whole combinations: a list of mappings of settings, or a mapping from names to them
    seeds      how many; the first is the recipe's own
    to         the folder; default: one below ``runs/`` named for recipe and variants. What has finished there is kept
    processes  runs at a time; default: as many as there are cores, one thread each (on a GPU: one)
    shared     changes for all: ``train={"epochs": 3}``

    Raises: SeodangError and its kin for whatever the user can mend, before anything runs.
    """
    if isinstance(settings, Mapping) and not any(isinstance(value, Mapping) for value in settings.values()):
        variants = from_lists(settings, paired)
    else:
        variants = from_wholes(settings)
    if not variants:
        raise ConfigError("There is nothing to compare: the list of combinations is empty.")
    return compare_variants(recipe, variants, shared, seeds=seeds, data=data, to=to, processes=processes, plugin=plugin)


def compare_variants(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    variants: Sequence[Variant],
    shared: Mapping[str, Any],
    *,
    seeds: int = 3,
    data: str | Path | Mapping[str, Any] | None = None,
    to: str | Path | None = None,
    processes: int | None = None,
    plugin: str | Path | None = None,
    begun: Callable[[Path, Plan, int, int, int], object] = lambda folder, plan, processes, left, count: None,
    told: Callable[[Outcome], object] = lambda outcome: None,
    say_aside: Callable[[str], object] = lambda text: None,
) -> Comparison:
    """Compare variants; `begun` hears folder, plan, processes, how many runs are left and of how many, `told` how each of them ended."""
    require_alone()
    if plugin:
        load_plugin(plugin)
    if processes is not None and processes < 1:
        raise ConfigError("--processes {count}: should be 1 or more.", count=processes)
    plan = make_plan(recipe, variants, shared, seeds, data, lambda train: threads_of(train, processes))
    processes = processes or processes_of(plan)
    folder = (expanded(to) if to else plan.folder()).absolute()
    require_room(folder, plan)
    left = [run.name for run in plan.runs if finished(folder, run) is None]
    facts = check(plan) if left else dict(read_plan(folder).facts)
    plan = Plan(plan.title, plan.variants, plan.seeds, plan.runs, plan.notes, facts)
    begin(folder, plan)
    begun(folder, plan, processes, len(left), len(plan.runs))
    outcomes: dict[str, Outcome] = {}

    def hear(outcome: Outcome) -> None:
        outcomes[outcome.name] = outcome
        told(outcome)

    by_seed = sorted(left, key=[run.name for run in sorted(plan.runs, key=lambda run: run.seed)].index)
    stopped_by = run_all(folder, by_seed, min(processes, len(left)), str(plugin) if plugin else None, hear,
                         say_aside) if left else None  # fmt: skip
    if stopped_by is not None:
        return Comparison(folder, {}, stopped_by)
    return Comparison(folder, conclude(folder, plan, outcomes, processes))


def conclude(folder: Path, plan: Plan, outcomes: Mapping[str, Outcome], processes: int) -> dict[str, Any]:
    """Write comparison.json, the charts and the page; return what was found."""
    from seodang.comparison.results import results, row_cells  # lazy: 1 s
    from seodang.visualize.comparison import write_comparison

    found = results(folder, plan, outcomes, processes)
    write(folder / "comparison.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    write_comparison(found, *row_cells(found), folder)
    return found


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

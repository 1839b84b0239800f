"""Plan: which runs a comparison has, each with its whole recipe; written before the first of them begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seodang.comparison.variants import Variant, over, slug
from seodang.core.config import toml_text
from seodang.core.errors import ConfigError, RunError, SeodangError
from seodang.core.files import make_folders, remove_leftovers, write
from seodang.core.language import say
from seodang.core.recipe import Recipe, Train
from seodang.core.run import RunFolder, runs_folder
from seodang.core.strict import LARGE_BYTES, Refused, parse_json, read_regular
from seodang.training.resolve import read_recipe

PLAN = "plan.json"
MOST_SEEDS = 1000


@dataclass(frozen=True)
class PlannedRun:
    """One run of a comparison."""

    name: str
    """Its folder, below the comparison's."""
    variant: str
    seed: int
    recipe: Recipe


@dataclass(frozen=True)
class Plan:
    """Everything a comparison is."""

    title: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Score that decides, and whether there is a validation part; see `check`."""

    @property
    def threads(self) -> int | str:
        return self.runs[0].recipe.train.threads

    def digest(self) -> str:
        """Return a fingerprint of the variants; more seeds of the same are the same comparison."""
        first = {run.variant: run.recipe.digest() for run in self.runs if run.seed == self.seeds[0]}
        return hashlib.sha256(json.dumps(first).encode()).hexdigest()[:8]

    def folder(self) -> Path:
        """Return where the comparison goes by itself: the same command finds it again."""
        return runs_folder() / f"compare-{slug(self.title)}-{self.digest()}"

    def written(self) -> str:
        runs = [{"name": run.name, "variant": run.variant, "seed": run.seed, "digest": run.recipe.digest(),
                 "recipe": toml_text(run.recipe.written())} for run in self.runs]  # fmt: skip
        return json.dumps(
            {"format": 1, "title": self.title, "seeds": self.seeds, "notes": self.notes, "facts": dict(self.facts),
             "variants": [variant._asdict() for variant in self.variants], "runs": runs}, indent=1, ensure_ascii=False
        ) + "\n"  # fmt: skip


def make_plan(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    variants: Sequence[Variant],
    shared: Mapping[str, Any],
    seeds: int,
    data: str | Path | Mapping[str, Any] | None,
    threads: Callable[[Train], int | str],
    title: str | None = None,
) -> Plan:
    """Return the plan; every setting that does not exist or has a wrong value is named now.

    `threads` says how many a run has; `title` what the comparison is called, by default as its recipe.
    Raises: ConfigError, UnknownName, DataError
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError("--seeds {count}: should be a number from 1 to {most}.", count=seeds, most=MOST_SEEDS)
    runs: list[PlannedRun] = []
    notes: list[str] = []
    problems: dict[str, list[str]] = {}
    names: list[str] = []
    first, called = 0, ""
    for variant in variants:
        try:
            resolved, left_out = read_recipe(recipe, data, (), over(shared, variant.settings))
        except SeodangError as error:
            problems.setdefault(str(error), []).append(variant.name)
            continue
        if "seed" in variant.settings:
            raise ConfigError("seed: every variant is trained with the same seeds: --seeds 3. The first is seed=…")
        notes += [say("{variant}: {reason}", variant=variant.name, reason=note) for note in left_out]
        called, first = resolved.name, resolved.seed
        resolved = resolved.replace(train=resolved.train.replace(threads=threads(resolved.train)))
        part = slug(variant.name)[:80]
        names.append(part if part not in names else f"{part}-{len(names) + 1}")
        runs += [PlannedRun(f"{names[-1]}-seed{seed}", variant.name, seed, resolved.replace(seed=seed, expected=None))
                 for seed in range(first, first + seeds)]  # fmt: skip
    _refuse(problems, len(variants))
    return Plan(title or called, tuple(variants), tuple(range(first, first + seeds)), tuple(runs),
                (*dict.fromkeys(notes), *_one_rate_for_all(runs)))  # fmt: skip


def _one_rate_for_all(runs: Sequence[PlannedRun]) -> list[str]:
    """Return a warning where several optimizers share the one rate that the recipe chose for one of them."""
    rules = {run.recipe.optimizer.name for run in runs}
    rates = {run.recipe.optimizer.settings.get("lr") for run in runs}
    if len(rules) < 2 or len(rates) > 1 or None in rates:
        return []
    return [say("All optimizers have optimizer.lr={rate:g}, and what suits one need not suit another. Each with its own rate: "
                "--paired optimizer.name=sgd,adam optimizer.lr=0.1,0.001", rate=rates.pop())]  # fmt: skip


def check(plan: Plan) -> dict[str, Any]:
    """Make data, model, task and optimizer of every variant, as training would; return what the score is.

    Raises: ConfigError naming every variant that cannot be trained, or DataError.
    """
    from seodang.training.assemble import assemble  # lazy: 1 s
    from seodang.training.devices import wanted_devices

    problems: dict[str, list[str]] = {}
    facts: dict[str, Any] = {}
    read: dict[str, Any] = {}
    for run in plan.runs:
        if run.seed != plan.seeds[0]:
            continue
        try:
            wanted_devices(run.recipe.train)
            key = toml_text(run.recipe.data.values())
            made = assemble(run.recipe, read.get(key))
            read[key] = made.data
            for network in made.task.networks(made.model).values():
                made.rule.build(network)
        except SeodangError as error:
            problems.setdefault(str(error), []).append(run.variant)
            continue
        name, mode = made.task.monitor
        if facts and facts["name"] != name:
            problems[say("is judged by {name}, the first variant by {first}; they cannot be compared.",
                         name=name, first=facts["name"])] = [run.variant]  # fmt: skip
        facts = facts or {"name": name, "mode": mode, "valid": "valid" in made.data.facts.sizes}
    _refuse(problems, len(plan.variants))
    return facts


def _refuse(problems: Mapping[str, Sequence[str]], count: int) -> None:
    """Raise ConfigError if there are problems; what is wrong with all variants is said once."""
    reasons = [reason if len(names) == count else say("{variant}: {reason}", variant=", ".join(names), reason=reason)
               for reason, names in problems.items()]  # fmt: skip
    if reasons:
        raise ConfigError("{reasons}", reasons="\n".join(reasons))


def read_plan(folder: Path) -> Plan:
    """Return the plan of a comparison.

    Raises: RunError if `folder` holds none.
    """
    values = _values(folder)
    try:
        runs = tuple(PlannedRun(str(run["name"]), str(run["variant"]), int(run["seed"]), _recipe(run["recipe"]))
                     for run in values["runs"])  # fmt: skip
        variants = tuple(
            Variant(str(item["name"]), dict(item["settings"]), item.get("against")) for item in values["variants"]
        )
        return Plan(str(values["title"]), variants, tuple(values["seeds"]), runs, tuple(values["notes"]),
                    dict(values["facts"]))  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise RunError("{path}: cannot be read as the plan of a comparison ({reason}).",
                       path=folder / PLAN, reason=error) from None  # fmt: skip


def _recipe(text: str) -> Recipe:
    from seodang.core.strict import parse_toml

    return Recipe.of(parse_toml(text))


def _values(folder: Path) -> dict[str, Any]:
    try:
        values = parse_json(read_regular(folder / PLAN, LARGE_BYTES), LARGE_BYTES)
    except (OSError, Refused) as error:
        raise RunError("{path}: cannot be read as the plan of a comparison ({reason}).",
                       path=folder / PLAN, reason=error) from None  # fmt: skip
    if not isinstance(values, dict):
        raise RunError(
            "{path}: cannot be read as the plan of a comparison ({reason}).", path=folder / PLAN, reason="{}"
        )
    return values


def require_room(folder: Path, plan: Plan) -> None:
    """See that `folder` is empty, new, or holds this comparison, perhaps with fewer seeds or variants.

    Raises: RunError
    """
    if folder.is_file():
        raise RunError("{path}: is a file; a comparison needs a folder of its own.", path=folder)
    if not folder.exists():
        return
    if not (folder / PLAN).exists():
        if any(not item.name.startswith(".") for item in folder.iterdir()):
            raise RunError("{path}: is not empty; a comparison needs a folder of its own.", path=folder)
        return
    now = {run.name: run.recipe.digest() for run in plan.runs}
    gone = [run["name"] for run in _values(folder).get("runs", []) if now.get(run["name"]) != run["digest"]]
    if gone:
        raise RunError("{path}: holds another comparison: its {name} is not the same here. Choose another folder: --to DIR",
                       path=folder, name=gone[0])  # fmt: skip


def begin(folder: Path, plan: Plan) -> None:
    """Make the folder, if it is not there yet, and write the plan into it."""
    make_folders(folder)
    remove_leftovers(folder)
    if not (folder / PLAN).exists() or (folder / PLAN).read_text(encoding="utf-8") != plan.written():
        write(folder / PLAN, plan.written())


def finished(folder: Path, run: PlannedRun) -> RunFolder | None:
    """Return a run that has ended, or None.

    Raises: RunError if what is in its folder was made with another recipe.
    """
    path = folder / run.name
    if not (path / "recipe.toml").exists():
        return None
    opened = RunFolder(path)
    if opened.recipe.digest() != run.recipe.digest():
        raise RunError("{path}: was not made with the recipe of this comparison. Remove it, or choose another folder: --to DIR",
                       path=path)  # fmt: skip
    return opened if opened.is_complete else None

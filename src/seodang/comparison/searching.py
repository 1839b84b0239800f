"""Search: settings out of ranges, each trial an ordinary run; Optuna proposes the next from those before.

Optuna keeps its trials in a file of its own, ``search.journal``, beside the runs.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seodang.comparison.comparing import Comparison, RecipeLike, Terms, begin, conclude, processes_of
from seodang.comparison.plan import Plan, check, finished
from seodang.comparison.results import validation
from seodang.comparison.running import Outcome
from seodang.comparison.variants import RANGE, Variant, named, slug, words_of
from seodang.core.config import parse_override
from seodang.core.errors import ConfigError, MissingExtra, RunError
from seodang.core.places import expanded
from seodang.core.run import runs_folder
from seodang.training.resolve import flat

JOURNAL = "search.journal"
LOGARITHMIC = 50.0
"""Ranges whose end is this many times their start are searched on a logarithmic scale."""

Space = Mapping[str, Any]
"""Setting → ``(low, high)``, or a list of values to choose from."""


def space_of(words: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the space to search, and the settings all trials share.

    Raises: ConfigError
    """
    space: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for key, values, many in words_of(words):
        if many:
            space[key] = list(values)
        elif isinstance(values[0], str) and (found := RANGE.fullmatch(values[0])):
            space[key] = tuple(parse_override(f"{key}={end}")[1] for end in found.groups())
        else:
            shared[key] = values[0]
    return checked(space), shared


def checked(space: Space) -> dict[str, Any]:
    """Return the space, if every range in it is one.

    Raises: ConfigError
    """
    for key, values in space.items():
        if key == "seed":
            raise ConfigError("seed: is not searched; every trial has the recipe's.")
        if isinstance(values, tuple) and not (
            len(values) == 2 and all(isinstance(end, (int, float)) for end in values) and values[0] < values[1]
        ):
            raise ConfigError("{key}: a range goes from a number up to a larger one, for example {key}=1e-4..1e-1 (got {low}..{high}).",
                              key=key, low=values[0], high=values[-1])  # fmt: skip
    if not space:
        raise ConfigError("There is nothing to search: write ranges or lists, for example optimizer.lr=1e-4..1e-1")
    return dict(space)


def search(
    recipe: RecipeLike,
    space: Mapping[str, Any],
    *,
    trials: int = 20,
    data: str | Path | Mapping[str, Any] | None = None,
    to: str | Path | None = None,
    processes: int | None = None,
    plugin: str | Path | None = None,
    **shared: Any,
) -> Comparison:
    """Search settings of a recipe: ``search("digits-mlp", {"optimizer.lr": (1e-4, 1e-1), "model.dropout": [0.0, 0.3]})``.

    space      setting → ``(low, high)``, or a list of values to choose from
    trials     runs to make, those that have finished in the folder included
    shared     changes for all: ``train={"epochs": 3}``

    Raises: SeodangError and its kin for whatever the user can mend, before anything runs.
    """
    return search_space(
        recipe, checked(dict(flat(space))), dict(flat(shared)), Terms(data, to, processes, plugin), trials
    )


def search_space(
    recipe: RecipeLike, space: Space, shared: Mapping[str, Any], terms: Terms, trials: int = 20
) -> Comparison:
    """Train `trials` runs with settings out of `space`, judged by the validation part; finished ones are kept.

    Source: Akiba et al. 2019, "Optuna: A next-generation hyperparameter optimization framework", arXiv:1907.10902;
    proposals by the tree-structured Parzen estimator of Bergstra et al. 2011.
    Raises: MissingExtra, ConfigError, RunError
    """
    try:
        import optuna  # lazy: an extra
    except ImportError:
        raise MissingExtra("optuna", "search") from None
    terms.begin()
    if trials < 1:
        raise ConfigError("--trials {count}: should be 1 or more.", count=trials)

    def planned(variants: Sequence[Variant]) -> Plan:
        return terms.plan(recipe, variants, shared, 1)

    corners = planned([Variant(name, settings) for name, settings in _corners(space).items()])
    facts = check(corners)
    if not facts["valid"]:
        raise ConfigError(
            "A search chooses by the validation part, and this data has none. Set one aside, for example data.valid=0.15"
        )
    at_a_time = terms.processes or processes_of(corners)
    name = f"search-{slug(corners.title)}-{corners.digest()}"
    folder = (expanded(terms.to) if terms.to else runs_folder() / name).absolute()
    _require_room(folder, corners)
    trial_plan = _Trials(optuna, folder, facts, space, planned, corners)

    def train(names: Sequence[str]) -> int | None:
        return terms.train(folder, names, at_a_time, trial_plan.hear(terms.told))

    stopped_by = trial_plan.run(trials, at_a_time, terms.begun, train)
    if stopped_by is not None:
        return Comparison(folder, {}, stopped_by)
    return Comparison(folder, conclude(folder, _best_first(folder, trial_plan.plan), trial_plan.outcomes, at_a_time))


class _Trials:
    """The trials of a search: Optuna's study, and the plan of their runs."""

    def __init__(
        self, optuna: Any, folder: Path, facts: Mapping[str, Any], space: Space,
        planned: Callable[[Sequence[Variant]], Plan], corners: Plan,
    ) -> None:  # fmt: skip
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.states = optuna.trial.TrialState
        self.folder, self.planned = folder, planned
        self.facts = {**facts, "search": corners.digest()}
        self.distributions = _distributions(space, optuna)
        self.plan = replace(corners, runs=(), variants=(), facts=self.facts)
        self.outcomes: dict[str, Outcome] = {}
        begin(folder, self.plan)
        backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
        direction = "maximize" if facts["mode"] == "max" else "minimize"
        self.study = optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="search",
                                         load_if_exists=True, direction=direction)  # fmt: skip
        # A sampler that began with the same seed again would propose its first trials again.
        seed = corners.seeds[0] + len(self.study.trials)
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self.waiting = [trial.number for trial in self.study.trials if trial.state == self.states.RUNNING]

    def run(
        self, count: int, at_a_time: int, begun: Callable[[Path, Plan, int, int, int], object],
        train: Callable[[Sequence[str]], int | None],
    ) -> int | None:  # fmt: skip
        """Make `count` trials, some at a time; return the signal that ended it, if one did."""
        told = False
        while True:
            done = sum(trial.state.is_finished() for trial in self.study.trials)
            while len(self.waiting) < min(at_a_time, count - done):
                self.waiting.append(self.study.ask(fixed_distributions=self.distributions).number)
            variants = [_trial(trial.number, trial.params) for trial in self.study.trials]
            self.plan = replace(self.planned(variants), facts=self.facts)
            begin(self.folder, self.plan)
            if not told:
                begun(self.folder, self.plan, at_a_time, max(0, count - done), count)
            told = True
            if not self.waiting:
                return None
            runs = [self.plan.runs[number] for number in self.waiting]
            left = [run.name for run in runs if finished(self.folder, run) is None]
            stopped_by = train(left) if left else None
            self._conclude(stopped_by)
            if stopped_by is not None or self.waiting:
                return stopped_by or int(signal.SIGINT)

    def hear(self, told: Callable[[Outcome], object]) -> Callable[[Outcome], None]:
        def hear(outcome: Outcome) -> None:
            self.outcomes[outcome.name] = outcome
            told(outcome)

        return hear

    def _conclude(self, stopped_by: int | None) -> None:
        """Tell Optuna how the trials ended; those that were stopped go on waiting."""
        for number in list(self.waiting):
            planned = self.plan.runs[number]
            run = finished(self.folder, planned)
            if run is None and (stopped_by is not None or self.outcomes[planned.name].state == "stopped"):
                continue
            value = validation(run, str(self.facts["name"])) if run else None
            self.study.tell(number, value, state=self.states.FAIL if value is None else None)
            self.waiting.remove(number)


def _corners(space: Space) -> dict[str, dict[str, Any]]:
    """Return settings that hold every end and every value of the space at least once."""
    ends = {key: list(values) for key, values in space.items()}
    count = max(map(len, ends.values()))
    return {f"corner {place}": {key: values[min(place, len(values) - 1)] for key, values in ends.items()}
            for place in range(count)}  # fmt: skip


def _distributions(space: Space, optuna: Any) -> dict[str, Any]:
    made = {}
    for key, values in space.items():
        if not isinstance(values, tuple):
            made[key] = optuna.distributions.CategoricalDistribution(values)
            continue
        low, high = values
        log = low > 0 and high / low >= LOGARITHMIC
        if isinstance(low, int) and isinstance(high, int):
            made[key] = optuna.distributions.IntDistribution(low, high, log=log)
        else:
            made[key] = optuna.distributions.FloatDistribution(float(low), float(high), log=log)
    return made


def _require_room(folder: Path, corners: Plan) -> None:
    """See that `folder` is new, empty, or holds this very search.

    Raises: RunError
    """
    from seodang.comparison.plan import PLAN, read_plan

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        theirs = read_plan(folder).facts.get("search") if (folder / PLAN).is_file() else None
        if theirs != corners.digest():
            raise RunError(
                "{path}: holds something else than this search. Choose another folder: --to DIR", path=folder
            )


def _trial(number: int, settings: Mapping[str, Any]) -> Variant:
    """Name a trial by its number and its settings, numbers with three digits."""
    short = {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in settings.items()}
    return Variant(f"{number}: {named(short).name}", dict(settings))


def _best_first(folder: Path, plan: Plan) -> Plan:
    """Return the plan with its variants in the order of their validation scores; those without one last."""
    sign = -1 if plan.facts["mode"] == "max" else 1
    scores: dict[str, float] = {}
    for planned in plan.runs:
        run = finished(folder, planned)
        value = validation(run, str(plan.facts["name"])) if run else None
        scores[planned.variant] = math.inf if value is None else sign * value
    return replace(plan, variants=tuple(sorted(plan.variants, key=lambda variant: scores[variant.name])))

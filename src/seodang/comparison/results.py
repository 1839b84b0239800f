"""From finished runs to what is said about them: means, differences, curves, and words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seodang.comparison.plan import Plan, PlannedRun, finished
from seodang.comparison.running import Outcome
from seodang.core.language import say
from seodang.core.run import RunFolder
from seodang.core.statistics import LEVEL, Difference, mean_of, paired
from seodang.visualize.history import score_text, split_name
from seodang.visualize.scale import duration

MOST_POINTS = 200
NUMERIC = ("code", "torch", "threads", "device", "precision", "processor")
"""What has to be the same for runs to be comparable in their last digits and their times."""


def results(folder: Path, plan: Plan, outcomes: Mapping[str, Outcome], processes: int) -> dict[str, Any]:
    """Return everything a comparison found, as plain values: what comparison.json holds."""
    name, mode = str(plan.facts["name"]), str(plan.facts["mode"])
    runs = [_run(folder, run, name, outcomes.get(run.name)) for run in plan.runs]
    rows = [
        _row(variant._asdict(), [run for run in runs if run["variant"] == variant.name]) for variant in plan.variants
    ]
    splits = {run["split"] for run in runs if run["score"] is not None}
    by = (
        "validation"
        if plan.facts["valid"] and all(row["validation"]["seeds"] for row in rows if row["count"])
        else "score"
    )
    pairs = any(row["against"] for row in rows)
    best = None if pairs else _best(rows, by, mode)
    for row in rows:
        for key, other in (("to_first", _other(rows, row, pairs)), ("to_best", best)):
            together = 1 if pairs else len(rows) - 1
            row[key] = None if other is None or row is other else _difference(row, other, mode, together, by)
    found: dict[str, Any] = {
        "format": 1, "title": plan.title, "folder": str(folder), "metric": {"name": name, "mode": mode},
        "split": ", ".join(sorted(map(str, splits))), "judged_by": by, "has_validation": bool(plan.facts["valid"]),
        "seeds": list(plan.seeds), "threads": plan.threads, "processes": processes, "level": LEVEL,
        "first": rows[0]["name"], "best": best["name"] if best else None, "pairs": pairs, "variants": rows,
    }  # fmt: skip
    found["verdicts"] = pair_verdicts(found) if pairs else verdicts(found)
    found["notes"] = [*plan.notes, *_notes(found, folder, plan)]
    found["curves"] = _curves(folder, plan, name)
    return found


# ------------------------------------------------------------------------------------------- what was measured


def _run(folder: Path, planned: PlannedRun, metric: str, outcome: Outcome | None) -> dict[str, Any]:
    """Return a run: its score from result.json, and the validation score of the checkpoint that was kept."""
    run = finished(folder, planned)
    values: dict[str, Any] = {
        "name": planned.name, "variant": planned.variant, "seed": planned.seed, "state": "missing", "score": None,
        "validation": None, "split": None, "train_seconds": None, "peak_memory_bytes": None, "message": "",
    }  # fmt: skip
    if run is None or run.result is None:
        if outcome is not None:
            values |= {"state": outcome.state, "message": outcome.message, "kind": outcome.kind}
        return values
    result = run.result
    score = result["scores"].get(metric)
    return values | {
        "state": "finished",
        "split": result["split"],
        "score": float(score) if _is_finite(score) else None,
        "message": "" if _is_finite(score) else say("its {name} is {value}", name=metric, value=score),
        "validation": validation(run, metric),
        "train_seconds": result["train_seconds"],
        "peak_memory_bytes": result["peak_memory_bytes"],
    }


def validation(run: RunFolder, metric: str) -> float | None:
    """Return the validation score of the checkpoint that a finished run kept."""
    step = (run.result or {}).get("best_step")
    for event in run.events:
        if event["event"] == "evaluated" and event["step"] == step and event["split"] == "valid":
            value = event["scores"].get(metric)
            return float(value) if _is_finite(value) else None
    return None


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _row(variant: dict[str, Any], runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    count, mean, error = mean_of(_known(runs, "score"))
    held_out = mean_of(_known(runs, "validation"))
    seconds = mean_of(_known(runs, "train_seconds"))
    memory = max(_known(runs, "peak_memory_bytes"), default=None)
    return {"name": variant["name"], "settings": dict(variant["settings"]), "against": variant["against"], "count": count, "mean": mean,
            "standard_error": error, "validation": held_out._asdict(), "seconds": seconds._asdict(),
            "peak_memory_bytes": memory, "runs": list(runs)}  # fmt: skip


def _other(rows: Sequence[dict[str, Any]], row: dict[str, Any], pairs: bool) -> dict[str, Any] | None:
    """Return what a variant is compared with: the first; among pairs its own counterpart."""
    return next((other for other in rows if other["name"] == row["against"]), None) if pairs else rows[0]


def _known(runs: Sequence[dict[str, Any]], key: str) -> list[float]:
    return [run[key] for run in runs if run[key] is not None]


def _best(rows: Sequence[dict[str, Any]], by: str, mode: str) -> dict[str, Any] | None:
    """Return the variant with the best mean, of those that no run failed of."""
    whole = [row for row in rows if row["count"] == len(row["runs"])] or [row for row in rows if row["count"]]
    if not whole:
        return None
    return (max if mode == "max" else min)(
        whole, key=lambda row: row["validation"]["mean"] if by == "validation" else row["mean"]
    )


def _difference(row: dict[str, Any], other: dict[str, Any], mode: str, comparisons: int, by: str) -> dict[str, Any]:
    """Return how far `row` is from `other` over the seeds both have: in the score, and in what judges."""

    def of(key: str) -> Difference:
        theirs = {run["seed"]: run[key] for run in other["runs"] if run[key] is not None}
        pairs = [
            (run[key], theirs[run["seed"]]) for run in row["runs"] if run[key] is not None and run["seed"] in theirs
        ]
        return paired([one for one, _ in pairs], [two for _, two in pairs], mode, comparisons)

    score = of("score")._asdict()
    return {"than": other["name"], **score, "judged": of(by)._asdict() if by != "score" else score}


# --------------------------------------------------------------------------------------------------- in words


def verdicts(found: Mapping[str, Any]) -> list[str]:
    """Return what can be said about the variants: which is best, and which differences are within noise."""
    rows = found["variants"]
    name = found["metric"]["name"]
    best = next((row for row in rows if row["name"] == found["best"]), None)
    if best is None:
        return [say("No run has finished, so nothing can be said.")]
    if len(rows) == 1:
        return []
    part = split_name("valid" if found["judged_by"] == "validation" else found["split"])
    mean = best["validation"]["mean"] if found["judged_by"] == "validation" else best["mean"]
    said = [say("Best on average: {variant}, {name} {value} on the {part} part.", variant=best["name"], name=name,
                value=score_text(name, mean), part=part)]  # fmt: skip
    others = [(row["name"], row["to_best"]["judged"]) for row in rows if row["to_best"]]
    kinds = {kind: [variant for variant, judged in others if judged["verdict"] == kind]
             for kind in ("worse", "noise", "alike", "unknown", "better")}  # fmt: skip
    if len(found["seeds"]) < 2:
        return [*said, say("With one seed nothing can be said about noise: which variant is better may be the luck of the seed. "
                           "Give --seeds 3 or more.")]  # fmt: skip
    if clear := kinds["worse"] + kinds["better"]:
        said.append(say("Clearly different from it, beyond noise: {names}.", names=listed(clear)))
    if kinds["noise"]:
        said.append(say("Within noise of it: {names}. These {count} seeds do not tell them apart.",
                        names=listed(kinds["noise"]), count=len(found["seeds"])))  # fmt: skip
    if kinds["alike"]:
        said.append(say("The difference to {names} is the same with every seed, so its noise cannot be estimated: more seeds, or "
                        "more held-out data.", names=listed(kinds["alike"])))  # fmt: skip
    if kinds["unknown"]:
        said.append(say("Too few runs in common to compare with {names}.", names=listed(kinds["unknown"])))
    beyond = say(
        "Beyond noise: the {level:.0%} t interval of the difference, paired by seed, leaves out 0.",
        level=found["level"],
    )
    together = say("It is widened so that it holds for all {count} differences together.", count=len(others))
    said.append(f"{beyond} {together}" if len(others) > 1 else beyond)
    return said


def pair_verdicts(found: Mapping[str, Any]) -> list[str]:
    """Return what can be said about each variant beside its own counterpart."""
    rows = [row for row in found["variants"] if row["to_first"]]
    kinds = {kind: [row["name"] for row in rows if row["to_first"]["judged"]["verdict"] == kind]
             for kind in ("better", "worse", "noise", "alike", "unknown")}  # fmt: skip
    if len(found["seeds"]) < 2:
        return [say("With one seed nothing can be said about noise: which variant is better may be the luck of the seed. "
                    "Give --seeds 3 or more.")]  # fmt: skip
    said = []
    if kinds["better"]:
        said.append(say("Better than its counterpart, beyond noise: {names}.", names=listed(kinds["better"])))
    if kinds["worse"]:
        said.append(say("Worse than its counterpart, beyond noise: {names}.", names=listed(kinds["worse"])))
    if unclear := kinds["noise"] + kinds["alike"] + kinds["unknown"]:
        said.append(say("Within noise: {names}. These {count} seeds do not tell them from their counterparts.",
                        names=listed(unclear), count=len(found["seeds"])))  # fmt: skip
    said.append(say("Beyond noise: the {level:.0%} t interval of the difference, paired by seed, leaves out 0. Each pair is judged by "
                    "itself: where nothing helps, one in {odds} still seems to help or to hurt.",
                    level=found["level"], odds=round(1 / (1 - found["level"]))))  # fmt: skip
    return said


def listed(names: Sequence[str]) -> str:
    """Return names in a row; where one of them has a comma itself, between semicolons."""
    return ("; " if any("," in name for name in names) else ", ").join(names)


def _notes(found: Mapping[str, Any], folder: Path, plan: Plan) -> list[str]:
    """Return what a reader must know to judge the numbers."""
    notes = []
    if found["split"] == "test" and found["has_validation"]:
        notes.append(
            say(
                "Chosen by the validation part; the test part then says how good the choice is on data nobody chose by."
            )
        )
    elif found["split"] == "test":
        notes.append(say("There is no validation part: whoever takes the best of these chooses by the test part, and its score "
                         "then promises too much. Set one aside, for example data.valid=0.15"))  # fmt: skip
    elif found["split"] == "valid":
        notes.append(say("There is no test part: the score of the best is that of the data it was chosen by, and promises a little "
                         "too much."))  # fmt: skip
    if found["threads"] != "auto":
        notes.append(say("Processes at a time: {processes}; threads of each: {threads}. The last digits of a result depend on its "
                         "threads; the times, on what runs beside it.", processes=found["processes"],
                         threads=found["threads"]))  # fmt: skip
    for row in found["variants"]:
        if missing := len(row["runs"]) - row["count"]:
            why = next((run["message"] for run in row["runs"] if run["score"] is None and run["message"]), "")
            notes.append(say("{variant}: {missing} of {count} runs have no score. {reason}", variant=row["name"],
                             missing=missing, count=len(row["runs"]), reason=why))  # fmt: skip
        if stuck := [run["name"] for run in row["runs"] if run.get("kind") == "RunError"]:
            notes.append(
                say("To train such a run from its beginning, remove its folder: {path}", path=folder / stuck[0])
            )
    return notes + _mixed(folder, plan)


def _mixed(folder: Path, plan: Plan) -> list[str]:
    """Return a warning for every fact about code and machine that is not the same for all runs."""
    opened = [RunFolder(folder / run.name) for run in plan.runs if (folder / run.name / "recipe.toml").exists()]
    here = [run.read_json("environment.json") or {} for run in opened]
    differ = [name for name in NUMERIC if len({str(facts[name]) for facts in here if name in facts}) > 1]
    if not differ:
        return []
    return [say("Not all runs were made alike ({names} differ): to be sure, train them all again in another folder.",
                names=", ".join(differ))]  # fmt: skip


def row_cells(found: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the table of a comparison: its heads and its rows."""
    name = found["metric"]["name"]
    validated = found["has_validation"] and found["split"] != "valid"
    heads = [say("variant"), say("{score} on {split}", score=name, split=split_name(found["split"]))]
    heads += [say("{score} on {split}", score=name, split=split_name("valid"))] if validated else []
    if found["pairs"]:
        heads += [say("compared with"), say("difference to that")]
    else:
        heads += [say("difference to {variant}", variant=found["first"]), say("difference to the best")]
    heads += [say("training time"), say("peak memory")]
    rows = []
    for row in found["variants"]:
        cells = [row["name"], plus_minus(name, row["mean"], row["standard_error"])]
        if validated:
            cells.append(plus_minus(name, row["validation"]["mean"], row["validation"]["standard_error"]))
        difference = difference_text(name, row["to_first"])
        cells += (
            [row["against"] or "", difference]
            if found["pairs"]
            else [difference, difference_text(name, row["to_best"])]
        )
        seconds, memory = row["seconds"]["mean"], row["peak_memory_bytes"]
        cells += ["–" if seconds is None else duration(seconds), "–" if memory is None else f"{memory / 1e6:,.0f} MB"]
        rows.append(tuple(cells))
    return heads, rows


def plus_minus(name: str, mean: float | None, error: float | None) -> str:
    """Return a mean and its standard error with as many decimals as the error asks for."""
    if mean is None:
        return "–"
    if error is None:
        return score_text(name, mean)
    share = score_text(name, 0.5).endswith("%")
    scale = 100 if share else 1
    digits = max(0, 1 - math.floor(math.log10(error * scale))) if error > 0 else 2 if share else 4
    digits = min(digits, 6)
    unit = " %" if share else ""
    return f"{mean * scale:,.{digits}f} ± {error * scale:,.{digits}f}{unit}".replace("-", "−")


def difference_text(name: str, difference: Mapping[str, Any] | None) -> str:
    """Return a difference with its standard error, and whether it is within noise."""
    if difference is None or difference["mean"] is None:
        return ""
    text = plus_minus(name, difference["mean"], difference["standard_error"])
    text = text if text.startswith("−") else f"+{text}"
    words = {"noise": say("within noise"), "alike": say("noise unknown"), "unknown": say("noise unknown")}
    word = words.get(difference["verdict"])
    return f"{text} ({word})" if word else text


# ----------------------------------------------------------------------------------------------------- curves


def _curves(folder: Path, plan: Plan, metric: str) -> dict[str, Any]:
    """Return for every variant the mean over seeds and its standard error, along the training."""
    found: dict[str, Any] = {"score": [], "loss": [], "held_out_loss": [], "split": None, "x": "step"}
    events = {run.name: opened.events for run in plan.runs if (opened := finished(folder, run))}
    epochs = [max((event.get("epoch", 0.0) for event in one), default=0.0) for one in events.values()]
    alike = bool(epochs) and 2 <= max(epochs) <= 1.5 * min(epochs)  # else a common axis would squeeze some of them
    found["x"] = across = "epoch" if alike else "step"
    for variant in plan.variants:
        scores, losses, held = [], [], []
        for run in plan.runs:
            if run.variant != variant.name or run.name not in events:
                continue
            evaluated = [event for event in events[run.name] if event["event"] == "evaluated"]
            if evaluated:
                found["split"] = evaluated[0]["split"]
                own = [event for event in evaluated if event["split"] == found["split"]]
                scores.append({event[across]: event["scores"].get(metric) for event in own})
                held.append({event[across]: event["scores"].get("loss") for event in own if metric != "loss"})
            losses.append({event[across]: next(iter(event["losses"].values())) for event in events[run.name]
                           if event["event"] == "stepped"})  # fmt: skip
        for key, series in (("score", scores), ("loss", losses), ("held_out_loss", held)):
            if band := _band(series):
                found[key].append({"variant": variant.name, **band})
    return found


def _band(series: Sequence[Mapping[float, Any]]) -> dict[str, list[float]] | None:
    """Return mean and standard error at the places that all seeds have."""
    if not series:
        return None
    places = sorted(set(series[0]).intersection(*series[1:]))
    places = [place for place in places if all(_is_finite(one[place]) for one in series)]
    kept = places[:: -(-len(places) // MOST_POINTS)] if places else []
    if len(kept) < 2:
        return None
    means = [mean_of([one[place] for one in series]) for place in kept]
    middle = [mean.mean or 0.0 for mean in means]
    errors = [mean.standard_error or 0.0 for mean in means]
    return {"x": [float(place) for place in kept], "mean": middle,
            "low": [value - error for value, error in zip(middle, errors, strict=True)],
            "high": [value + error for value, error in zip(middle, errors, strict=True)]}  # fmt: skip

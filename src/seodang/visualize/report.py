"""report.html: a finished run on one page that opens anywhere, offline, in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from seodang import __version__
from seodang.core.config import toml_text
from seodang.core.files import write
from seodang.core.inputs import Facts
from seodang.core.language import say, translated
from seodang.core.recipe import Recipe
from seodang.core.run import RunFolder
from seodang.data.dataset import Dataset
from seodang.task.base import Task
from seodang.visualize.frame import fact_list, heading, tile, tiles
from seodang.visualize.history import score_name, score_text, split_name, watched
from seodang.visualize.markup import Markup, element
from seodang.visualize.page import page
from seodang.visualize.scale import duration, large, number, size
from seodang.visualize.sections import sections

MOST_SCORES = 4


def write_report(run: RunFolder, model: nn.Module, task: Task, data: Dataset) -> Path:
    """Write ``report.html`` into the run, for its best model and its held-out data; return the file."""
    path = run.path / "report.html"
    write(path, report(run, model, task, data))
    return path


def report(run: RunFolder, model: nn.Module, task: Task, data: Dataset) -> str:
    """Return the page."""
    recipe = run.recipe
    result = run.result or {}
    shown = sections(run, model, task, data)
    title = say("{name}: training report", name=recipe.name)
    return page(title, header(run, recipe, task, result), shown, details(run, recipe, task.facts, result))


# ------------------------------------------------------------------------------------------ the headline


def header(run: RunFolder, recipe: Recipe, task: Task, result: Mapping[str, Any]) -> Markup:
    environment = run.read_json("environment.json") or {}
    started = str(environment.get("started", ""))[:10]
    lead = element("p", translated(recipe.about), class_="lead") if recipe.about else None
    below = element("p", " · ".join(filter(None, meta(recipe, task.facts, environment, result))), class_="meta")
    figures = tiles(*headline(run, task, result))
    return heading(say("Seodang: training report"), recipe.name, lead, below, figures, aside=started)


def meta(recipe: Recipe, facts: Facts, environment: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """Return data and machine in a few words."""
    sizes = ", ".join(f"{split_name(name)} {count:,}" for name, count in facts.sizes.items())
    device = result.get("device")
    machine = str(environment.get("processor", "")) if device == "cpu" else str(device or "")
    threads = result.get("threads") if device == "cpu" else None
    return [recipe.data.name, sizes, machine, say("threads: {count}", count=threads) if threads else "",
            str(result.get("precision", ""))]  # fmt: skip


def headline(run: RunFolder, task: Task, result: Mapping[str, Any]) -> list[Markup]:
    """Return the figures of the headline: the score that decides, other scores, time, size, speed."""
    scores = dict(run.scores)
    split = split_name(str(result.get("split") or ""))
    first = next(iter(watched(run.events)), None)
    name = task.monitor[0] if task.monitor[0] in scores else next(iter(scores), None)
    shown = []
    if name is not None:
        value = scores.pop(name)
        before = first["scores"].get(name) if first and first["step"] == 0 else None
        chance = say("before training: {value}", value=score_text(name, before)) if _is_number(before) else None
        shown.append(tile(_on(score_name(name), split), score_text(name, value), chance, "main"))
    for other, value in list(scores.items())[:MOST_SCORES]:
        if _is_number(value):
            shown.append(tile(score_name(other), score_text(other, value)))
    if seconds := result.get("train_seconds"):
        shown.append(tile(say("training time"), duration(float(seconds)), _length(result)))
    if parameters := result.get("parameters"):
        shown.append(tile(say("parameters"), large(float(parameters))))
    if rate := result.get(f"{task.counts}_per_second"):
        shown.append(
            tile(say("speed"), large(float(round(rate))), say("{things} per second", things=counted(task.counts)))
        )
    return shown


def counted(things: str) -> str:
    """Return what a task counts in the reader's language; unknown words stay as they are."""
    known = {"examples": say("examples"), "tokens": say("tokens"), "pictures": say("pictures")}
    return known.get(things, things)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _on(name: str, split: str) -> str:
    return say("{score} on {split}", score=name, split=split) if split else name


def _length(result: Mapping[str, Any]) -> str | None:
    steps = result.get("steps")
    return say("{steps} updates", steps=f"{steps:,}") if isinstance(steps, int) else None


# ------------------------------------------------------------------------------------------- the details


def details(run: RunFolder, recipe: Recipe, facts: Facts, result: Mapping[str, Any]) -> Markup:
    """Return data, machine and recipe: all that is needed to judge the run and to repeat it."""
    environment = run.read_json("environment.json") or {}
    left = element("figure", element("h3", say("Data")), fact_list(data_facts(recipe, facts)),
                   element("h3", say("Machine")), fact_list(machine_facts(environment, result)))  # fmt: skip
    again = element(
        "pre", f"seodang train {run.path / 'recipe.toml'}\nseodang look {run.path}\nseodang evaluate {run.path}"
    )
    written = toml_text({key: value for key, value in recipe.written().items() if key != "expected"})
    right = element("figure", element("h3", say("Recipe")), element("pre", written), element("h3", say("Again")), again)
    about = element("p", say("What decided the result, and how to get it again."))
    head = element("h2", say("The run"))
    return element("section", head, about, element("div", left, right, class_="figures"), id="run")


def data_facts(recipe: Recipe, facts: Facts) -> list[tuple[str, str]]:
    sizes = ", ".join(f"{split_name(name)} {count:,}" for name, count in facts.sizes.items())
    classes = facts.classes or ()
    names = ", ".join(classes[:12]) + (" …" if len(classes) > 12 else "")
    return [
        (say("name"), recipe.data.name),
        (say("examples"), sizes),
        (say("classes"), f"{len(classes)}: {names}" if classes else ""),
        (say("quantities"), ", ".join(target.name for target in facts.targets)),
        (say("shape"), " × ".join(map(str, facts.inputs.shape))),
        (say("source"), facts.source),
        (say("licence"), facts.licence),
        *((say("note"), note) for note in facts.notes),
    ]


def machine_facts(environment: Mapping[str, Any], result: Mapping[str, Any]) -> list[tuple[str, str]]:
    def text(name: str) -> str:
        value = result.get(name, environment.get(name))
        return "" if value in (None, "") else str(value)

    memory = result.get("peak_memory_bytes")
    return [
        (say("processor"), text("processor")),
        (say("device"), text("device") if text("device") != "cpu" else ""),
        (say("devices"), text("devices") if text("devices") not in ("", "1") else ""),
        (say("threads"), text("threads")),
        (say("precision"), text("precision")),
        (say("peak memory"), size(float(memory)) if _is_number(memory) else ""),
        (say("best at update"), number(float(result["best_step"])) if _is_number(result.get("best_step")) else ""),
        (say("ended because"), text("reason")),
        (say("seed"), text("seed")),
        (
            say("versions"),
            f"Seodang {environment.get('seodang', __version__)}, PyTorch {text('torch')}, Python {text('python')}",
        ),
    ]

"""seodang check RUN --augment: does an augmentation keep the labels, as a trained model sees it?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seodang.cli.display import write_json, write_lines
from seodang.cli.layout import screen_width, table, wrapped
from seodang.core.errors import ConfigError
from seodang.core.language import say

if TYPE_CHECKING:
    from seodang.core.recipe import Choice

EVERY = "all"


def check_labels(path: Path, words: Sequence[str], machine: bool) -> None:
    """Measure what augmentations do to each class, write charts into the run, and name the classes that suffer.

    Raises: ConfigError where there are no pictures or no classes.
    """
    from seodang.api import open_bundle, open_run  # lazy: 1 s
    from seodang.data.dataset import datasets
    from seodang.visualize.label_safety import measure, safety_figures
    from seodang.visualize.look import save_all

    run = open_run(path)
    bundle, task = open_bundle(run)
    facts = task.facts
    if facts.inputs.kind != "image" or task.answers != "classes" or facts.classes is None:
        raise ConfigError("{path}: --augment asks whether changed pictures keep their class, and this run tells no pictures apart.",
                          path=path)  # fmt: skip
    choices = augmentations_of(words, facts.inputs)
    data = datasets.make(run.recipe.data, None, run.recipe.seed)
    data.prepare()
    split, count, found = measure(bundle.model, data, choices)
    paths = save_all(safety_figures(found, split, count), run.path / "figures")
    if machine:
        write_json({"run": str(path), "split": split, "examples": count, "augmentations": [as_values(one) for one in found],
                    "pictures": [str(picture) for picture in paths]})  # fmt: skip
        return
    write_lines(
        [say("{count:,} pictures of {split}, before and after each augmentation", count=count, split=split), ""]
    )
    write_lines(rows(found))
    said = [line for one in found for line in warning(one)]
    if said:
        said += wrapped(say("What is only unfamiliar can be learned, what makes another class of a picture cannot. To tell: train with the "
                            "augmentation, and check that run."), screen_width())  # fmt: skip
    write_lines(["", *said, *map(str, paths)])


def augmentations_of(words: Sequence[str], inputs: Any) -> list[Choice]:
    """Return what a user named: names with commas between, a list as in a recipe, or "all" that fit such pictures.

    Raises: ConfigError, UnknownName
    """
    from seodang.core.config import parse_override
    from seodang.core.recipe import Choice
    from seodang.data.augment import augmentations, fitted

    choices: list[Choice] = []
    for word in words:
        written = parse_override(f"data.augment={word}")[1] if word.lstrip().startswith(("[", "{")) else word
        if isinstance(written, str):
            written = [name.strip() for name in written.split(",") if name.strip()]
        for item in written if isinstance(written, list) else [written]:
            if item != EVERY:
                choices.append(Choice.of({"name": item} if isinstance(item, str) else item, where="--augment"))
                continue
            for name in augmentations.names():
                try:
                    fitted([name], inputs)
                except ConfigError:
                    continue  # colours of grey pictures: "all" means all that fit
                choices.append(Choice(name=name))
    if not choices:
        raise ConfigError("--augment: name one or more augmentations, for example flip,rotate, or {all}.", all=EVERY)
    for choice in choices:
        augmentations.settings(choice)
    return choices


def rows(found: Sequence[Any]) -> list[str]:
    from seodang.visualize.scale import percent

    heads = [
        say("augmentation"),
        say("changed"),
        say("without"),
        say("with"),
        say("classes that break"),
        say("that fall"),
    ]
    body = [
        [one.name, f"{one.changed:,}", percent(one.without), percent(one.with_),
         ", ".join(item.name for item in one.those("breaks")) or "–", ", ".join(item.name for item in one.those("falls")) or "–"]
        for one in found
    ]  # fmt: skip
    return table(heads, body, numeric=range(1, 4))


def warning(one: Any) -> list[str]:
    """Return what to say about an augmentation under which classes suffer, wrapped."""
    from seodang.visualize.label_safety import spelled

    said = []
    if broken := one.those("breaks"):
        said.append(say("! {name} breaks classes: {classes}. The changed picture is taken for another class at least as often as for "
                        "its own.", name=one.name, classes=spelled(broken)))  # fmt: skip
    if fallen := one.those("falls"):
        said.append(say("· {name}: less often known, with no other class in their place: {classes}.", name=one.name,
                        classes=spelled(fallen)))  # fmt: skip
    return [line for text in said for line in wrapped(text, screen_width())]


def as_values(one: Any) -> dict[str, Any]:
    """Return an augmentation's result for programs."""
    classes = [{"class": item.name, "examples": item.examples, "without": item.without, "with": item.with_,
                "error": item.error, "taken_for": item.taken_for, "taken_share": item.taken_share, "verdict": item.verdict}
               for item in one.classes if item.examples]  # fmt: skip
    return {"name": one.choice.name, "settings": dict(one.choice.settings), "changed": one.changed,
            "accuracy": {"without": one.without, "with": one.with_}, "classes": classes,
            "breaks": [item.name for item in one.those("breaks")], "falls": [item.name for item in one.those("falls")]}  # fmt: skip
